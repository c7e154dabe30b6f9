"""The demo's files, and a Hub that nobody asks."""

from pathlib import Path
from typing import NoReturn

import pytest
from tests.cli.support import a_list, write

from shardwise_sandbox.demo import fleet_documents, write_files


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that would reach the network."""

    def asked(repo: str, *_: object) -> NoReturn:
        pytest.fail(f"the Hub was asked for {repo}")

    monkeypatch.setattr("shardwise.hub.fetch.fetch_config", asked)


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the demo's four objects and its fleet."""
    folder = tmp_path_factory.mktemp("scene")
    write_files(folder)
    return folder


@pytest.fixture(scope="session")
def fleet(scene: Path) -> Path:
    """Give the file of the demo's fleet."""
    return scene / "fleet.yaml"


@pytest.fixture
def h100s(tmp_path: Path) -> Path:
    """Give a file with the demo's two H100 nodes alone."""
    nodes = [node for node in fleet_documents() if node["metadata"]["name"].startswith("h100")]
    return write(tmp_path / "h100s.yaml", a_list(nodes))
