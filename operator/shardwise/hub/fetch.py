"""Fetching the small files of a checkpoint from the Hugging Face Hub."""

import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from shardwise.checkpoint import INDEX_FILE, index_bytes, with_quantization
from shardwise.domain.site import HubSite
from shardwise.hub.answers import HubError, HubFacts, HubQuestion

_CONFIG: Final = "config.json"
_QUANTIZATION: Final = "hf_quant_config.json"

MOST_BYTES: Final[Mapping[str, int]] = {_CONFIG: 2**20, _QUANTIZATION: 2**20, INDEX_FILE: 2**25}
"""The most bytes read of each file. The index of Kimi K2, with 384 experts a layer, has about 15 MB."""

SILENT_SECONDS: Final = 10.0
"""The longest silence between two pieces of an answer."""

FILE_SECONDS: Final = 30.0
"""The longest time for a file, however steadily its pieces come."""

_TOKEN_INVALID: Final = "Invalid credentials in Authorization header"  # noqa: S105 - a sentence
"""The Hub's words in ``X-Error-Message`` for a token that it does not know (huggingface_hub 1.x)."""

_SERVER_ERROR: Final = 500
_TIMEOUT: Final = 408
_TOO_MANY: Final = 429


def fetch_config(question: HubQuestion, site: HubSite | None = None) -> HubFacts:
    """Fetch a model's config and the size of its weights. Blocks on the network.

    Raises :class:`HubError`, whose message names the cause: the network, the repository, the permission or the file.
    """
    site = site or HubSite()
    if constants.is_offline_mode():
        raise HubError("the variable `HF_HUB_OFFLINE` turns the Hub off", retryable=False)
    headers = build_hf_headers(token=_token(site) or False)
    with _client(site) as client:
        checkpoint = _Checkpoint(client, question, site.endpoint, headers)
        return HubFacts(_config(checkpoint), _weight_bytes(checkpoint))


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """A repository on the Hub, and how to reach it."""

    client: httpx2.Client
    question: HubQuestion
    endpoint: str | None
    headers: Mapping[str, str]

    @property
    def has_token(self) -> bool:
        """Whether the Hub is asked with a token."""
        return "authorization" in self.headers


def _client(site: HubSite) -> httpx2.Client:
    """Make a client. Without a proxy of the configuration, the usual variables such as ``HTTPS_PROXY`` count."""
    try:
        trusted = True if site.ca_file is None else ssl.create_default_context(cafile=site.ca_file)
    except (OSError, ValueError) as error:
        raise _setting("hub.caFile", error) from error
    try:
        return httpx2.Client(follow_redirects=True, verify=trusted, proxy=site.proxy, timeout=SILENT_SECONDS)
    except (OSError, ValueError) as error:
        raise _setting("hub.proxy", error) from error


def _token(site: HubSite) -> str:
    """Read the operator's token; empty if there is none. The file is read each time: a Secret may be changed."""
    if site.token_file is None:
        return ""
    try:
        return Path(site.token_file).read_text().strip()
    except (OSError, ValueError) as error:
        raise _setting("hub.tokenFile", error) from error


def _setting(field: str, error: Exception) -> HubError:
    detail = f"`{field}` of the operator configuration cannot be used: {_said(error)}"
    return HubError(f"the Hub cannot be asked: {detail}", retryable=True, everywhere=True, detail=detail)


def _config(checkpoint: _Checkpoint) -> Mapping[str, object]:
    document = _fetch(checkpoint, _CONFIG)
    if not isinstance(document, Mapping):
        raise HubError(f"`{_CONFIG}` of `{checkpoint.question.repo}` on the Hub is not a JSON object", retryable=False)
    if document.get("quantization_config"):
        return document
    stated = _if_there(checkpoint, _QUANTIZATION)
    return with_quantization(document, stated) if isinstance(stated, Mapping) else document


def _weight_bytes(checkpoint: _Checkpoint) -> int | None:
    """Read the size off the index. A checkpoint in a single file has no index; its size follows from the config."""
    return index_bytes(_if_there(checkpoint, INDEX_FILE))


def _if_there(checkpoint: _Checkpoint, file: str) -> object:
    """Read an optional file; ``None`` if the checkpoint does not have it. A retryable error is still raised."""
    try:
        return _fetch(checkpoint, file)
    except HubError as error:
        if error.retryable:
            raise
        return None


def _fetch(checkpoint: _Checkpoint, file: str) -> object:
    """Read a small file without retries and without a cache on disk: the file system may be read-only."""
    question = checkpoint.question
    try:
        url = hf_hub_url(question.repo, file, revision=question.revision, endpoint=checkpoint.endpoint)
        if checkpoint.has_token and not url.startswith("https://"):
            raise _setting("hub.tokenFile", ValueError("the endpoint is not `https://`"))
        return json.loads(_content(checkpoint, url, file))
    except HfHubHTTPError as error:
        raise _answered(checkpoint, file, error) from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(question.repo, file, error) from error
    except (httpx2.HTTPError, OSError) as error:
        message = f"the Hub cannot be reached for `{file}` of `{question.repo}`: {_said(error)}"
        raise HubError(message, retryable=True, everywhere=True, detail=_said(error)) from error


def _content(checkpoint: _Checkpoint, url: str, file: str) -> bytes:
    begun = time.monotonic()
    with checkpoint.client.stream("GET", url, headers=dict(checkpoint.headers)) as response:
        # The body of an error may have any length. Its meaning is in the headers.
        hf_raise_for_status(httpx2.Response(response.status_code, headers=_codes(response), request=response.request))
        return _body(response, checkpoint.question.repo, file, begun + FILE_SECONDS)


def _codes(response: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.lower().startswith("x-error-")}


def _body(response: httpx2.Response, repo: str, file: str, until: float) -> bytes:
    """Read a body in bounded time and memory. A body that ends early is the fault of a file, not of the whole Hub."""
    content = bytearray()
    try:
        for piece in response.iter_bytes():
            content += piece
            if len(content) > MOST_BYTES[file]:
                message = f"`{file}` of `{repo}` on the Hub is longer than {MOST_BYTES[file]} bytes"
                raise HubError(message, retryable=False)
            if time.monotonic() > until:
                raise HubError(f"`{file}` of `{repo}` took longer than {FILE_SECONDS:.0f} s", retryable=True)
    except (httpx2.HTTPError, OSError) as error:
        raise HubError(f"`{file}` of `{repo}` on the Hub broke off: {_said(error)}", retryable=True) from error
    return bytes(content)


def _answered(checkpoint: _Checkpoint, file: str, error: HfHubHTTPError) -> HubError:
    """Turn an answer of the Hub into an error. Only an overloaded or broken Hub is asked again soon."""
    question = checkpoint.question
    repo = question.repo
    if error.response.headers.get("X-Error-Message") == _TOKEN_INVALID:
        return _setting("hub.tokenFile", ValueError("the Hub does not know its token"))
    match error:
        case GatedRepoError():
            return HubError(_gated(checkpoint), retryable=False)
        case RepositoryNotFoundError():
            return HubError(
                f"`{repo}` is not a model on the Hub, or is private: {_unseen(checkpoint)}", retryable=False
            )
        case RevisionNotFoundError():
            return HubError(f"`{repo}` on the Hub has no revision `{question.revision}`", retryable=False)
        case EntryNotFoundError():
            return HubError(f"`{repo}` on the Hub has no `{file}`", retryable=False)
        case _:
            status = error.response.status_code
            passing = status >= _SERVER_ERROR or status in (_TIMEOUT, _TOO_MANY)
            # The Hub counts the requests of an address or a token, whatever they ask for.
            everywhere, detail = status == _TOO_MANY, f"it answers {status}"
            message = f"the Hub answered {status} for `{file}` of `{repo}`"
            return HubError(message, retryable=passing, everywhere=everywhere, detail=detail)


def _gated(checkpoint: _Checkpoint) -> str:
    """Say what a gated model needs: the operator reads its config, and the pods read its weights."""
    gated = f"`{checkpoint.question.repo}` on the Hub is gated"
    if checkpoint.has_token:
        return f"{gated}, and the account of the token of `hub.tokenFile` has no access: ask for it on the model's page"
    return (
        f"{gated}: accept its terms on the model's page, then give the operator a token of that account "
        "(`hub.tokenFile` of the operator configuration, `hub.tokenSecret` of the chart) for the config, and the pods "
        "a Secret (`spec.model.source.huggingFace.tokenSecretRef`) for the weights"
    )


def _unseen(checkpoint: _Checkpoint) -> str:
    if checkpoint.has_token:
        return "the account of the token of `hub.tokenFile` does not see it"
    return "the operator sees private models by `hub.tokenFile` of its configuration alone"


def _unreadable(repo: str, file: str, error: Exception) -> HubError:
    if isinstance(error, HFValidationError):
        return HubError(f"`{repo}` is not a model id of the Hub such as `organisation/model`", retryable=False)
    return HubError(f"`{file}` of `{repo}` on the Hub is not JSON: {error}", retryable=False)


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
