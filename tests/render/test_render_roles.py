"""What the manifests of an object with roles are: by engine, and what clients and routers find of them."""

import json
from dataclasses import replace

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from tests.engines.support import a_plan, wants_of
from tests.render.support import check, engine, of_kind, selects

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import LaunchSite, Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.domain.roles import Role, RoleName
from shardwise.render.bundle import bundle
from shardwise.render.manifest import Manifest

VLLM = EngineName.VLLM
RDMA = LaunchSite(rdma=(("rdma/ib", "1"),), ipc_lock=True)


def roles(engine_name: EngineName, *, site: LaunchSite | None = None) -> list[tuple[Wanted, Plan]]:
    """Give two replicas of decode on a GPU each, and a replica of prefill on two nodes."""
    wanted = wants_of(engine_name) if site is None else wants_of(engine_name, site=site)
    plans = {
        RoleName.DECODE: a_plan(Layout(1, 1), engine=engine_name, replicas=2),
        RoleName.PREFILL: a_plan(Layout(8, 2), 8, 8, engine=engine_name).numbered_from(2),
    }
    return [(replace(wanted, launch=replace(wanted.launch, role=Role(name))), plan) for name, plan in plans.items()]


def made(engine_name: EngineName, *, site: LaunchSite | None = None) -> tuple[Manifest, ...]:
    (wanted, plan), *others = roles(engine_name, site=site)
    return bundle(wanted, plan, *others)


@pytest.mark.parametrize("name", list(EngineName))
def test_an_object_with_roles_is_rendered_so(name: EngineName, snapshot: SnapshotAssertion) -> None:
    assert yaml.safe_dump(json.loads(json.dumps(made(name))), sort_keys=False, width=120) == snapshot


@pytest.mark.parametrize("name", list(EngineName))
def test_the_manifests_of_roles_are_valid(name: EngineName) -> None:
    for manifest in made(name, site=RDMA):
        check(manifest, "1.34")


def test_clients_reach_decode_alone() -> None:
    """And never prefill, whose answers have a single token."""
    (service,) = [found for found in of_kind("Service", made(VLLM)) if found["metadata"]["name"] == "llama"]
    reached = [pod["metadata"]["labels"] for pod in of_kind("Pod", made(VLLM)) if selects(service, pod)]
    assert [labels["shardwise.dev/serving-role"] for labels in reached] == ["decode", "decode"]


@pytest.mark.parametrize("name", [EngineName.SGLANG, EngineName.TENSORRT_LLM])
def test_engines_that_need_a_router_have_no_service_for_clients(name: EngineName) -> None:
    """A request that nobody pairs would wait for ever."""
    assert "llama" not in {found["metadata"]["name"] for found in of_kind("Service", made(name))}


@pytest.mark.parametrize("name", list(EngineName))
def test_routers_find_the_role_on_the_leaders_alone(name: EngineName) -> None:
    """A follower serves no HTTP; llm-d's decode filter would take a pod without the label."""
    labels = [pod["metadata"]["labels"] for pod in of_kind("Pod", made(name))]
    found = [(each["shardwise.dev/index"], each.get("llm-d.ai/role")) for each in labels]
    assert sorted(found, key=str) == [("0", "decode"), ("0", "decode"), ("0", "prefill"), ("1", None)]


def test_one_budget_keeps_drains_from_taking_both_roles() -> None:
    (budget,) = of_kind("PodDisruptionBudget", made(VLLM))
    assert budget["spec"]["minAvailable"] == 3
    assert all(
        budget["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        for pod in of_kind("Pod", made(VLLM))
    )


def test_a_lone_pod_of_a_role_gets_what_moves_its_caches() -> None:
    """Without roles a lone pod talks to nobody."""
    first = engine(of_kind("Pod", made(VLLM, site=RDMA))[0])
    assert first["resources"]["limits"]["rdma/ib"] == "1"
    assert first["securityContext"]["capabilities"]["add"] == ["IPC_LOCK"]
    alone = of_kind("Pod", bundle(wants_of(VLLM, site=RDMA), a_plan(Layout(1, 1))))[0]
    assert "rdma/ib" not in engine(alone)["resources"].get("limits", {})
