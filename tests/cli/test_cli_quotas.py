"""``plan`` holds objects to the limits of their namespaces, as the operator does."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.support import Json, Ran, a_list, shardwise, write
from tests.support.operating import a_model

from shardwise_sandbox import h100_node

LLAMA_8B, LLAMA_70B = "meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-70B"


def a_quota(hard: int, used: int = 0, namespace: str = "default") -> Json:
    gpus = "requests.nvidia.com/gpu"
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team", "namespace": namespace},
        "spec": {"hard": {gpus: str(hard)}},
        "status": {"hard": {gpus: str(hard)}, "used": {gpus: str(used)}},
    }


def planned(folder: Path, objects: list[Json], *fleet: Json, site: Json | None = None) -> Ran:
    files = write(folder / "o.yaml", *objects), write(folder / "f.yaml", a_list([h100_node("a"), *fleet]))
    (folder / "c.yaml").write_text(yaml.safe_dump(site or {}))
    return shardwise("plan", "-f", files[0], "--fleet", files[1], "--config", folder / "c.yaml", "-o", "json")


def outcomes(ran: Ran) -> list[Any]:
    """Give the GPUs of each plan, or the reason of each refusal."""
    return [
        sum(pod["gpus"] for group in answer["plan"]["groups"] for pod in group["pods"])
        if answer["fits"]
        else answer["refusal"]["reason"]
        for answer in ran.data
    ]


CONFIGURED: Json = {"allow": {"namespaces": {"default": {"gpus": 2}}}}
CASES: dict[str, tuple[list[Json], tuple[Json, ...], Json | None, list[Any]]] = {
    "no quota": ([a_model("m", LLAMA_70B, 8)], (), None, [4]),
    "a quota with room": ([a_model("m", LLAMA_70B, 8)], (a_quota(4),), None, [4]),
    "a quota that others use": ([a_model("m", LLAMA_70B, 8)], (a_quota(8, 6),), None, ["QuotaShort"]),
    "a quota of another namespace": ([a_model("m", LLAMA_70B, 8)], (a_quota(0, namespace="b"),), None, [4]),
    "a quota that objects share, in order": (
        [a_model("m", LLAMA_8B, 1), a_model("n", LLAMA_8B, 1)],
        (a_quota(1),),
        None,
        [1, "QuotaShort"],
    ),
    "a smaller plan within the limit": (
        [a_model("m", LLAMA_8B, 8, objective="latency")],
        (),
        CONFIGURED,
        [2],
    ),
    "the operator configuration": ([a_model("m", LLAMA_70B, 8)], (), CONFIGURED, ["QuotaShort"]),
    "all replicas or none": ([a_model("m", LLAMA_8B, 2, replicas=2)], (a_quota(1),), None, ["QuotaShort"]),
}


@pytest.mark.parametrize(("objects", "quotas", "site", "expected"), CASES.values(), ids=CASES)
def test_a_plan_holds_no_more_than_its_namespace_may(
    tmp_path: Path, objects: list[Json], quotas: tuple[Json, ...], site: Json | None, expected: list[Any]
) -> None:
    assert outcomes(planned(tmp_path, objects, *quotas, site=site)) == expected
