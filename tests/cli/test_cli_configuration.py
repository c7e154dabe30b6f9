"""``--config``: the operator configuration off a file, for planning offline and for the operator."""

from pathlib import Path

import pytest
from tests.cli.support import a_model, shardwise, write

from shardwise.cli.configuration import read_site
from shardwise.domain.site import Site
from shardwise_sandbox.demo import fleet_documents


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Give the demo's 405B, which spans both H100 nodes, to stay inside a rack."""
    return write(tmp_path / "model.yaml", a_model("llama-405b", spec__placement__within="rack"))


@pytest.fixture
def racks(tmp_path: Path) -> Path:
    """Give the demo's H100 nodes, both in one rack."""
    nodes = [node for node in fleet_documents() if node["metadata"]["name"].startswith("h100")]
    for node in nodes:
        node["metadata"]["labels"]["example.com/rack"] = "r1"
    return write(tmp_path / "racks.yaml", *nodes)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give a configuration that knows racks."""
    levels = [{"name": "rack", "labels": ["example.com/rack"]}]
    return write(tmp_path / "config.yaml", {"fleet": {"levels": levels}})


def test_a_configured_level_bounds_a_group(model: Path, racks: Path, config: Path) -> None:
    """Without the configuration nobody knows what a rack is."""
    assert shardwise("plan", "-f", model, "--fleet", racks, "--config", config).status == 0
    ran = shardwise("plan", "-f", model, "--fleet", racks)
    assert ran.status == 1
    assert "`rack` of `spec.placement.within`" in ran.out


def test_manifests_are_rendered_under_the_same_configuration(model: Path, racks: Path, config: Path) -> None:
    assert "kind: Pod" in shardwise("render", "-f", model, "--fleet", racks, "--config", config).out


WRONG: dict[str, tuple[str, str]] = {
    "a wrong field": ("fleet: {platform: eks2}", "c.yaml: fleet.platform: unknown value `eks2` (known values: "),
    "no object": ("- 1", "c.yaml: a configuration such as `fleet: {platform: eks}` is needed, not `[1]`"),
    "two documents": ("fleet: {}\n---\nlaunch: {}", "c.yaml: one document is needed, 2 given"),
    "a list in itself": ("fleet: &a [*a]", "c.yaml: not YAML: aliases make more than 10,000,000 values of it"),
    "a field twice": ("fleet: {}\nfleet: {}", "c.yaml, line 2: not YAML: `fleet` stands twice"),
    "no YAML": ("fleet: [", "c.yaml, line 2: not YAML: "),
}


@pytest.mark.parametrize("command", ["plan", "render"])
@pytest.mark.parametrize(("text", "line"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_ends_the_command_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path, racks: Path, command: str, text: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(text)
    ran = shardwise(command, "-f", model, "--fleet", racks, "--config", "c.yaml")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {line}")


def test_a_file_that_is_not_there_is_said(model: Path, racks: Path) -> None:
    ran = shardwise("plan", "-f", model, "--fleet", racks, "--config", "nowhere.yaml")
    assert (ran.status, ran.err) == (2, "error: nowhere.yaml cannot be read: No such file or directory\n")


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "fleet:\n", "fleet: {}\nlaunch: {}"])
def test_an_empty_file_is_the_default(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert read_site(path) == Site()


def test_a_hub_that_is_turned_off_is_not_asked(tmp_path: Path, racks: Path) -> None:
    """The message says which field turns it off, and which field does without it."""
    config = write(tmp_path / "config.yaml", {"hub": {"enabled": False}})
    model = write(tmp_path / "unknown.yaml", a_model(spec__model={"name": "nobody/unknown"}))
    for command in ("plan", "explain", "render"):
        ran = shardwise(command, "-f", model, "--fleet", racks, "--config", config)
        assert ran.status == 2
        assert "`nobody/unknown` is not in the catalog" in ran.err
        assert "(`hub.enabled`); set `spec.model.config`" in ran.err


@pytest.mark.parametrize("command", ["plan", "render", "explain"])
def test_without_a_configuration_an_error_about_it_hints_at_the_option(tmp_path: Path, command: str) -> None:
    """The operator of the cluster may well have the entry."""
    queued = {"queue": {"kueue": {"localQueue": "serving"}}}
    model = write(tmp_path / "model.yaml", a_model("llama-8b", spec__placement=queued))
    fleet = write(tmp_path / "fleet.yaml", *fleet_documents())
    config = write(tmp_path / "config.yaml", {"launch": {"queues": {}}})
    hint = "hint: this command was given no operator configuration; give it by --config FILE"
    ran = shardwise(command, "-f", model, "--fleet", fleet)
    assert ran.status == 2
    assert ran.err.splitlines()[-1] == hint
    assert hint not in shardwise(command, "-f", model, "--fleet", fleet, "--config", config).err
    wrong = write(tmp_path / "wrong.yaml", a_model("llama-8b", spec__gpuBudget__total=0))
    assert hint not in shardwise(command, "-f", wrong, "--fleet", fleet).err


def test_a_plan_says_that_the_scheduler_picks_the_nodes(tmp_path: Path) -> None:
    """The nodes of the plan are then an example."""
    fleet = write(tmp_path / "fleet.yaml", *fleet_documents())
    said = "the scheduler picks the nodes"
    for owner, told in (("scheduler", True), ("shardwise", False)):
        model = write(tmp_path / f"{owner}.yaml", a_model("llama-8b", spec__placement={"owner": owner}))
        assert (said in shardwise("plan", "-f", model, "--fleet", fleet).out) is told
