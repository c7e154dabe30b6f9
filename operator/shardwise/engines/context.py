"""The facts that the words, variables and files of a pod's engine depend on."""

from dataclasses import dataclass

from shardwise.domain.launch import ServedModel, Servers, Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.plan import GroupPlacement, Plan, PodPlacement
from shardwise.domain.version import Version


@dataclass(frozen=True, slots=True)
class PodContext:
    """A pod of a group that is about to be launched.

    ``place`` is the pod's own placement in ``group``. ``hosts`` are the DNS names of the group's pods in rank order;
    the first pod leads. ``release`` is the release of the engine in the image.
    """

    wanted: Wanted
    plan: Plan
    group: GroupPlacement
    place: PodPlacement
    hosts: tuple[str, ...]
    release: Version

    @property
    def model(self) -> ServedModel:
        """The model as the object names it."""
        return self.wanted.launch.model

    @property
    def layout(self) -> Layout:
        """The layout of the plan."""
        return self.plan.layout

    @property
    def leads(self) -> bool:
        """Whether the pod is the leader of its group."""
        return self.place.index == 0

    @property
    def holds_data_ranks(self) -> bool:
        """Whether the pod holds whole data ranks of several."""
        return self.layout.data > 1 and self.place.gpus >= self.layout.data_rank_gpus

    @property
    def shares_serving(self) -> bool:
        """Whether every pod of the group serves clients, each for its own data ranks."""
        asked = self.wanted.launch.container.servers is Servers.EVERY_POD
        return asked and self.has_followers and self.holds_data_ranks

    @property
    def serves(self) -> bool:
        """Whether the pod serves clients."""
        return self.leads or self.shares_serving

    @property
    def has_followers(self) -> bool:
        """Whether the group has several pods."""
        return len(self.group.pods) > 1

    @property
    def leader_host(self) -> str:
        """The DNS name of the leader."""
        return self.hosts[0]
