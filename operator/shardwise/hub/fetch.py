"""Fetching the small files of a checkpoint from the Hugging Face Hub."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from httpx2 import HTTPError
from huggingface_hub import get_session, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from shardwise.checkpoint import with_quantization

_CONFIG: Final = "config.json"
_QUANTIZATION: Final = "hf_quant_config.json"
_INDEX: Final = "model.safetensors.index.json"
_SECONDS: Final = 10.0
_SERVER_ERROR: Final = 500
_PASSING: Final = frozenset({408, 429})
"""Timeout and too many requests: a later request may succeed."""


class HubError(Exception):
    """The Hub gave no config. ``retryable``: a later try may succeed; else the answer will not change."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class HubFacts:
    """The config of a checkpoint on the Hub, and the bytes of its weights if it has an index.

    The config includes ``hf_quant_config.json``, in which modelopt states the quantisation.
    """

    config: Mapping[str, object]
    weight_bytes: int | None


def fetch_config(repo: str, revision: str | None = None, token: str | None = None) -> HubFacts:
    """Fetch a model's config and the size of its weights. Blocks on the network.

    Raises :class:`HubError`, whose message names the cause: the network, the repository, the permission or the file.
    """
    return HubFacts(_config(repo, revision, token), _weight_bytes(repo, revision, token))


def _config(repo: str, revision: str | None, token: str | None) -> Mapping[str, object]:
    document = _fetch(repo, _CONFIG, revision, token)
    if not isinstance(document, Mapping):
        raise HubError(f"`{_CONFIG}` of `{repo}` on the Hub is not a JSON object", retryable=False)
    if document.get("quantization_config"):
        return document
    stated = _if_there(repo, _QUANTIZATION, revision, token)
    return with_quantization(document, stated) if isinstance(stated, Mapping) else document


def _weight_bytes(repo: str, revision: str | None, token: str | None) -> int | None:
    """Read the size off the index. A checkpoint in a single file has no index; its size follows from the config."""
    index = _if_there(repo, _INDEX, revision, token)
    metadata = index.get("metadata") if isinstance(index, Mapping) else None
    size = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    return int(size) if isinstance(size, int | float) else None


def _if_there(repo: str, file: str, revision: str | None, token: str | None) -> object:
    """Read an optional file; ``None`` if the checkpoint does not have it. A retryable error is still raised."""
    try:
        return _fetch(repo, file, revision, token)
    except HubError as error:
        if error.retryable:
            raise
        return None


def _fetch(repo: str, file: str, revision: str | None, token: str | None) -> object:
    """Read a small file without retries and without a cache on disk: the file system may be read-only."""
    try:
        url = hf_hub_url(repo, file, revision=revision)
        response = get_session().get(url, headers=build_hf_headers(token=token or False), timeout=_SECONDS)
        hf_raise_for_status(response)
        return json.loads(response.content)
    except HfHubHTTPError as error:
        raise _answered(repo, file, revision, error) from error
    except ValueError as error:
        raise _unreadable(repo, file, error) from error
    except (HTTPError, OSError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise HubError(f"the Hub cannot be reached for `{file}` of `{repo}`: {said}", retryable=True) from error


def _answered(repo: str, file: str, revision: str | None, error: HfHubHTTPError) -> HubError:
    """Turn an answer of the Hub into an error. Only an overloaded or broken Hub is asked again."""
    match error:
        case GatedRepoError():
            return HubError(f"`{repo}` on the Hub is gated: its config needs a token with access", retryable=False)
        case RepositoryNotFoundError():
            return HubError(f"`{repo}` is not a model on the Hub, or is private", retryable=False)
        case RevisionNotFoundError():
            return HubError(f"`{repo}` on the Hub has no revision `{revision}`", retryable=False)
        case EntryNotFoundError():
            return HubError(f"`{repo}` on the Hub has no `{file}`", retryable=False)
        case _:
            status = error.response.status_code
            passing = status >= _SERVER_ERROR or status in _PASSING
            return HubError(f"the Hub answered {status} for `{file}` of `{repo}`", retryable=passing)


def _unreadable(repo: str, file: str, error: ValueError) -> HubError:
    if isinstance(error, HFValidationError):
        return HubError(f"`{repo}` is not a model id of the Hub such as `organisation/model`", retryable=False)
    return HubError(f"`{file}` of `{repo}` on the Hub is not JSON: {error}", retryable=False)
