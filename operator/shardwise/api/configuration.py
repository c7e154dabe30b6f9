"""The operator configuration: a YAML file that is checked as strictly as the object, and its conversion."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from shardwise.api.allow_configuration import AllowConfiguration, allow_problems, allowed_values
from shardwise.api.attachment_configuration import AttachmentConfiguration, attachment_problems, attachment_site
from shardwise.api.base import (
    CAPABILITY_PATTERN,
    FAULT_PATTERN,
    OBJECT_PATTERN,
    ByteQuantity,
    LabelKey,
    LabelValue,
    ShortText,
    Wire,
)
from shardwise.api.crd import Schema, structural
from shardwise.api.hub_configuration import HubConfiguration, hub_problems, hub_site
from shardwise.api.launch_configuration import LaunchConfiguration, launch_problems, launch_site
from shardwise.api.problems import InvalidObject, Problem, problems
from shardwise.domain.hardware import GpuKind, bare_product, gpu_kind, parse_capability
from shardwise.domain.platforms import Level, fault_condition, platforms
from shardwise.domain.site import FleetSite, Site, StatedProduct
from shardwise.domain.units import parse_quantity

LevelName = Annotated[str, Field(min_length=1, max_length=63, pattern=OBJECT_PATTERN)]
PlatformName = Literal["generic", "topograph", "eks", "gke", "oci", "coreweave"]

FaultText = Annotated[str, Field(min_length=1, max_length=256, pattern=FAULT_PATTERN)]

BUILT_IN_LEVELS: Final = ("node", "domain")
"""Names that `spec.placement.within` knows in every configuration."""


class LevelConfiguration(Wire):
    """A level of the network above the NVLink domain."""

    name: LevelName = Field(description="Name of the level in `spec.placement.within`, such as rack.")
    labels: list[LabelKey] = Field(
        min_length=1,
        max_length=8,
        description="Keys of node labels. The first of these labels that a node has names the node's place on this "
        "level.",
    )


class HardwareConfiguration(Wire):
    """Facts of one GPU product. A fact that is left out comes from the product in `like`."""

    product: ShortText = Field(description="Value of the node label nvidia.com/gpu.product, such as NVIDIA-H20-NVL16.")
    like: ShortText | None = Field(
        default=None, description="A known product whose facts apply to every field that is left out here."
    )
    memory_bandwidth: ByteQuantity | None = Field(
        default=None, description="Bandwidth of a GPU's memory, in bytes per second."
    )
    compute: ByteQuantity | None = Field(
        default=None, description="Dense bf16 floating-point operations per second of a GPU."
    )
    nvlink: ByteQuantity | None = Field(
        default=None,
        description="Bandwidth of a GPU's NVLink in one direction to all other GPUs of its node, in bytes per second. "
        "0: the GPUs have no NVLink.",
    )
    pcie: ByteQuantity | None = Field(
        default=None, description="Bandwidth of a GPU over PCIe in one direction, in bytes per second."
    )
    nvlink_across_nodes: bool | None = Field(
        default=None, description="Whether NVLink connects the nodes of an NVLink domain, as in an NVL72 rack."
    )
    memory: ByteQuantity | None = Field(
        default=None, description="Memory of a GPU in bytes, for nodes without a memory label. A label wins."
    )
    compute_capability: Annotated[str, Field(pattern=CAPABILITY_PATTERN)] | None = Field(
        default=None,
        description="Compute capability of an NVIDIA GPU, such as 9.0, for nodes without its labels. A label wins.",
    )
    price_per_hour: float | None = Field(
        default=None,
        ge=0.0001,
        le=1_000_000,
        description="Money that a GPU costs in an hour, in the same currency for all products. Objects with spec."
        "objective cheapest use only products with a price.",
    )
    node_labels: dict[LabelKey, LabelValue] = Field(
        default={}, max_length=8, description="Labels of nodes that hold this product and have no product label."
    )


class FleetConfiguration(Wire):
    """How the operator reads the nodes."""

    platform: PlatformName = Field(
        default="generic", description="Preset of the label keys for NVLink domains and for the levels above them."
    )
    domain_labels: list[LabelKey] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Keys of the node labels that name an NVLink domain of several nodes. Default: the keys of the "
        "preset.",
    )
    levels: list[LevelConfiguration] | None = Field(
        default=None,
        max_length=8,
        description="Levels of the network above the NVLink domain, nearest first. Default: the levels of the preset.",
    )
    hardware: list[HardwareConfiguration] = Field(
        default=[], max_length=64, description="Facts of GPU products that Shardwise does not know, or knows wrongly."
    )
    fault_conditions: list[FaultText] = Field(
        default=[],
        max_length=64,
        description="Conditions of a node with a faulty GPU, beside the conditions of NVSentinel and of the preset: "
        "Type=Status, or Type alone. Alone, a type that ends in Ready or Healthy is a fault when False, and any other "
        "type when True.",
    )


class Configuration(Wire):
    """The operator configuration."""

    fleet: FleetConfiguration = Field(default=FleetConfiguration(), description="How the operator reads the nodes.")
    launch: LaunchConfiguration = Field(default=LaunchConfiguration(), description="How the operator starts pods.")
    hub: HubConfiguration = Field(
        default=HubConfiguration(), description="Whether and how the operator asks the Hugging Face Hub for a model."
    )
    allow: AllowConfiguration = Field(
        default=AllowConfiguration(), description="The values that objects may use: Services, classes, labels, images."
    )
    attachments: AttachmentConfiguration = Field(
        default=AttachmentConfiguration(), description="The add-ons of the cluster that reach and scale models."
    )


def parse_site(document: Mapping[str, Any]) -> Site:
    """Read an operator configuration. Raises :class:`InvalidObject` with all problems, in the order of the fields."""
    try:
        configuration = Configuration.model_validate(_without_nulls(document))
    except ValidationError as error:
        raise InvalidObject(tuple(problems(error, Configuration))) from error
    wrong = (
        *launch_problems(configuration.launch),
        *hub_problems(configuration.hub),
        *allow_problems(configuration.allow),
        *attachment_problems(configuration.attachments),
    )
    fleet = _fleet(configuration.fleet)
    if wrong:
        raise InvalidObject(wrong)
    everywhere, single = allowed_values(configuration.allow)
    launch = replace(
        launch_site(configuration.launch),
        allowed=everywhere,
        allowed_by_namespace=single,
        attachments=attachment_site(configuration.attachments),
        domain_keys=fleet.domain_keys,
        levels=fleet.levels,
    )
    return Site(replace(fleet, device_class=launch.gpu_device_class), launch, hub_site(configuration.hub))


def configuration_schema() -> Schema:
    """Give the JSON schema of the configuration, without references, as the chart's schema of its values holds it."""
    return _closed(structural(Configuration))


def _fleet(given: FleetConfiguration) -> FleetSite:
    wrong = tuple(_spanning_problems(given))
    if wrong:
        raise InvalidObject(wrong)
    preset = platforms()[given.platform]
    levels = preset.levels
    if given.levels is not None:
        levels = tuple(Level(level.name, tuple(level.labels)) for level in given.levels)
    return FleetSite(
        domain_keys=preset.domains if given.domain_labels is None else tuple(given.domain_labels),
        levels=levels,
        products=tuple(_product(hardware) for hardware in given.hardware),
        faults=(*preset.faults, *map(fault_condition, given.fault_conditions)),
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
    if given.price_per_hour is not None:
        facts["price"] = given.price_per_hour
    if given.compute_capability is not None:
        facts["compute_capability"] = parse_capability(given.compute_capability)
    kind = replace(gpu_kind(given.like or given.product), product=bare_product(given.product), proven=True, **facts)
    memory = 0 if given.memory is None else parse_quantity(given.memory)
    return StatedProduct(kind, given.product, memory, tuple(sorted(given.node_labels.items())))


def _spanning_problems(given: FleetConfiguration) -> Iterator[Problem]:
    yield from _level_problems(given.levels or [])
    seen: set[str] = set()
    for position, hardware in enumerate(given.hardware):
        at = f"fleet.hardware.{position}"
        if bare_product(hardware.product) in seen:
            yield Problem(f"{at}.product", f"`{hardware.product}` is listed twice")
        seen.add(bare_product(hardware.product))
        yield from _hardware_problems(at, hardware)


def _level_problems(levels: list[LevelConfiguration]) -> Iterator[Problem]:
    seen = set(BUILT_IN_LEVELS)
    for position, level in enumerate(levels):
        if level.name in seen:
            why = "always exists" if level.name in BUILT_IN_LEVELS else "is listed twice"
            yield Problem(f"fleet.levels.{position}.name", f"`{level.name}` {why}")
        seen.add(level.name)


def _hardware_problems(at: str, hardware: HardwareConfiguration) -> Iterator[Problem]:
    yield from _unknown_facts(at, hardware, gpu_kind(hardware.like or hardware.product))
    rates = {"memoryBandwidth": hardware.memory_bandwidth, "compute": hardware.compute, "pcie": hardware.pcie}
    for name, text in rates.items():
        if text is not None and parse_quantity(text) == 0:
            yield Problem(f"{at}.{name}", f"`{text}` must be more than 0")
    if hardware.node_labels and hardware.memory is None:
        yield Problem(
            f"{at}.memory", "is required with `nodeLabels`: nodes without a product label have no memory label"
        )


def _unknown_facts(at: str, hardware: HardwareConfiguration, base: GpuKind) -> Iterator[Problem]:
    """Ask for every fact of a product that Shardwise does not know and that names no known product."""
    if base.proven:
        return
    if hardware.like is not None:
        yield Problem(f"{at}.like", f"`{hardware.like}` is not a product Shardwise knows")
        return
    for name, value in (
        ("memoryBandwidth", hardware.memory_bandwidth),
        ("compute", hardware.compute),
        ("nvlink", hardware.nvlink),
        ("pcie", hardware.pcie),
    ):
        if value is None:
            why = f"Shardwise does not know `{hardware.product}`"
            yield Problem(f"{at}.{name}", f"is required, because {why}; or set `like` to a known product")


def _without_nulls(given: Any) -> Any:  # noqa: ANN401 - any YAML value
    """Treat a key without a value, such as `levels:`, as left out, as Kubernetes does."""
    if isinstance(given, Mapping):
        return {name: _without_nulls(value) for name, value in given.items() if value is not None}
    return [_without_nulls(value) for value in given] if isinstance(given, list) else given


def _closed(schema: Schema) -> Schema:
    """Refuse unknown fields at every depth, as the parser does."""
    closed = dict(schema)
    if "properties" in schema:
        closed["properties"] = {name: _closed(field) for name, field in schema["properties"].items()}
        closed["additionalProperties"] = False
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        closed["additionalProperties"] = _closed(schema["additionalProperties"])
    return closed
