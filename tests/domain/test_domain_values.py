"""The values of the field: what they say of themselves, and that they cannot be changed behind one's back."""

from dataclasses import fields, is_dataclass, replace
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.models import LLAMA_8B, R1, a_demand, facts

from shardwise.data import table
from shardwise.domain import demand, engine, fleet, hardware, launch, layout, model, plan, refusal
from shardwise.domain.demand import Objective, Pins
from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.hardware import GpuRow, bare_product, gpu_kind, parse_capability
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Estimate, GroupPlacement, MemoryUse, Plan, PodPlacement, Rule
from shardwise.domain.refusal import RefusalReason

MODULES = (demand, engine, fleet, hardware, launch, layout, model, plan, refusal)


def values_of(module: ModuleType) -> list[type]:
    found = [value for value in vars(module).values() if isinstance(value, type) and is_dataclass(value)]
    return [value for value in found if value.__module__ == module.__name__]


VALUES = [value for module in MODULES for value in values_of(module)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_every_value_is_frozen_slotted_and_documented(value: type) -> None:
    assert value.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(value)
    assert value.__doc__
    assert not value.__doc__.startswith(f"{value.__name__}(")


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_no_value_holds_a_list_or_a_dict(value: type) -> None:
    """What is shared and hashed must not change: sequences are tuples."""
    assert not any(str(field.type).startswith(("list", "dict", "set")) for field in fields(value))


@pytest.mark.parametrize("value", [Pins(8, 2, None), Layout(8, 2)], ids=["a dataclass", "a named tuple"])
def test_a_value_refuses_to_be_changed(value: Pins | Layout) -> None:
    with pytest.raises(AttributeError):
        value.tensor = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("split", "size", "said"),
    [
        (Layout(1, 1), 1, "TP1×PP1"),
        (Layout(8, 2), 16, "TP8×PP2"),
        (Layout(8, 1, expert=True), 8, "TP8×PP1 EP"),
        (Layout(72, 8), 576, "TP72×PP8"),
    ],
)
def test_a_layout_knows_its_gpus_and_says_itself(split: Layout, size: int, said: str) -> None:
    assert (split.world_size, str(split)) == (size, said)


@given(st.integers(1, 100), st.integers(1, 100), st.booleans())
def test_tensor_times_pipeline_is_the_world_size(tensor: int, pipeline: int, expert: bool) -> None:
    assert Layout(tensor, pipeline, expert).world_size == tensor * pipeline


def test_a_plan_counts_its_replicas_and_gpus() -> None:
    pods = (PodPlacement(0, "a", "a", 8, tuple(range(8))), PodPlacement(1, "b", "b", 8, tuple(range(8, 16))))
    made = Plan(
        layout=Layout(8, 2),
        product="NVIDIA-H100-80GB-HBM3",
        engine=engine.EngineName.VLLM,
        context_length=8192,
        concurrency=1,
        groups=(GroupPlacement(0, pods), GroupPlacement(1, pods)),
        memory=MemoryUse(1, 2, 3, 4, 20),
        rule=Rule.PINNED,
        tight=False,
        estimate=Estimate(0.01, 100.0),
        alternatives=(),
    )
    assert (made.replicas, made.gpus) == (2, 32)
    assert (made.memory.needed, made.memory.slack) == (10, 10)


def test_slack_is_negative_where_memory_lacks() -> None:
    assert MemoryUse(30, 0, 0, 0, 20).slack == -10


@pytest.mark.parametrize(
    ("product", "nvlink", "rack"),
    [
        ("NVIDIA-H100-80GB-HBM3", 450e9, False),
        ("H100-80GB-HBM3", 450e9, False),
        ("NVIDIA-H200", 450e9, False),
        ("NVIDIA-B200", 900e9, False),
        ("NVIDIA-GB200", 900e9, True),
        ("NVIDIA-GB300", 900e9, True),
        ("NVIDIA-A100-SXM4-80GB", 300e9, False),
        ("NVIDIA-H100-PCIe", None, False),
        ("NVIDIA-H100-NVL", None, False),
        ("NVIDIA-L40S", None, False),
        ("Tesla-T4", None, False),
        ("NVIDIA-B300-SXM6-AC", 900e9, False),
        ("NVIDIA-B300", 900e9, False),
        ("NVIDIA-H20", 450e9, False),
        ("NVIDIA-H20-3e", 450e9, False),
        ("NVIDIA-H800", 200e9, False),
        ("NVIDIA-H800-PCIe", None, False),
        ("NVIDIA-A800-SXM4-80GB", 200e9, False),
        ("NVIDIA-A800-SXM4-40GB", 200e9, False),
        ("NVIDIA-A800-80GB-PCIe", None, False),
        ("NVIDIA-H200-NVL", None, False),
        ("NVIDIA-GH200-480GB", None, False),
        ("NVIDIA-GH200-120GB", None, False),
        ("NVIDIA-GH200-144G-HBM3e", None, False),
        ("Tesla-V100-SXM2-16GB", 150e9, False),
        ("Tesla-V100-SXM2-32GB", 150e9, False),
        ("Tesla-V100-PCIE-16GB", None, False),
        ("NVIDIA-A10", None, False),
        ("NVIDIA-A10G", None, False),
        ("NVIDIA-A30", None, False),
        ("NVIDIA-A40", None, False),
        ("NVIDIA-A2", None, False),
        ("NVIDIA-L20", None, False),
        ("NVIDIA-L40", None, False),
        ("NVIDIA-RTX-A6000", None, False),
        ("NVIDIA-RTX-6000-Ada-Generation", None, False),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", None, False),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Workstation-Edition", None, False),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Max-Q-Workstation-Edition", None, False),
        ("NVIDIA-GeForce-RTX-3090", None, False),
        ("NVIDIA-GeForce-RTX-4090", None, False),
        ("NVIDIA-GeForce-RTX-5090", None, False),
        ("NVIDIA-GB10", None, False),
    ],
)
def test_a_product_is_known_by_its_label(product: str, nvlink: float | None, rack: bool) -> None:
    kind = gpu_kind(product)
    assert (kind.nvlink, kind.rack, kind.proven) == (nvlink, rack, True)


def test_every_nvidia_product_has_a_compute_capability() -> None:
    """Engines refuse methods below one; AMD's GPUs have none."""
    for name, row in table("gpus.toml", GpuRow).items():
        known = gpu_kind(name).compute_capability
        assert (known is None) == name.startswith("Instinct"), name
        assert known is None or ".".join(map(str, known)) == row.compute_capability


@pytest.mark.parametrize("text", ["", "9", "9.", ".0", "9.x", "9.0.1", "-9.0", "²9.0"])
def test_a_text_without_two_whole_numbers_is_no_compute_capability(text: str) -> None:
    assert parse_capability(text) is None


@pytest.mark.parametrize("product", ["", "NVIDIA-H999", "nvidia-h200", "NVIDIA-H200-extra", "H100"])
def test_a_product_nobody_listed_has_no_proven_nvlink(product: str) -> None:
    kind = gpu_kind(product)
    assert (kind.nvlink, kind.rack, kind.proven) == (None, False, False)
    assert kind.hbm > 0 < kind.flops


@pytest.mark.parametrize(("product", "bare"), [("NVIDIA-L4", "L4"), ("L4", "L4"), ("Tesla-T4", "Tesla-T4")])
def test_the_vendor_is_left_out_of_a_product(product: str, bare: str) -> None:
    assert bare_product(product) == bare


def test_reasons_of_refusals_are_stable() -> None:
    """They stand in conditions that alerts match on: adding one is fine, changing one is not."""
    assert {reason.value for reason in RefusalReason} >= {
        "NoMatchingNodes",
        "IllegalLayout",
        "MemoryShort",
        "BudgetShort",
        "CapacityShort",
    }


def test_objectives_and_rules_are_the_words_of_the_object() -> None:
    assert [objective.value for objective in Objective] == ["fewest-gpus", "latency", "throughput", "cheapest"]
    assert len({rule.value for rule in Rule}) == 14


def test_a_demand_asks_for_one_replica_with_nothing_pinned_unless_said() -> None:
    asked = a_demand(LLAMA_8B)
    assert (asked.replicas, asked.concurrency, asked.pins) == (1, 1, Pins())
    assert (asked.objective, asked.engine) == (Objective.FEWEST_GPUS, engine.EngineName.VLLM)


def test_models_that_differ_are_told_apart() -> None:
    model_8b = facts(LLAMA_8B)
    cut = replace(model_8b, order=model_8b.order[:5])
    assert cut != model_8b
    assert len({model_8b, cut, facts(R1), facts(LLAMA_8B, "fp8")}) == 4
    assert hash(replace(model_8b)) == hash(model_8b)


@pytest.mark.parametrize(
    ("name", "found"),
    [("a", True), ("b-10", True), ("b-9", True), ("c", True), ("", False), ("b", False), ("b-1", False), ("d", False)],
)
def test_a_fleet_finds_a_node_by_its_name(name: str, found: bool) -> None:
    """It is in name order, as names compare: ``b-10`` is before ``b-9``."""
    nodes = tuple(Node(one, "H100", 8, 8, 80, one) for one in ("a", "b-10", "b-9", "c"))
    known = Fleet(nodes).node(name)
    assert (known is not None) == found
    assert known is None or known.name == name


def test_an_empty_fleet_finds_none() -> None:
    assert Fleet(()).node("a") is None
