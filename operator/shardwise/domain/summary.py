"""The demand and the GPUs, as a refusal reports them."""

from dataclasses import dataclass

from shardwise.domain.target import Target


@dataclass(frozen=True, slots=True)
class DemandSummary:
    """The parts of a demand that decide whether a layout fits.

    ``shared_budget`` is the budget of an object with roles, of which the demand has a share. ``role`` is the role of
    the demand; empty without roles.
    """

    replicas: int
    gpu_budget: int
    context_length: int
    concurrency: int
    target: Target | None = None
    shared_budget: int | None = None
    role: str = ""


@dataclass(frozen=True, slots=True)
class PoolCount:
    """The usable nodes of one product, their GPUs, and the GPUs that nobody holds."""

    product: str
    nodes: int
    gpus: int
    free: int
