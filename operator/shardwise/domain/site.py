"""The operator configuration, as values."""

from dataclasses import dataclass, field

from shardwise.domain.hardware import GpuKind
from shardwise.domain.launch import LaunchSite
from shardwise.domain.platforms import GENERIC, FaultCondition, Level


@dataclass(frozen=True, slots=True)
class StatedProduct:
    """Facts about a GPU product from the configuration, where labels and the built-in table lack them.

    ``label`` is the product as a label would spell it. ``memory`` is bytes per GPU; it replaces a missing memory label.
    ``node_labels`` select the nodes that have this product and no product label.
    """

    kind: GpuKind
    label: str
    memory: int = 0
    node_labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class FleetSite:
    """The part of the configuration that says how nodes are read.

    ``domain_keys`` are label keys whose value names an NVLink domain of several nodes; the first key that a node has
    counts. ``levels`` lie above the domain, nearest first. ``products`` win over the built-in hardware table.
    ``faults`` are the conditions of a node with a faulty GPU, besides NVSentinel's conditions. ``device_class`` is the
    DeviceClass by which pods claim GPUs; ``None`` if they request an extended resource.
    """

    domain_keys: tuple[str, ...] = GENERIC.domains
    levels: tuple[Level, ...] = GENERIC.levels
    products: tuple[StatedProduct, ...] = ()
    faults: tuple[FaultCondition, ...] = ()
    device_class: str | None = None


@dataclass(frozen=True, slots=True)
class HubSite:
    """Whether and how the operator asks the Hugging Face Hub for a model that it does not know.

    ``endpoint`` and ``proxy`` are addresses; ``None`` leaves them to the variables of the environment. ``ca_file`` and
    ``token_file`` are paths. They are read at each look-up, because their content may change.
    """

    enabled: bool = True
    endpoint: str | None = None
    proxy: str | None = None
    ca_file: str | None = None
    token_file: str | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """The whole operator configuration."""

    fleet: FleetSite = field(default_factory=FleetSite)
    launch: LaunchSite = field(default_factory=LaunchSite)
    hub: HubSite = field(default_factory=HubSite)
