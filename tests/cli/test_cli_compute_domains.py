"""A rack without NVIDIA's DRA driver: the command line refuses what the operator refuses, in the same words."""

import asyncio
from pathlib import Path

import pytest
from tests.cli.support import Json, a_list, shardwise, write
from tests.support.operating import a_model, operating

from shardwise.api import crd
from shardwise_sandbox import compute_domain_definition, sample_fleet

ASKED: Json = {"budget": {"products": ["NVIDIA-GB200"]}, "model_contextLength": 8192}
UNPINNED = a_model("rack", "deepseek-ai/DeepSeek-R1", 8, **ASKED)
RACK = a_model("rack", "deepseek-ai/DeepSeek-R1", 8, **ASKED, parallelism={"tensor": 8})
"""A pin asks for tensor groups that are wider than a tray."""


def dumped(definition: Json) -> Json:
    """Give a definition as an API server shows it: with a uid."""
    return {**definition, "metadata": {**definition["metadata"], "uid": "uid-1"}}


MISSING = [dumped(crd.definition())]
SERVED = [dumped(crd.definition()), dumped(compute_domain_definition())]
CASES: dict[str, tuple[list[Json], bool]] = {
    "definitions of a cluster without it": (MISSING, True),
    "definitions of a cluster with it": (SERVED, False),
    "a definition that no cluster showed": ([crd.definition()], False),
    "a ComputeDomain is there": (
        [*MISSING, {"apiVersion": "resource.nvidia.com/v1beta1", "kind": "ComputeDomain", "metadata": {"name": "a"}}],
        False,
    ),
    "nothing that shows it": ([], False),
}


@pytest.mark.parametrize(("shown", "refused"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("command", ["plan", "explain"])
def test_files_tell_whether_the_driver_is_missing(
    tmp_path: Path, command: str, shown: list[Json], refused: bool
) -> None:
    fleet = write(tmp_path / "f.yaml", a_list([*sample_fleet(), *shown]))
    ran = shardwise(command, "-f", write(tmp_path / "o.yaml", RACK), "--fleet", fleet)
    assert ran.status == int(refused)
    assert ran.out.startswith("× `rack` is not started: TP8" if refused else "✓ `rack`: TP8")
    assert ("install NVIDIA's DRA driver" in ran.out) is refused


@pytest.mark.parametrize("command", ["plan", "explain"])
def test_a_model_without_a_pin_is_planned_inside_trays(tmp_path: Path, command: str) -> None:
    """And the plan notes what the driver would make possible."""
    fleet = write(tmp_path / "f.yaml", a_list([*sample_fleet(), *MISSING]))
    ran = shardwise(command, "-f", write(tmp_path / "o.yaml", UNPINNED), "--fleet", fleet)
    assert ran.status == 0
    assert ran.out.startswith("✓ `rack`: TP4×PP2")
    assert "with NVIDIA's DRA driver the plan would be TP8×PP1 on 2 NVIDIA-GB200 nodes" in ran.out


async def test_an_operator_without_the_driver_starts_a_model_inside_trays(tmp_path: Path) -> None:
    async with operating(tmp_path, compute_domains=False) as operator:
        operator.cluster.create(UNPINNED)
        status = await operator.ready("rack")
        assert (status["plan"]["tensor"], status["plan"]["pipeline"]) == (4, 2)
        assert len(set(operator.nodes_of("rack"))) == 2


def test_data_carries_the_reason_and_nothing_is_rendered(tmp_path: Path) -> None:
    fleet = write(tmp_path / "f.yaml", a_list([*sample_fleet(), *MISSING]))
    args = ("-f", write(tmp_path / "o.yaml", RACK), "--fleet", fleet)
    (answer,) = shardwise("plan", *args, "-o", "json").data
    assert (answer["fits"], answer["refusal"]["reason"]) == (False, "ComputeDomainsMissing")
    (explained,) = shardwise("explain", *args, "-o", "json").data
    assert (explained["verdict"], explained["next"]["refusal"]["reason"]) == ("refused", "ComputeDomainsMissing")
    rendered = shardwise("render", *args)
    assert (rendered.status, rendered.out) == (1, "")
    assert rendered.err.startswith("× `rack` is not started: TP8")


async def test_a_cluster_says_the_same_as_its_operator(tmp_path: Path) -> None:
    async with operating(tmp_path, compute_domains=False) as operator:
        operator.cluster.create(RACK)
        found = await operator.condition("rack", "Reconciling", reason="ComputeDomainsMissing")
        ran = await asyncio.to_thread(shardwise, "explain", "rack", "--kubeconfig", operator.kubeconfig)
    assert ran.status == 1
    assert ran.out.splitlines()[0] == f"× `rack` is not started: {found['message']}"
