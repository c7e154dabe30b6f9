"""``shardwise crds``: the CustomResourceDefinition in the repository is the one the models give, or is made so."""

from pathlib import Path

import pytest
import yaml
from tests.cli.support import Ran, shardwise
from tests.support.repository import ROOT

from shardwise.api import crd

FILES = ("crds/shardwise.dev_shardedmodels.yaml", "charts/shardwise/crds/shardwise.dev_shardedmodels.yaml")


def crds(root: Path, *more: str) -> Ran:
    return shardwise("crds", "--root", root, *more)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Give a root whose files are as they should be."""
    assert crds(tmp_path).status == 0
    return tmp_path


def test_missing_files_are_written_and_named(tmp_path: Path) -> None:
    """Folders and all."""
    ran = crds(tmp_path)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [f"{tmp_path / file} written" for file in FILES]
    for file in FILES:
        definition = yaml.safe_load((tmp_path / file).read_text())
        assert definition == crd.definition()
        assert definition["metadata"]["name"] == "shardedmodels.shardwise.dev"


def test_both_files_are_the_same(fresh: Path) -> None:
    """The chart installs what the repository shows."""
    one, other = ((fresh / file).read_bytes() for file in FILES)
    assert one == other


def test_fresh_files_are_left_alone(fresh: Path) -> None:
    """Nothing is written, and nothing said."""
    before = [(fresh / file).stat().st_mtime_ns for file in FILES]
    assert crds(fresh) == Ran(0, "", "")
    assert [(fresh / file).stat().st_mtime_ns for file in FILES] == before


def test_only_what_is_stale_is_written(fresh: Path) -> None:
    """And said."""
    stale = fresh / FILES[1]
    stale.write_text("kind: Old\n")
    assert crds(fresh) == Ran(0, f"{stale} written\n", "")
    assert stale.read_text() == crd.text()


def test_a_check_of_fresh_files_is_silent(fresh: Path) -> None:
    """As it is run on every commit."""
    assert crds(fresh, "--check") == Ran(0, "", "")


def test_a_check_names_a_stale_file_and_changes_nothing(fresh: Path) -> None:
    """With the command that helps."""
    stale = fresh / FILES[0]
    stale.write_text(crd.text() + "\n")
    assert crds(fresh, "--check") == Ran(1, "", f"{stale} is stale; run `shardwise crds`\n")
    assert stale.read_text() == crd.text() + "\n"


def test_a_check_of_missing_files_fails_and_makes_none(tmp_path: Path) -> None:
    """Missing is stale."""
    ran = crds(tmp_path, "--check")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines() == [f"{tmp_path / file} is stale; run `shardwise crds`" for file in FILES]
    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_is_the_root_unless_another_is_given(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As in a checkout."""
    monkeypatch.chdir(fresh)
    assert shardwise("crds", "--check").status == 0
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert shardwise("crds", "--check").status == 1


def test_the_files_of_this_repository_are_fresh() -> None:
    """Who changes the models runs ``make crds``."""
    assert crds(ROOT, "--check") == Ran(0, "", "")


def test_a_root_that_is_not_there_is_wrong_input(tmp_path: Path) -> None:
    """And makes no folder."""
    ran = crds(tmp_path / "nowhere")
    assert (ran.status, ran.out) == (2, "")
    assert "nowhere' does not exist" in ran.err
    assert not (tmp_path / "nowhere").exists()
