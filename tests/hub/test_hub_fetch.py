"""Fetching from the Hub: what each of its answers, and its silence, is told as. No test touches a network."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub.errors import GatedRepoError
from huggingface_hub.utils import hf_raise_for_status
from pytest_mock import MockerFixture
from tests.support.models import config

from shardwise.checkpoint import from_config
from shardwise.domain.model import Quantization
from shardwise.domain.reasons import FailureKind
from shardwise.domain.site import HubSite
from shardwise.hub import HubError, HubFacts, HubQuestion
from shardwise.hub.fetch import MOST_BYTES, fetch_config
from shardwise.reconcile.exits import read_exit

REPO = "meta-llama/Llama-3.1-8B"
QUESTION = HubQuestion(REPO)
CONFIG = config(REPO)
INDEX = {"metadata": {"total_size": 16_060_522_496}, "weight_map": {}}

Answer = Callable[[httpx2.Request], httpx2.Response]


def answers(config_json: Any, index: Any = None, quantization: Any = None) -> Answer:
    """Answer with these documents; ``None`` is a file that the repository lacks."""
    documents = {
        "config.json": config_json,
        "model.safetensors.index.json": index,
        "hf_quant_config.json": quantization,
    }

    def answer(request: httpx2.Request) -> httpx2.Response:
        document = documents[_file(request)]
        if document is None:
            return httpx2.Response(404, headers={"X-Error-Code": "EntryNotFound"})
        return httpx2.Response(200, json=document)

    return answer


def _file(request: httpx2.Request) -> str:
    return request.url.path.rsplit("/", 1)[1]


def raises(error: Exception) -> Answer:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise error

    return answer


def status(code: int, error_code: str | None = None) -> Answer:
    headers = {"X-Error-Code": error_code} if error_code else {}
    return lambda request: httpx2.Response(code, headers=headers)


@pytest.fixture
def hub(mocker: MockerFixture) -> Callable[[Answer], list[httpx2.Request]]:
    """Put a made-up Hub in place of the real one; gives the requests it gets."""

    def install(answer: Answer) -> list[httpx2.Request]:
        seen: list[httpx2.Request] = []

        def handle(request: httpx2.Request) -> httpx2.Response:
            seen.append(request)
            return answer(request)

        def client(_: HubSite) -> httpx2.Client:
            return httpx2.Client(transport=httpx2.MockTransport(handle), follow_redirects=True)

        mocker.patch("shardwise.hub.fetch._client", client)
        return seen

    return install


Install = Callable[[Answer], list[httpx2.Request]]


def test_a_config_and_the_size_of_its_weights_are_fetched(hub: Install) -> None:
    seen = hub(answers(CONFIG, INDEX))
    assert fetch_config(QUESTION) == HubFacts(CONFIG, 16_060_522_496)
    assert [_file(request) for request in seen] == [
        "config.json",
        "hf_quant_config.json",
        "model.safetensors.index.json",
    ]


def test_what_is_fetched_gives_facts(hub: Install) -> None:
    hub(answers(CONFIG, INDEX))
    fetched = fetch_config(QUESTION)
    model = from_config(fetched.config, name=REPO, origin="Hub", checkpoint_bytes=fetched.weight_bytes)
    assert model.checkpoint_bytes == 16_060_522_496


STATED = {
    "producer": {"name": "modelopt", "version": "0.23.0"},
    "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]},
}


def test_a_quantisation_that_modelopt_keeps_in_a_file_of_its_own_is_part_of_the_config(hub: Install) -> None:
    hub(answers(CONFIG, INDEX, STATED))
    fetched = fetch_config(QUESTION)
    model = from_config(fetched.config, name=REPO, origin="Hub")
    assert (model.quantization, model.kv_cache_dtype, model.guessed) == (Quantization.FP8, "fp8", False)
    assert fetched.config["quantization_config"] == {"quant_method": "modelopt", **STATED}


def test_a_config_that_states_its_quantisation_has_no_other_file_read(hub: Install) -> None:
    stated = CONFIG | {"quantization_config": {"quant_method": "fp8"}}
    seen = hub(answers(stated, INDEX, STATED))
    assert fetch_config(QUESTION).config == stated
    assert [_file(request) for request in seen] == ["config.json", "model.safetensors.index.json"]


@pytest.mark.parametrize("other", [None, [], "fp8", {}], ids=["none", "list", "text", "empty"])
def test_a_quantisation_file_that_says_nothing_adds_nothing(hub: Install, other: Any) -> None:
    hub(answers(CONFIG, INDEX, other))
    assert fetch_config(QUESTION).config == CONFIG


@pytest.mark.parametrize("code", [429, 503])
def test_a_quantisation_that_cannot_be_read_now_is_no_plain_checkpoint(hub: Install, code: int) -> None:
    """A plan in sixteen bits for an fp8 checkpoint would take twice the GPUs."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if _file(request) == "hf_quant_config.json":
            return httpx2.Response(code)
        return answers(CONFIG, INDEX)(request)

    hub(answer)
    with pytest.raises(HubError, match=r"`hf_quant_config\.json`") as raised:
        fetch_config(QUESTION)
    assert raised.value.retryable


def test_only_small_files_are_asked_for(hub: Install) -> None:
    seen = hub(answers(CONFIG, INDEX))
    fetch_config(QUESTION)
    assert all(request.url.path.endswith(".json") for request in seen)


@pytest.mark.parametrize(
    "index",
    [None, [], {}, {"metadata": None}, {"metadata": {}}, {"metadata": {"total_size": "many"}}],
    ids=["none", "list", "empty", "null", "no size", "words"],
)
def test_a_checkpoint_without_a_readable_index_has_no_known_size(hub: Install, index: Any) -> None:
    hub(answers(CONFIG, index))
    assert fetch_config(QUESTION).weight_bytes is None


def test_the_token_of_the_configured_file_is_sent_as_it_is_now(hub: Install, tmp_path: Path) -> None:
    """A Secret may be changed while the operator runs."""
    seen, file = hub(answers(CONFIG, INDEX)), tmp_path / "token"
    for token in ("hf_first", "hf_second"):
        file.write_text(f"{token}\n")
        fetch_config(QUESTION, HubSite(token_file=str(file)))
        assert seen[-1].headers["authorization"] == f"Bearer {token}"


def test_a_token_that_cannot_be_read_is_told_by_its_field(hub: Install) -> None:
    """Asked without it, the Hub would call a private model unknown."""
    seen = hub(answers(CONFIG, INDEX))
    with pytest.raises(HubError, match=r"`hub\.tokenFile` of the operator configuration cannot be used") as raised:
        fetch_config(QUESTION, HubSite(token_file="/nowhere/token"))
    assert (raised.value.retryable, raised.value.everywhere, seen) == (True, True, [])


@pytest.mark.parametrize(
    ("site", "field"),
    [
        (HubSite(ca_file="/nowhere/ca.crt"), "hub.caFile"),
        (HubSite(proxy="gopher://proxy"), "hub.proxy"),
    ],
    ids=["certificates", "proxy"],
)
def test_a_setting_that_cannot_be_used_is_told_by_its_field(site: HubSite, field: str) -> None:
    with pytest.raises(HubError, match=f"`{field}` of the operator configuration cannot be used"):
        fetch_config(QUESTION, site)


def test_a_token_does_not_follow_a_redirect_to_another_host(hub: Install, tmp_path: Path) -> None:
    """Large files lie on other hosts, which need no token."""
    file = tmp_path / "token"
    file.write_text("hf_secret")

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "cdn.example.com":
            return httpx2.Response(200, json=CONFIG)
        return httpx2.Response(302, headers={"Location": f"https://cdn.example.com{request.url.path}"})

    seen = hub(answer)
    fetch_config(QUESTION, HubSite(token_file=str(file)))
    assert {("authorization" in request.headers, request.url.host == "cdn.example.com") for request in seen} == {
        (True, False),
        (False, True),
    }


def test_a_token_is_not_sent_without_encryption(hub: Install, tmp_path: Path) -> None:
    """The variable HF_ENDPOINT may name any mirror."""
    seen, file = hub(answers(CONFIG, INDEX)), tmp_path / "token"
    file.write_text("hf_secret")
    with pytest.raises(HubError, match="`hub.tokenFile` .* the endpoint is not `https://`"):
        fetch_config(QUESTION, HubSite(endpoint="http://mirror.example.com", token_file=str(file)))
    assert seen == []


def test_a_mirror_is_asked_in_place_of_the_hub(hub: Install) -> None:
    seen = hub(answers(CONFIG, INDEX))
    fetch_config(QUESTION, HubSite(endpoint="https://mirror.example.com/hub"))
    assert {str(request.url).partition("/meta-llama/")[0] for request in seen} == {"https://mirror.example.com/hub"}


def test_offline_mode_asks_nobody(hub: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = hub(answers(CONFIG, INDEX))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="`HF_HUB_OFFLINE`") as raised:
        fetch_config(QUESTION)
    assert (raised.value.retryable, seen) == (False, [])


@pytest.mark.parametrize("file", ["config.json", "model.safetensors.index.json"])
def test_a_file_that_is_too_long_is_not_read_to_its_end(
    hub: Install, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Nobody makes the operator hold more than this."""
    read = 0

    class Endless(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            nonlocal read
            while True:
                read += 100
                yield b"[" * 100

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=Endless()) if _file(request) == file else answers(CONFIG, INDEX)(request)

    monkeypatch.setattr("shardwise.hub.fetch.MOST_BYTES", dict.fromkeys(MOST_BYTES, 1000))
    hub(answer)
    if file == "config.json":
        with pytest.raises(HubError, match="is longer than 1000 bytes"):
            fetch_config(QUESTION)
    else:
        monkeypatch.setattr("shardwise.hub.fetch.MOST_BYTES", {**MOST_BYTES, file: 1000})
        assert fetch_config(QUESTION).weight_bytes is None
    assert read < 3000


def test_a_body_that_breaks_off_is_no_fault_of_the_whole_hub(hub: Install) -> None:
    class Broken(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"{"
            raise httpx2.ReadTimeout("too slow")

    hub(lambda _: httpx2.Response(200, stream=Broken()))
    with pytest.raises(HubError, match=r"`config\.json` of `.*` on the Hub broke off: too slow") as raised:
        fetch_config(QUESTION)
    assert (raised.value.retryable, raised.value.everywhere) == (True, False)


def test_a_body_that_trickles_has_an_end(hub: Install, mocker: MockerFixture) -> None:
    """Each piece comes in time, but the file never ends."""
    mocker.patch("shardwise.hub.fetch.time.monotonic", side_effect=[0.0, 29.0, 31.0])

    class Slow(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"["

    hub(lambda _: httpx2.Response(200, stream=Slow()))
    with pytest.raises(HubError, match="took longer than 30 s"):
        fetch_config(QUESTION)


@pytest.mark.parametrize(
    ("answer", "everywhere", "detail"),
    [
        (raises(httpx2.ConnectError("no route")), True, "no route"),
        (raises(httpx2.ReadTimeout("")), True, "ReadTimeout"),
        (status(429), True, "it answers 429"),
        (status(503), False, "it answers 503"),
        (status(404, "RepoNotFound"), False, ""),
    ],
    ids=["no network", "silence", "too many requests", "an error for a model", "an unknown model"],
)
def test_a_fault_of_the_whole_hub_is_told_from_that_of_a_model(
    hub: Install, answer: Answer, everywhere: bool, detail: str
) -> None:
    """It is told to the objects of others, too, and so names no model."""
    hub(answer)
    with pytest.raises(HubError) as raised:
        fetch_config(QUESTION)
    assert (raised.value.everywhere, raised.value.detail) == (everywhere, detail)


def test_without_a_token_none_is_sent(hub: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_machine")
    seen = hub(answers(CONFIG, INDEX))
    fetch_config(QUESTION)
    assert not any("authorization" in request.headers for request in seen)


def test_the_revision_is_asked_for(hub: Install) -> None:
    seen = hub(answers(CONFIG, INDEX))
    fetch_config(HubQuestion(REPO, "v2"))
    assert all("/v2/" in request.url.path for request in seen)


def test_a_redirect_is_followed(hub: Install) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if "resolve-cache" in request.url.path:
            return httpx2.Response(200, json=CONFIG)
        return httpx2.Response(307, headers={"Location": "/api/resolve-cache/config.json"})

    hub(answer)
    assert fetch_config(QUESTION).config == CONFIG


FAILURES: dict[str, tuple[Answer, str, bool]] = {
    "no such repository": (
        status(404, "RepoNotFound"),
        f"`{REPO}` is not a model on the Hub, or is private: the operator sees private models by `hub.tokenFile`",
        False,
    ),
    "gated": (status(401, "GatedRepo"), f"`{REPO}` on the Hub is gated: accept its terms on the model's page", False),
    "no such revision": (status(404, "RevisionNotFound"), f"`{REPO}` on the Hub has no revision `v9`", False),
    "no config": (status(404, "EntryNotFound"), f"`{REPO}` on the Hub has no `config.json`", False),
    "forbidden": (status(403), f"the Hub answered 403 for `config.json` of `{REPO}`", False),
    "bad request": (status(400), f"the Hub answered 400 for `config.json` of `{REPO}`", False),
    "too many requests": (status(429), f"the Hub answered 429 for `config.json` of `{REPO}`", True),
    "broken": (status(500), f"the Hub answered 500 for `config.json` of `{REPO}`", True),
    "overloaded": (status(503), f"the Hub answered 503 for `config.json` of `{REPO}`", True),
    "no network": (
        raises(httpx2.ConnectError("Name or service not known")),
        f"the Hub cannot be reached for `config.json` of `{REPO}`: Name or service not known",
        True,
    ),
    "no answer in time": (
        raises(httpx2.ReadTimeout("")),
        f"the Hub cannot be reached for `config.json` of `{REPO}`: ReadTimeout",
        True,
    ),
    "a broken pipe": (
        raises(BrokenPipeError("broken pipe")),
        f"the Hub cannot be reached for `config.json` of `{REPO}`: broken pipe",
        True,
    ),
    "a list for a config": (answers([1, 2]), f"`config.json` of `{REPO}` on the Hub is not a JSON object", False),
    "a page for a config": (
        lambda request: httpx2.Response(200, text="<html>"),
        f"`config.json` of `{REPO}` on the Hub is not JSON: Expecting value: line 1 column 1 (char 0)",
        False,
    ),
    "bytes for a config": (
        lambda request: httpx2.Response(200, content=b"\x80\x81"),
        f"`config.json` of `{REPO}` on the Hub is not JSON",
        False,
    ),
}


@pytest.mark.parametrize(("answer", "message", "retryable"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_in_one_line_with_whether_to_try_again(
    hub: Install,
    answer: Answer,
    message: str,
    retryable: bool,
) -> None:
    hub(answer)
    with pytest.raises(HubError) as raised:
        fetch_config(HubQuestion(REPO, "v9"))
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    assert raised.value.retryable is retryable
    assert raised.value.__cause__ is not None or "not a JSON object" in message


RESTRICTED = f"Access to model {REPO} is restricted"
GATED: dict[str, tuple[int, str, str, tuple[str, ...]]] = {
    "nobody asks": (
        401,
        f"{RESTRICTED}. You must have access to it and be authenticated to access it. Please log in.",
        "",
        ("is gated", "`hub.tokenFile`", "`hub.tokenSecret`", "`spec.model.source.huggingFace.tokenSecretRef`"),
    ),
    "somebody without access asks": (
        403,
        f"{RESTRICTED} and you are not in the authorized list. Visit https://huggingface.co/{REPO} to ask for access.",
        "hf_of_a_stranger",
        ("is gated", "the account of the token of `hub.tokenFile` has no access"),
    ),
}
"""The answers of the Hub for a gated model: status, ``X-Error-Message``, the token that is sent, and what is told."""


def _gated(code: int, said: str) -> Answer:
    return lambda _: httpx2.Response(code, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": said})


@pytest.mark.parametrize(("code", "said", "token", "told"), GATED.values(), ids=GATED)
def test_a_gated_model_is_told_with_the_fields_that_need_a_token(
    hub: Install, tmp_path: Path, code: int, said: str, token: str, told: tuple[str, ...]
) -> None:
    """The operator and the pods need a token each; a token that is already given is not asked for again."""
    hub(_gated(code, said))
    file = tmp_path / "token"
    file.write_text(token)
    with pytest.raises(HubError) as raised:
        fetch_config(QUESTION, HubSite(token_file=str(file) if token else None))
    assert [words for words in told if words not in str(raised.value)] == []
    assert (raised.value.retryable, raised.value.everywhere) == (False, False)
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize(("code", "said", "token", "told"), GATED.values(), ids=GATED)
def test_the_pod_of_a_gated_model_fails_for_its_token(code: int, said: str, token: str, told: tuple[str, ...]) -> None:
    """By the last words of the client that engines use, made by that client of the same answer."""
    del token, told
    request = httpx2.Request("GET", f"https://huggingface.co/{REPO}/resolve/main/config.json")
    answer = _gated(code, said)(request)
    answer.request = request
    with pytest.raises(GatedRepoError) as raised:
        hf_raise_for_status(answer)
    ended = {"exitCode": 1, "reason": "Error", "message": f"OSError: You are trying to access it.\n{raised.value}"}
    found = read_exit({"phase": "Failed", "containerStatuses": [{"state": {"terminated": ended}}]})
    assert found is not None
    assert found.kind is FailureKind.TOKEN_REFUSED, found.line


def test_a_token_that_the_hub_does_not_know_is_the_fault_of_the_configuration(hub: Install, tmp_path: Path) -> None:
    """No model is called unknown for it, and a later token is tried by itself."""
    file = tmp_path / "token"
    file.write_text("hf_expired")
    said = {"X-Error-Message": "Invalid credentials in Authorization header"}
    hub(lambda _: httpx2.Response(401, headers=said))
    with pytest.raises(HubError, match=r"`hub\.tokenFile` .* the Hub does not know its token") as raised:
        fetch_config(QUESTION, HubSite(token_file=str(file)))
    assert (raised.value.retryable, raised.value.everywhere) == (True, True)


@pytest.mark.parametrize("repo", ["a/b/c", "", "spaces in it", "-start", "x" * 200, "a--b/c..d"])
def test_what_is_no_model_id_is_refused_without_asking(hub: Install, repo: str) -> None:
    seen = hub(answers(CONFIG, INDEX))
    with pytest.raises(HubError, match="is not a model id of the Hub such as") as raised:
        fetch_config(HubQuestion(repo))
    assert not raised.value.retryable
    assert seen == []


def test_a_network_lost_between_the_files_is_retried_rather_than_taken_for_no_index(hub: Install) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/config.json"):
            return httpx2.Response(200, json=CONFIG)
        raise httpx2.ConnectError("gone")

    hub(answer)
    with pytest.raises(HubError, match=r"hf_quant_config\.json") as raised:
        fetch_config(QUESTION)
    assert raised.value.retryable


def test_an_index_that_is_no_json_is_no_index(hub: Install) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=json.dumps(CONFIG) if request.url.path.endswith("/config.json") else "no")

    hub(answer)
    assert fetch_config(QUESTION).weight_bytes is None
