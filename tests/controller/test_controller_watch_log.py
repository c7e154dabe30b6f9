"""kopf's records in the log: of failed requests, the first of an outage; everything else as it is."""

import logging
from collections.abc import Iterator

import pytest
from kopf._cogs.structs import references

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


def test_kinds_that_the_cluster_lacks_are_named_in_plain_words(caplog: pytest.LogCaptureFixture) -> None:
    """As kopf prints its selectors; without a selector in it, the record stays as it is."""
    log_an_outage_once()
    kinds = frozenset(
        {references.Selector("keda.sh", "v1alpha1", "scaledobjects"), references.Selector("a.dev", "v1", "widgets")}
    )
    record(0, f"Unresolved resources cannot be served (try creating their CRDs): {', '.join(map(repr, kinds))}", 30)
    record(1, "Unresolved resources cannot be served", 30)
    kinds_named = "scaledobjects of keda.sh/v1alpha1, widgets of a.dev/v1"
    assert [one.getMessage() for one in caplog.records] == [
        f"the cluster does not serve {kinds_named}; they are watched as soon as it does",
        "Unresolved resources cannot be served",
    ]


def test_kopf_logs_missing_kinds_with_these_words() -> None:
    """They are kopf's, and may change with it."""
    import inspect  # noqa: PLC0415 - needed here alone

    from kopf._core.reactor import observation  # noqa: PLC0415 - kopf's own module

    assert "Unresolved resources cannot be served (try creating their CRDs)" in inspect.getsource(observation)


def test_kopf_logs_failed_requests_with_these_words() -> None:
    """They are kopf's, and may change with it."""
    import inspect  # noqa: PLC0415 - needed here alone

    from kopf._cogs.clients import api  # noqa: PLC0415 - kopf's own module

    source = inspect.getsource(api.request)
    assert source.count('logger.error(f"Request attempt {idx} failed;') == source.count("logger.error(")
    assert isinstance(logging.getLogger("kopf"), logging.Logger)
    assert issubclass(OncePerOutage, logging.Handler)
