"""The protocol that every engine's module keeps, so that no other module needs to know the engines apart."""

from collections.abc import Iterable
from typing import Protocol

from shardwise.domain.launch import Wanted
from shardwise.domain.version import Version
from shardwise.engines.context import PodContext
from shardwise.engines.figures import Figures
from shardwise.engines.launch import GroupLaunch
from shardwise.engines.options import OptionTable
from shardwise.engines.token_request import TokenRequest


class Engine(Protocol):
    """The module of an engine: five constants and four functions."""

    @property
    def DEFAULT_IMAGE(self) -> str:  # noqa: N802 - a module's constant
        """Image if neither the object nor the operator's configuration names an image."""

    @property
    def READ(self) -> Version:  # noqa: N802 - as above
        """Release that is assumed if neither the object nor the image's tag names a release."""

    @property
    def OLDEST(self) -> Version:  # noqa: N802 - as above
        """Oldest release that takes the words of the table."""

    @property
    def TABLE(self) -> OptionTable:  # noqa: N802 - as above
        """The options, variables and entries that Shardwise decides."""

    @property
    def HTTP_PORT(self) -> int:  # noqa: N802 - as above
        """Port at which the leader serves HTTP."""

    def problems(self, wanted: Wanted, /) -> Iterable[tuple[str, str]]:
        """Give ``(field path, message)`` for each field that the engine cannot honour, besides args and env."""

    def launch(self, image: str, pods: tuple[PodContext, ...]) -> GroupLaunch:
        """Describe how the pods of a group are started, given in rank order."""

    def figures(self, wanted: Wanted, /) -> Figures | None:
        """Say where a group that serves offers its figures; ``None`` if it offers none that the plan can be held to."""

    def token_request(self, wanted: Wanted, /) -> TokenRequest | None:
        """Give the request of one token by which an idle group is tried; ``None`` if the engine needs or takes none."""
