"""The operator configuration on the wire: one YAML file, checked as strictly as the object, and its values."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from shardwise.api.base import OBJECT_PATTERN, ByteQuantity, LabelKey, LabelValue, ShortText, Wire
from shardwise.api.crd import Schema, structural
from shardwise.api.launch_configuration import LaunchConfiguration, launch_problems, launch_site
from shardwise.api.problems import InvalidObject, Problem, problems
from shardwise.domain.hardware import GpuKind, bare_product, gpu_kind
from shardwise.domain.platforms import PLATFORMS, Level
from shardwise.domain.site import FleetSite, Site, StatedProduct
from shardwise.domain.units import parse_quantity

LevelName = Annotated[str, Field(min_length=1, max_length=63, pattern=OBJECT_PATTERN)]
PlatformName = Literal["generic", "topograph", "eks", "gke", "oci", "coreweave"]

BUILT_IN_LEVELS: Final = ("node", "domain")
"""Names `spec.placement.within` knows whatever is configured."""


class LevelConfiguration(Wire):
    """A level of the network above the NVLink domain."""

    name: LevelName = Field(description="What `spec.placement.within` calls it, such as rack.")
    labels: list[LabelKey] = Field(
        min_length=1, max_length=8, description="Node label keys; the first that a node has names its place."
    )


class HardwareConfiguration(Wire):
    """Facts of one GPU product. What is left out comes from `like`, or else must be given."""

    product: ShortText = Field(description="Value of the product label, such as NVIDIA-B300-SXM6-AC.")
    like: ShortText | None = Field(default=None, description="A known product that has the same facts but for these.")
    memory_bandwidth: ByteQuantity | None = Field(default=None, description="Bytes a second of a GPU's memory.")
    compute: ByteQuantity | None = Field(default=None, description="Dense bf16 floating-point operations a second.")
    nvlink: ByteQuantity | None = Field(
        default=None,
        description="Bytes a second of one GPU in one direction to all others of its node; 0: there is none.",
    )
    pcie: ByteQuantity | None = Field(default=None, description="Bytes a second of one GPU in one direction over PCIe.")
    nvlink_across_nodes: bool | None = Field(
        default=None, description="Whether NVLink joins the nodes of an NVLink domain, as in an NVL72 rack."
    )
    memory: ByteQuantity | None = Field(
        default=None, description="Memory of a GPU, for nodes without a memory label; a label wins."
    )
    node_labels: dict[LabelKey, LabelValue] = Field(
        default={}, max_length=8, description="Nodes without a product label that have these labels hold this product."
    )


class FleetConfiguration(Wire):
    """How nodes are read."""

    platform: PlatformName = Field(
        default="generic", description="Preset of label keys for NVLink domains and the levels above them."
    )
    domain_labels: list[LabelKey] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Label keys whose value names an NVLink domain of several nodes, in place of the preset's.",
    )
    levels: list[LevelConfiguration] | None = Field(
        default=None,
        max_length=8,
        description="Levels above the NVLink domain, nearest first, in place of the preset's.",
    )
    hardware: list[HardwareConfiguration] = Field(
        default=[], max_length=64, description="GPU products that Shardwise does not know, or knows wrongly."
    )
    fault_conditions: list[ShortText] = Field(
        default=[],
        max_length=64,
        description="Node conditions that are True when a GPU is faulty, besides those of NVSentinel.",
    )


class Configuration(Wire):
    """The operator configuration."""

    fleet: FleetConfiguration = Field(default=FleetConfiguration(), description="How nodes are read.")
    launch: LaunchConfiguration = Field(default=LaunchConfiguration(), description="How pods are started.")


def parse_site(document: Mapping[str, Any]) -> Site:
    """Read an operator configuration. Raises :class:`InvalidObject` with all problems, in the order of the fields."""
    try:
        configuration = Configuration.model_validate(_without_nulls(document))
    except ValidationError as error:
        raise InvalidObject(tuple(problems(error, Configuration))) from error
    wrong = tuple(launch_problems(configuration.launch))
    fleet = _fleet(configuration.fleet)
    if wrong:
        raise InvalidObject(wrong)
    return Site(fleet, launch_site(configuration.launch))


def configuration_schema() -> Schema:
    """Give the JSON schema of the configuration, without references, as the chart's schema of its values holds it."""
    return _closed(structural(Configuration))


def _fleet(given: FleetConfiguration) -> FleetSite:
    wrong = tuple(_spanning_problems(given))
    if wrong:
        raise InvalidObject(wrong)
    preset = PLATFORMS[given.platform]
    levels = preset.levels if given.levels is None else (Level(one.name, tuple(one.labels)) for one in given.levels)
    return FleetSite(
        domain_keys=preset.domains if given.domain_labels is None else tuple(given.domain_labels),
        levels=tuple(levels),
        products=tuple(_product(one) for one in given.hardware),
        fault_conditions=tuple(given.fault_conditions),
    )


def _product(given: HardwareConfiguration) -> StatedProduct:
    stated = {
        "hbm": given.memory_bandwidth,
        "flops": given.compute,
        "nvlink": given.nvlink,
        "pcie": given.pcie,
    }
    facts: dict[str, Any] = {name: float(parse_quantity(text)) or None for name, text in stated.items() if text}
    if given.nvlink_across_nodes is not None:
        facts["rack"] = given.nvlink_across_nodes
    kind = replace(gpu_kind(given.like or given.product), product=bare_product(given.product), proven=True, **facts)
    memory = 0 if given.memory is None else parse_quantity(given.memory)
    return StatedProduct(kind, given.product, memory, tuple(sorted(given.node_labels.items())))


def _spanning_problems(given: FleetConfiguration) -> Iterator[Problem]:
    yield from _level_problems(given.levels or [])
    seen: set[str] = set()
    for position, one in enumerate(given.hardware):
        at = f"fleet.hardware.{position}"
        if bare_product(one.product) in seen:
            yield Problem(f"{at}.product", f"`{one.product}` is listed twice")
        seen.add(bare_product(one.product))
        yield from _hardware_problems(at, one)


def _level_problems(levels: list[LevelConfiguration]) -> Iterator[Problem]:
    seen = set(BUILT_IN_LEVELS)
    for position, level in enumerate(levels):
        if level.name in seen:
            why = "always exists" if level.name in BUILT_IN_LEVELS else "is listed twice"
            yield Problem(f"fleet.levels.{position}.name", f"`{level.name}` {why}")
        seen.add(level.name)


def _hardware_problems(at: str, one: HardwareConfiguration) -> Iterator[Problem]:
    yield from _unknown_facts(at, one, gpu_kind(one.like or one.product))
    for name, text in (("memoryBandwidth", one.memory_bandwidth), ("compute", one.compute), ("pcie", one.pcie)):
        if text is not None and parse_quantity(text) == 0:
            yield Problem(f"{at}.{name}", f"`{text}` must be more than 0")
    if one.node_labels and one.memory is None:
        yield Problem(f"{at}.memory", "is required beside `nodeLabels`: such nodes have no memory label either")


def _unknown_facts(at: str, one: HardwareConfiguration, base: GpuKind) -> Iterator[Problem]:
    """Ask for all facts of a product that nobody lists: there is nothing to fall back on."""
    if base.proven:
        return
    if one.like is not None:
        yield Problem(f"{at}.like", f"`{one.like}` is not a product Shardwise knows")
        return
    for name, value in (
        ("memoryBandwidth", one.memory_bandwidth),
        ("compute", one.compute),
        ("nvlink", one.nvlink),
        ("pcie", one.pcie),
    ):
        if value is None:
            yield Problem(f"{at}.{name}", f"is required: Shardwise does not know `{one.product}`; or name `like`")


def _without_nulls(given: Any) -> Any:  # noqa: ANN401 - any YAML value
    """Take `levels:` with nothing behind it as not given, as Kubernetes does."""
    if isinstance(given, Mapping):
        return {name: _without_nulls(one) for name, one in given.items() if one is not None}
    return [_without_nulls(one) for one in given] if isinstance(given, list) else given


def _closed(schema: Schema) -> Schema:
    """Refuse unknown fields at every depth, as the reader does."""
    closed = dict(schema)
    if "properties" in schema:
        closed["properties"] = {name: _closed(one) for name, one in schema["properties"].items()}
        closed["additionalProperties"] = False
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    return closed
