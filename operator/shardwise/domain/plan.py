"""A plan: how a model is split, where each rank runs, and why."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from shardwise.domain.engine import EngineName
from shardwise.domain.fleet import NVIDIA
from shardwise.domain.layout import Layout
from shardwise.domain.needs import Amounts, PodNeeds, needs_by_node
from shardwise.domain.notes import Note
from shardwise.domain.refusal import Cause
from shardwise.domain.target import Sizing


class Rule(StrEnum):
    """The rule of the sharding guide that decided (docs/rules.md), or the user's pin."""

    ONE_GPU = "fits-one-gpu"
    ONE_NODE = "fits-one-node"
    STAGES_IN_NODE = "stages-in-node"
    TENSOR_ON_PCIE = "tensor-on-pcie"
    PIPELINE_ON_PCIE = "pipeline-on-pcie"
    TENSOR_IN_NODE_PIPELINE_ACROSS = "tensor-in-domain-pipeline-across"
    PIPELINE_ACROSS_NODES = "pipeline-across-nodes"
    STAGES_IN_DOMAIN = "stages-in-domain"
    STAGES_BETWEEN_NODES = "stages-between-nodes"
    MULTI_NODE_NVLINK_PIPELINE_ACROSS = "multi-node-nvlink-pipeline-across"
    MULTI_NODE_NVLINK = "multi-node-nvlink"
    DATA_IN_DOMAIN = "data-parallel-in-domain"
    DATA_ACROSS = "data-parallel-across-domains"
    PINNED = "pinned"


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes on the fullest GPU of a group. ``budget`` is the part of the GPU's memory that the engine may use.

    ``left_free`` bytes of the GPU are for others, because the object asks for it: the engine is told to leave them.
    """

    weights: int
    kv_cache: int
    activations: int
    reserve: int
    budget: int
    left_free: int = 0

    @property
    def needed(self) -> int:
        """The bytes that must fit."""
        return self.weights + self.kv_cache + self.activations + self.reserve

    @property
    def slack(self) -> int:
        """The rest of the budget; negative if the layout does not fit."""
        return self.budget - self.needed


@dataclass(frozen=True, slots=True)
class Estimate:
    """A roofline estimate that ranks layouts, not a promise. Seconds are per output token of a sequence, at batch 1.

    ``tokens_per_second_per_gpu`` counts a prompt token for each output token. ``prompt_tokens_per_second_per_gpu`` is
    the speed on prompts alone; 0 where it is not known, as of a plan in a status.
    """

    seconds_per_token: float
    tokens_per_second_per_gpu: float
    prompt_tokens_per_second_per_gpu: float = 0.0

    @property
    def answer_tokens_per_second_per_gpu(self) -> float:
        """The speed on answers alone, at the same batch: the rest of the time of a token; 0 where it is not known."""
        if not self.prompt_tokens_per_second_per_gpu:
            return 0.0
        return 1 / (1 / self.tokens_per_second_per_gpu - 1 / self.prompt_tokens_per_second_per_gpu)


@dataclass(frozen=True, slots=True)
class PodPlacement:
    """A pod of a group: its node, the node's NVLink domain, its number of GPUs and its ranks."""

    index: int
    node: str
    domain: str
    gpus: int
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupPlacement:
    """A replica: its pods in rank order. Pod 0 leads."""

    replica: int
    pods: tuple[PodPlacement, ...]


class LayoutOutcome(StrEnum):
    """Whether a layout that was not chosen fits."""

    FITS = "fits"
    REFUSED = "refused"


class Alternative(NamedTuple):
    """A layout on a GPU product that was tried, and why it lost. ``cause`` holds the numbers; explain has the words."""

    layout: Layout
    product: str
    outcome: LayoutOutcome
    cause: Cause
    memory: MemoryUse | None = None
    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision for a demand.

    Invariant: the GPUs of each group's pods sum to ``layout.world_size``, and their ranks are 0..world_size-1, once
    each. ``alternatives`` lists all layouts that lost, best first. ``resource`` is the extended resource that a pod
    requests. ``ipv6``: the first address of the pods is of IPv6. ``joined``: tensor groups cross nodes without NVLink,
    because a pin asks for them. ``linked``: the data ranks of a group use NVLink between nodes.
    ``sizing`` says how the replicas meet the target of the demand. ``price`` is the money that a GPU costs in an hour,
    where the operator configuration states it.
    ``states`` is the number of states of sequences (Mamba, linear attention) that each GPU
    has room for; ``None`` where the engine needs no such number.
    """

    layout: Layout
    product: str
    engine: EngineName
    context_length: int
    concurrency: int
    groups: tuple[GroupPlacement, ...]
    memory: MemoryUse
    rule: Rule
    tight: bool
    estimate: Estimate
    alternatives: tuple[Alternative, ...]
    notes: tuple[Note, ...] = ()
    resource: str = NVIDIA
    ipv6: bool = False
    joined: bool = False
    states: int | None = None
    linked: bool = False
    sizing: Sizing | None = None
    price: float | None = None

    @property
    def nvlink_gpus(self) -> int:
        """The GPUs that use NVLink among them, on one node or several; 1 where they use none between nodes."""
        if self.joined:
            return 1
        return self.layout.world_size if self.linked else self.layout.tensor

    @property
    def replicas(self) -> int:
        """Groups in the plan."""
        return len(self.groups)

    @property
    def cache_tokens(self) -> int:
        """Tokens that the KV cache of a group has room for: those of the demand, and as many as the slack holds.

        Sequences of the planned context are counted. 0 if the model keeps nothing for its sequences. Each data rank has
        a cache of its own: then the tokens of a single data rank are counted, as engines report them.
        """
        use = self.memory
        if use.kv_cache <= 0:
            return 0
        sequences = -(-self.concurrency // self.layout.data)
        return self.context_length * sequences * (use.kv_cache + use.slack) // use.kv_cache

    def numbered_from(self, first: int) -> "Plan":
        """Give the plan with other numbers of its replicas: the groups of an object have a number each."""
        groups = (replace(group, replica=first + position) for position, group in enumerate(self.groups))
        return replace(self, groups=tuple(groups))

    def gpus_by_node(self) -> dict[str, int]:
        """Count the GPUs that the plan uses on each node."""
        found: dict[str, int] = {}
        for pod in (pod for group in self.groups for pod in group.pods):
            found[pod.node] = found.get(pod.node, 0) + pod.gpus
        return found

    def needs_by_node(self, needs: PodNeeds) -> dict[str, Amounts]:
        """Add up the resources besides GPUs that the pods of the plan need, by node."""
        groups = (([pod.node for pod in group.pods], group.pods[0].gpus) for group in self.groups)
        return needs_by_node(needs, self.nvlink_gpus, groups)

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.layout.world_size * self.replicas
