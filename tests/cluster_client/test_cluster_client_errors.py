"""What goes wrong, sorted into what may work later and what will not, each in the words of the call and the server."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient
from pytest_mock import MockerFixture
from tests.cluster_client.support import Said, Scripted, a_kubeconfig, connected, scripted

from shardwise.cluster import Cluster, ClusterError, Refused, Retryable
from shardwise.cluster.errors import converted, is_gone
from shardwise.observe.kinds import NODE

RETRYABLE = {408, 409, 410, 425, 429, 500, 502, 503, 504}
"""What the API server, or a proxy before it, says when the same request may succeed later."""


@pytest.fixture
async def cluster(script: Scripted, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with connected(a_kubeconfig(tmp_path / "kubeconfig", script.url, {"token": "t"})) as client:
        yield client


def an_answer(status: int, body: Any) -> ApiException:
    error = ApiException(status=status, reason="r")
    error.body = body
    return error


@pytest.mark.parametrize("status", [int(one) for one in HTTPStatus if one >= HTTPStatus.BAD_REQUEST])
async def test_every_status_is_one_of_the_two(status: int) -> None:
    """With the server's own message, and the status for whoever asks."""
    with pytest.raises(ClusterError) as caught:
        async with converted("apply Pod a/b"):
            raise an_answer(status, b'{"kind": "Status", "message": "spec.x: wrong"}')
    assert type(caught.value) is (Retryable if status in RETRYABLE else Refused)
    assert (str(caught.value), caught.value.status) == ("cannot apply Pod a/b: spec.x: wrong", status)


WEBHOOKS = {
    "it refuses with a status of its own": (429, 'admission webhook "w" denied the request: not today', Refused),
    "it does not answer": (500, 'Internal error occurred: failed calling webhook "w": refused', Refused),
    "the server fails by itself": (500, "Internal error occurred: etcdserver: request timed out", Retryable),
    "a quota changes meanwhile": (409, 'Operation cannot be fulfilled on resourcequotas "q"', Retryable),
}


@pytest.mark.parametrize(("status", "said", "kind"), WEBHOOKS.values(), ids=WEBHOOKS)
async def test_a_webhook_that_does_not_consent_refuses_whatever_status_it_gives(
    status: int, said: str, kind: type[ClusterError]
) -> None:
    with pytest.raises(ClusterError) as caught:
        async with converted("apply Pod a/b"):
            raise an_answer(status, {"message": said})
    assert type(caught.value) is kind


SAID: dict[str, tuple[object, str]] = {
    "a Status": ('{"message": "m"}', "m"),
    "bytes": (b'{"message": "m"}', "m"),
    "read already": ({"message": "m"}, "m"),
    "plain text": ("upstream is down", "upstream is down"),
    "nothing": ("", "HTTP 503"),
    "no body at all": (None, "HTTP 503"),
    "no message": ('{"kind": "Status"}', "HTTP 503"),
    "a null message": ('{"message": null}', "HTTP 503"),
    "a message that is none": ('{"message": 7}', "7"),
    "a list": ("[1]", "HTTP 503"),
    "a number": ("5", "HTTP 503"),
    "a long message": ('{"message": "%s"}' % ("x" * 900), "x" * 400),
    "a long text": ("y" * 900, "y" * 400),
}


@pytest.mark.parametrize(("body", "words"), SAID.values(), ids=SAID)
async def test_a_body_of_any_shape_gives_words(body: object, words: str) -> None:
    """At most 400 characters of them."""
    with pytest.raises(Retryable) as caught:
        async with converted("list pods"):
            raise an_answer(503, body)
    assert str(caught.value) == f"cannot list pods: {words}"


UNANSWERED: dict[str, tuple[Exception, str]] = {
    "a timeout": (TimeoutError(), "TimeoutError"),
    "a cut connection": (aiohttp.ServerDisconnectedError(), "Server disconnected"),
    "half an answer": (aiohttp.ClientPayloadError("half"), "half"),
    "a reset": (ConnectionResetError("reset by peer"), "reset by peer"),
    "no network": (OSError("unreachable"), "unreachable"),
}


@pytest.mark.parametrize(("error", "words"), UNANSWERED.values(), ids=UNANSWERED)
async def test_no_answer_is_to_be_tried_again(
    cluster: Cluster, mocker: MockerFixture, error: Exception, words: str
) -> None:
    """Status 0: nobody knows whether it was carried out. The cause is kept for the log."""
    mocker.patch.object(DynamicClient, "request", side_effect=error)
    with pytest.raises(Retryable) as caught:
        await cluster.list(NODE)
    assert str(caught.value) == f"cannot list nodes: no answer from the API server ({words})"
    assert (caught.value.status, caught.value.__cause__) == (0, error)


async def test_every_call_has_thirty_seconds(cluster: Cluster, mocker: MockerFixture) -> None:
    """The library would wait for five minutes."""
    asked = mocker.patch.object(DynamicClient, "request", side_effect=TimeoutError)
    with pytest.raises(Retryable):
        await cluster.list(NODE)
    assert asked.call_args.kwargs["_request_timeout"] == 30.0


async def test_a_cancellation_is_no_failed_call(cluster: Cluster, mocker: MockerFixture) -> None:
    """The operator is stopping: it must not be tried again."""
    mocker.patch.object(DynamicClient, "request", side_effect=asyncio.CancelledError)
    with pytest.raises(asyncio.CancelledError):
        await cluster.list(NODE)


async def test_a_slip_of_our_own_is_not_the_servers_fault() -> None:
    """A bug stays a bug, with its own traceback."""
    with pytest.raises(ZeroDivisionError):
        async with converted("list pods"):
            _ = 1 // 0


async def test_nobody_listening_is_to_be_tried_again(tmp_path: Path) -> None:
    """The API server restarts, on the same address."""
    async with scripted() as gone:
        kubeconfig = a_kubeconfig(tmp_path / "kubeconfig", gone.url, {"token": "t"})
    async with connected(kubeconfig) as cluster:
        with pytest.raises(Retryable, match="cannot list nodes: no answer from the API server") as caught:
            await cluster.list(NODE)
    assert caught.value.status == 0


ANSWERS: dict[str, tuple[Said, type[ClusterError], str]] = {
    "a proxy's page of an error": (Said("<h1>Bad Gateway</h1>", 502, "text/html"), Retryable, "<h1>Bad Gateway</h1>"),
    "a proxy's page of success": (Said("<h1>Log in</h1>", 200, "text/html"), Retryable, "text/html"),
    "a plain refusal": (Said("no such user", 403, "text/plain"), Refused, "no such user"),
    "a redirect to nowhere": (Said("", 302, "text/html"), Refused, "HTTP 302"),
    "too many requests": (Said({"message": "slow down"}, 429), Retryable, "slow down"),
    "a kind that is not there": (Said("404 page not found", 404, "text/plain"), Refused, "404 page not found"),
}


@pytest.mark.parametrize(("said", "kind", "words"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_over_the_wire_is_told_in_the_words_of_the_call(
    script: Scripted, cluster: Cluster, said: Said, kind: type[ClusterError], words: str
) -> None:
    """Also one that is no JSON: a proxy stands between."""
    script.says(said)
    with pytest.raises(kind) as caught:
        await cluster.list(NODE)
    assert str(caught.value).startswith("cannot list nodes: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(("status", "gone"), [(404, True), (409, True), (410, False), (403, False), (0, False)])
def test_only_not_found_and_conflict_mean_gone(status: int, gone: Any) -> None:
    assert is_gone(ClusterError("m", status)) is gone
