"""Errors between us and the API server, of two kinds: calls that may work later, and calls that will not.

ClusterError
├── Retryable   no answer, an overloaded server, a conflict: the same call may succeed later
└── Refused     forbidden, invalid, unknown, no consent of a webhook: it fails until somebody changes something
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic.exceptions import DynamicApiError

_RETRYABLE: Final = frozenset({408, 409, 410, 425, 429, 500, 502, 503, 504})
_BY_WEBHOOK: Final = ("denied the request", "failed calling webhook")
"""Words of the API server for an admission webhook that refuses, with whatever status, or that does not answer."""

_GONE: Final = frozenset({404, 409})
_MOST_MESSAGE: Final = 400


class ClusterError(Exception):
    """A call that did not succeed. ``status`` is the HTTP status, 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Retryable(ClusterError):
    """The same call may succeed later."""


class Refused(ClusterError):
    """The call fails until somebody changes something: a permission, the object, the CRD."""


@asynccontextmanager
async def converted(call: str) -> AsyncIterator[None]:
    """Convert the client's exceptions. ``call`` names the call, for the message: ``apply Pod default/llama-0``."""
    try:
        yield
    except (DynamicApiError, ApiException) as error:
        raise _from_answer(call, int(error.status or 0), error.body) from error
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Retryable(
            f"cannot {call}: no answer from the API server ({str(error) or type(error).__name__})"
        ) from error


def _from_answer(call: str, status: int, body: object) -> ClusterError:
    said = _said(body)
    by_webhook = any(words in said for words in _BY_WEBHOOK)
    kind = Retryable if status in _RETRYABLE and not by_webhook else Refused
    return kind(f"cannot {call}: {said or f'HTTP {status}'}", status)


def _said(body: object) -> str:
    """Give the server's own message, which names the field or the permission."""
    try:
        answer = json.loads(body) if isinstance(body, str | bytes) else body
    except ValueError:
        return str(body)[:_MOST_MESSAGE]
    message = answer.get("message") if isinstance(answer, Mapping) else None
    return str(message or "")[:_MOST_MESSAGE]


def is_gone(error: ClusterError) -> bool:
    """Tell whether a deletion failed because there is nothing, or another object of that name, to delete."""
    return error.status in _GONE
