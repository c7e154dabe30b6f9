"""The protocol each engine's module keeps: what it must answer, so that nobody else needs to know engines apart."""

from collections.abc import Iterable
from typing import Protocol

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import GroupPlacement, Plan
from shardwise.domain.version import Version
from shardwise.engines.launch import GroupLaunch
from shardwise.engines.options import Reserved


class Engine(Protocol):
    """One engine, as a module: constants, and two functions."""

    @property
    def DEFAULT_IMAGE(self) -> str:  # noqa: N802 - a module's constant
        """Image where neither the object nor the operator's configuration names one."""

    @property
    def READ(self) -> Version:  # noqa: N802 - as above
        """Release assumed where none is said."""

    @property
    def OLDEST(self) -> Version:  # noqa: N802 - as above
        """Oldest release the words are for."""

    @property
    def RESERVED(self) -> Reserved:  # noqa: N802 - as above
        """What its user may not say."""

    def problems(self, wanted: Wanted, /) -> Iterable[tuple[str, str]]:
        """Give ``(field path, message)`` for what the engine cannot honour besides arguments and variables."""

    def launch(
        self, wanted: Wanted, plan: Plan, group: GroupPlacement, hosts: tuple[str, ...], image: str
    ) -> GroupLaunch:
        """Say how the pods of one group are started. ``hosts`` are the DNS names of its pods, in rank order."""
