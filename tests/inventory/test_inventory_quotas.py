"""ResourceQuotas: which pods they count, and how many GPUs they limit."""

from typing import Any

import pytest

from shardwise.domain.gpu_limit import GpuLimit
from shardwise.inventory.quotas import gpu_limits

Json = dict[str, Any]

GPUS = "requests.nvidia.com/gpu"
CLAIMS = "gpu.nvidia.com.deviceclass.resource.k8s.io/devices"


def a_quota(hard: Json, used: Json | None = None, **spec: Any) -> Json:
    status = {} if used is None else {"status": {"hard": hard, "used": used}}
    return {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}, **status}


def limit(resource: str, hard: int, used: int = 0, counts: str | None = None) -> GpuLimit:
    return GpuLimit(f"ResourceQuota `q` (`{resource}`)", resource if counts is None else counts, hard, used)


READ: dict[str, tuple[Json, tuple[GpuLimit, ...]]] = {
    "GPUs of NVIDIA": (a_quota({GPUS: "8"}, {GPUS: "3"}), (limit(GPUS, 8, 3),)),
    "no GPU at all": (a_quota({GPUS: "0"}, {GPUS: "0"}), (limit(GPUS, 0),)),
    "not counted yet": (a_quota({GPUS: 8}), (limit(GPUS, 8),)),
    "GPUs of AMD": (a_quota({"requests.amd.com/gpu": "4"}), (limit("requests.amd.com/gpu", 4),)),
    "claims of a DeviceClass": (a_quota({CLAIMS: "2"}, {CLAIMS: "1"}), (limit(CLAIMS, 2, 1),)),
    "no pod": (a_quota({"pods": "0"}), (limit("pods", 0, counts=""),)),
    "no pod, counted as an object": (a_quota({"count/pods": "0"}), (limit("count/pods", 0, counts=""),)),
    "some pods": (a_quota({"pods": "10"}), ()),
    "memory": (a_quota({"requests.memory": "1Ti", "limits.cpu": "8"}), ()),
    "both vendors": (
        a_quota({GPUS: "8", "requests.amd.com/gpu": "4"}),
        (limit("requests.amd.com/gpu", 4), limit(GPUS, 8)),
    ),
    "a number that is none": (a_quota({GPUS: "many"}), ()),
    "nothing": ({"metadata": {"name": "q"}}, ()),
}


@pytest.mark.parametrize(("quota", "limits"), READ.values(), ids=READ)
def test_what_a_quota_limits(quota: Json, limits: tuple[GpuLimit, ...]) -> None:
    assert tuple(gpu_limits(quota, "")) == limits


def by_class(operator: str, *values: str) -> Json:
    scope = {"scopeName": "PriorityClass", "operator": operator, "values": list(values)}
    return {"scopeSelector": {"matchExpressions": [scope]}}


SCOPES: dict[str, tuple[Json, str, bool]] = {
    "none": ({}, "", True),
    "pods without a deadline, as ours": ({"scopes": ["NotTerminating"]}, "", True),
    "pods with requests, as ours": ({"scopes": ["NotBestEffort", "NotTerminating"]}, "", True),
    "pods with a deadline": ({"scopes": ["Terminating"]}, "", False),
    "pods without requests": ({"scopes": ["NotTerminating", "BestEffort"]}, "", False),
    "its class": (by_class("In", "high", "low"), "high", True),
    "another class": (by_class("In", "low"), "high", False),
    "no class": (by_class("In", "low"), "", False),
    "all classes but": (by_class("NotIn", "low"), "high", True),
    "all classes but its own": (by_class("NotIn", "high"), "high", False),
    "any class": (by_class("Exists"), "high", True),
    "any class, and it has none": (by_class("Exists"), "", False),
    "any class, said in short": ({"scopes": ["PriorityClass"]}, "high", True),
    "without a class": (by_class("DoesNotExist"), "", True),
    "without a class, and it has one": (by_class("DoesNotExist"), "high", False),
    "a scope of tomorrow": ({"scopes": ["Fancy"]}, "", False),
    "an operator of tomorrow": (by_class("Like", "h"), "high", False),
}


@pytest.mark.parametrize(("spec", "priority_class", "counts"), SCOPES.values(), ids=SCOPES)
def test_a_quota_counts_the_pods_of_its_scopes(spec: Json, priority_class: str, counts: bool) -> None:
    """All of them: so a class that a namespace may not use for pods gets its objects no GPU and no turn."""
    assert tuple(gpu_limits(a_quota({GPUS: "0"}, **spec), priority_class)) == ((limit(GPUS, 0),) if counts else ())
