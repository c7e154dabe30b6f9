"""The questions that the Hub is asked, and its answers. This module loads no client."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubQuestion:
    """A checkpoint on the Hub. ``revision`` ``None`` means the main branch.

    Everybody asks with the operator's own token, so that equal questions have equal answers.
    """

    repo: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class HubFacts:
    """The config of a checkpoint on the Hub, and the bytes of its weights if it has an index.

    The config includes ``hf_quant_config.json``, in which modelopt states the quantisation.
    """

    config: Mapping[str, object]
    weight_bytes: int | None


class HubError(Exception):
    """The Hub gave no config.

    ``retryable``: a later try may succeed; else the answer stays until somebody changes the repository or its rights.
    ``everywhere``: no model gets an answer now, because the Hub is silent or refuses us. ``detail`` then says why,
    without the name of a model.
    """

    def __init__(self, message: str, *, retryable: bool, everywhere: bool = False, detail: str = "") -> None:
        super().__init__(message)
        self.retryable = retryable
        self.everywhere = everywhere
        self.detail = detail
