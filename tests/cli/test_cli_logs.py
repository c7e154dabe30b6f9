"""The lines of the operator's log: the object in each, a line for each record, and no token in any."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shardwise.cli.logs import LEVELS, set_up_logs
from shardwise.operate import Queue
from shardwise.operate.about import about, key_at_work

Json = dict[str, Any]
KEY = ("team", "llama")
HUB_TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUv"
ACCOUNT_TOKEN = "eyJhbGciOiJSUzI1NiIs.eyJpc3MiOiJrdWJlcm5l.c2lnbmF0dXJl"
_log = logging.getLogger("shardwise.test")


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    root, kopf = logging.getLogger(), logging.getLogger("kopf")
    before = root.handlers[:], root.level, kopf.level
    root.handlers.clear()
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    kopf.setLevel(before[2])


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    return lambda: [*capsys.readouterr().err.splitlines()]


def test_a_line_about_an_object_carries_its_namespace_and_name(lines: Callable[[], list[str]]) -> None:
    set_up_logs("json")
    with about(KEY):
        _log.info("took 2.0 s to read")
    _log.info("leading")
    first, second = map(json.loads, lines())
    assert (first["namespace"], first["name"], first["message"]) == ("team", "llama", "took 2.0 s to read")
    assert {"namespace", "name", "replica", "attempt"} & set(second) == set()


def test_a_line_about_a_replica_carries_its_number_and_its_attempt(lines: Callable[[], list[str]]) -> None:
    set_up_logs("json")
    with about(KEY):
        _log.info("GroupReady", extra={"replica": 0, "attempt": 3})
        _log.info("Planned", extra={"replica": None, "attempt": None})
    first, second = map(json.loads, lines())
    assert (first["replica"], first["attempt"]) == (0, 3)
    assert {"replica", "attempt"} & set(second) == set()


def test_a_line_for_people_names_the_object_once(lines: Callable[[], list[str]]) -> None:
    set_up_logs("text")
    with about(KEY):
        _log.warning("no answer")
        _log.warning("team/llama: no answer")
    assert [line.partition(" WARNING ")[2] for line in lines()] == ["team/llama: no answer"] * 2


def test_a_message_begins_no_line_of_its_own_and_changes_no_terminal(lines: Callable[[], list[str]]) -> None:
    """A user chooses names, and engines write termination messages."""
    set_up_logs("text")
    _log.info("served as a\n2027-01-01 INFO forged\x1b[31m")
    (line,) = lines()
    assert line.endswith("served as a\\n2027-01-01 INFO forged\\x1b[31m")


QUOTES: dict[str, tuple[str, str]] = {
    "a token of the Hub": (f"401 for token {HUB_TOKEN}.", "401 for token …."),
    "a header": (f"Authorization: Bearer {HUB_TOKEN[3:]}", "Authorization: Bearer …"),
    "a token of a ServiceAccount": (f"refused {ACCOUNT_TOKEN}, sorry", "refused …, sorry"),
    "no token": ("hf_xet is not installed", "hf_xet is not installed"),
}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(("message", "written"), QUOTES.values(), ids=QUOTES)
def test_a_token_that_a_message_quotes_is_left_out(
    lines: Callable[[], list[str]], form: str, message: str, written: str
) -> None:
    set_up_logs(form)
    _log.warning("%s", message)
    (line,) = lines()
    assert (json.loads(line)["message"] if form == "json" else line).endswith(written)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_token_in_a_traceback_is_left_out(lines: Callable[[], list[str]], form: str) -> None:
    set_up_logs(form)
    try:
        int(HUB_TOKEN)
    except ValueError:
        _log.exception("failed")
    text = "\n".join(lines())
    assert HUB_TOKEN not in text
    assert "ValueError: invalid literal for int() with base 10: " in text


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_shows_its_lines_and_the_more_important_ones(lines: Callable[[], list[str]], level: str) -> None:
    set_up_logs("json", level)
    for name in LEVELS:
        logging.getLogger("shardwise").log(getattr(logging, name.upper()), name)
    assert [json.loads(line)["level"] for line in lines()] == list(LEVELS[LEVELS.index(level) :])


async def test_the_work_of_the_queue_and_its_threads_know_their_object() -> None:
    """And each only its own, though they take turns."""
    seen: list[tuple[object, object, object]] = []

    async def work(key: tuple[str, str]) -> None:
        await asyncio.sleep(0)
        seen.append((key, key_at_work(), await asyncio.to_thread(key_at_work)))

    queue: Queue[tuple[str, str]] = Queue(work)
    keys = [("a", "x"), ("b", "y")]
    for key in keys:
        queue.add(key)
    workers = [asyncio.create_task(queue.serve()) for _ in range(2)]
    async with asyncio.timeout(10):
        while len(seen) < len(keys):  # noqa: ASYNC110 - a thread ends when it ends
            await asyncio.sleep(0)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(seen) == [(key, key, key) for key in keys]
    assert key_at_work() is None
