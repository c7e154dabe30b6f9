"""``shardwise run``: options reach the operator, logs are for people or machines, and no cluster is said clearly."""

import gc
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.support import finished, process, shardwise

from shardwise.api.configuration import parse_site
from shardwise.cli.logs import set_up_logs
from shardwise.cluster import Refused
from shardwise.controller import Options


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """Keep pytest's log handlers from the command, which replaces those of its process."""
    root, kopf = logging.getLogger(), logging.getLogger("kopf")
    before = root.handlers[:], root.level, kopf.level, kopf.handlers[:], kopf.propagate
    root.handlers.clear()
    yield
    kopf.handlers[:], kopf.propagate = before[3:]
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    kopf.setLevel(before[2])


@pytest.fixture
def ran_with(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """Note the options an operator is run with, in place of running it."""
    noted: list[Options] = []

    async def note(options: Options) -> None:
        noted.append(options)

    monkeypatch.setattr("shardwise.cli.running.run", note)
    return noted


def test_the_garbage_collector_has_patience(ran_with: list[Options]) -> None:
    """What was listed stays: looking through it with every few hundred objects made would take most of a start."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    try:
        assert shardwise("run").status == 0
        assert gc.get_threshold() > (700, 10, 10)
    finally:
        gc.set_threshold(*before)
    assert len(ran_with) == 1


def test_a_thread_that_decides_gives_way_to_the_loop_soon(ran_with: list[Options]) -> None:
    """The loop waits for the interpreter each time that it has something to do; Python lets it wait for 5 ms."""
    before = sys.getswitchinterval()
    try:
        assert shardwise("run").status == 0
        assert sys.getswitchinterval() == pytest.approx(0.0005)
    finally:
        sys.setswitchinterval(before)
    assert len(ran_with) == 1


def test_without_a_cluster_it_says_so_and_ends() -> None:
    """As a process of its own: status 2, one error, no traceback."""
    ran = finished(process("run", "--kubeconfig", "nowhere.yaml"))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.splitlines()[-1].startswith("error: no cluster to talk to: ")
    assert "Traceback" not in ran.err


def test_a_cluster_that_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one without the CustomResourceDefinition."""

    async def refuse(_: Options) -> None:
        raise Refused("cannot list shardedmodels: HTTP 404", 404)

    monkeypatch.setattr("shardwise.cli.running.run", refuse)
    ran = shardwise("run")
    assert (ran.status, ran.out, ran.err) == (2, "", "error: cannot list shardedmodels: HTTP 404\n")


def test_without_options_the_usual_places_and_times_are_taken(ran_with: list[Options]) -> None:
    """Four workers, and a relist every five minutes."""
    assert shardwise("run").status == 0
    (options,) = ran_with
    assert (options.kubeconfig, options.context, options.health) == (None, None, None)
    assert (options.workers, options.relist_seconds) == (4, 300.0)


def test_every_option_reaches_the_operator(ran_with: list[Options]) -> None:
    """Each under its name."""
    args = ["--kubeconfig", "k", "--context", "c", "--workers", "7", "--relist", "60", "--health", "127.0.0.1:8080"]
    assert shardwise("run", *args, "--log-format", "json", "-v").status == 0
    (options,) = ran_with
    assert (options.kubeconfig, options.context, options.health) == (Path("k"), "c", ("127.0.0.1", 8080))
    assert (options.workers, options.relist_seconds) == (7, 60.0)


def test_an_interrupt_ends_it_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is no failure."""

    async def interrupted(_: Options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shardwise.cli.running.run", interrupted)
    ran = shardwise("run")
    assert ran.status == 0
    assert ran.err.endswith(" INFO stopped\n")


def test_logs_for_machines_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Also with a traceback in them."""
    set_up_logs("json")
    logger = logging.getLogger("shardwise.test")
    logger.warning("%s: %d\nGPUs", "n", 8)
    try:
        int("wrong")
    except ValueError:
        logger.exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first | {"time": ""} == {"time": "", "level": "warning", "logger": "shardwise.test", "message": "n: 8\nGPUs"}
    assert first["time"].endswith("+00:00")
    assert second["level"] == "error"
    assert second["exception"].endswith("ValueError: invalid literal for int() with base 10: 'wrong'")


def test_kopf_and_details_are_silent_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Its running commentary says nothing ours does not."""
    set_up_logs("text")
    logging.getLogger("kopf.objects").info("commentary")
    logging.getLogger("shardwise").debug("detail")
    logging.getLogger("shardwise").info("news")
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines()] == ["news"]


def test_verbose_logs_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Kopf's, too."""
    set_up_logs("text", "debug")
    logging.getLogger("kopf.objects").info("commentary")
    logging.getLogger("shardwise").debug("detail")
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines()] == ["commentary", "detail"]


def test_the_configuration_reaches_the_operator(ran_with: list[Options], tmp_path: Path) -> None:
    """Read when it starts; a wrong one ends it."""
    path = tmp_path / "config.yaml"
    path.write_text("fleet: {platform: oci}")
    assert shardwise("run", "--config", path).status == 0
    assert ran_with[0].site == parse_site({"fleet": {"platform": "oci"}})
    path.write_text("fleet: {platform: moon}")
    assert shardwise("run", "--config", path).status == 2


@pytest.mark.parametrize(
    ("args", "lease"),
    [
        ([], None),
        (["--lease", "a/b"], None),
        (["--leader-elect"], ("default", "shardwise")),
        (["--leader-elect", "--lease", "a/b"], ("a", "b")),
    ],
    ids=str,
)
def test_a_lease_is_held_where_leaders_are_elected(
    ran_with: list[Options], args: list[str], lease: tuple[str, str] | None
) -> None:
    assert shardwise("run", *args).status == 0
    assert ran_with[0].lease == lease


@pytest.mark.parametrize("wrong", ["shardwise", "/b", "a/", "a/b/c", ""])
def test_a_lease_that_is_none_is_said(ran_with: list[Options], wrong: str) -> None:
    ran = shardwise("run", "--leader-elect", "--lease", wrong)
    assert (ran.status, ran_with) == (2, [])
    assert ran.err == f"error: --lease: `{wrong}` is no NAMESPACE/NAME such as `shardwise/shardwise`\n"


@pytest.mark.parametrize("wrong", ["8080", ":8080", "localhost:", "localhost:http", "localhost:0", "localhost:65536"])
def test_an_address_that_is_none_is_said(ran_with: list[Options], wrong: str) -> None:
    ran = shardwise("run", "--health", wrong)
    assert (ran.status, ran_with) == (2, [])
    assert ran.err == f"error: --health: `{wrong}` is no HOST:PORT such as `0.0.0.0:8080`\n"


def test_an_address_of_version_6_stands_in_brackets(ran_with: list[Options]) -> None:
    assert shardwise("run", "--health", "[::1]:8080").status == 0
    assert ran_with[0].health == ("::1", 8080)


def test_an_address_that_is_taken_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def taken(_: Options) -> None:
        raise OSError(98, "address in use")

    monkeypatch.setattr("shardwise.cli.running.run", taken)
    ran = shardwise("run", "--health", "localhost:8080")
    assert (ran.status, ran.err) == (2, "error: --health: [Errno 98] address in use\n")


def test_the_namespaces_that_are_served_reach_the_operator(ran_with: list[Options]) -> None:
    """Each once; without the option, all namespaces."""
    assert shardwise("run", "--namespace", "team-b", "--namespace", "team-a", "--namespace", "team-b").status == 0
    assert shardwise("run").status == 0
    assert [options.namespaces for options in ran_with] == [("team-a", "team-b"), ()]


def test_what_is_no_name_of_a_namespace_is_refused(ran_with: list[Options]) -> None:
    """For kopf it would be a pattern."""
    ran = shardwise("run", "--namespace", "team-*")
    assert (ran.status, ran_with) == (2, [])
    assert ran.err == "error: --namespace: `team-*` is no name of a namespace such as `team-a`\n"
