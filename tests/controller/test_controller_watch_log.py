"""kopf's records in the log: of failed requests, the first of an outage; everything else as it is."""

import logging
from collections.abc import Iterator

import pytest

from shardwise.controller.watch_log import OUTAGE_SECONDS, OncePerOutage, log_an_outage_once


@pytest.fixture(autouse=True)
def _own_kopf() -> Iterator[None]:
    kopf = logging.getLogger("kopf")
    before = kopf.handlers[:], kopf.propagate
    yield
    kopf.handlers[:], kopf.propagate = before


def record(
    seconds: float, message: str = "Request attempt #2/9 failed; will retry: GET /pods", level: int = 40
) -> None:
    logger = logging.getLogger("kopf._cogs.clients.watching")
    made = logger.makeRecord(logger.name, level, "", 0, message, (), None)
    made.created = 1_800_000_000.0 + seconds
    logger.handle(made)


def test_an_outage_is_one_line_however_many_watches_try_however_often(caplog: pytest.LogCaptureFixture) -> None:
    log_an_outage_once()
    log_an_outage_once()
    for second in range(0, 600, 5):
        for _ in range(7):
            record(second)
    assert len(caplog.records) == 1
    record(600 + OUTAGE_SECONDS)
    assert len(caplog.records) == 2


def test_other_records_pass(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="kopf._cogs.clients.watching")
    log_an_outage_once()
    record(0)
    record(1, "Watching has failed")
    record(2, "Request attempt #2/9: GET /pods", logging.DEBUG)
    assert [one.getMessage() for one in caplog.records] == [
        "Request attempt #2/9 failed; will retry: GET /pods",
        "Watching has failed",
        "Request attempt #2/9: GET /pods",
    ]


def test_kopf_logs_failed_requests_with_these_words() -> None:
    """They are kopf's, and may change with it."""
    import inspect  # noqa: PLC0415 - needed here alone

    from kopf._cogs.clients import api  # noqa: PLC0415 - kopf's own module

    source = inspect.getsource(api.request)
    assert source.count('logger.error(f"Request attempt {idx} failed;') == source.count("logger.error(")
    assert isinstance(logging.getLogger("kopf"), logging.Logger)
    assert issubclass(OncePerOutage, logging.Handler)
