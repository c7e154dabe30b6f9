"""The documents of the demo: a sample fleet and four objects."""

from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from shardwise_sandbox import sample_fleet

Json = dict[str, Any]


def object_documents() -> list[Json]:
    """Return the four objects, in the order in which the demo applies them."""
    return [yaml.safe_load(text) for text in _object_files().values()]


def fleet_documents() -> list[Json]:
    """Return the nodes of the sample fleet: two with 8 H100 each, four trays of a GB200 rack, and a node with L40S."""
    return list(sample_fleet())


def write_files(folder: Path) -> list[Path]:
    """Write the objects, and the fleet as a List of nodes, into a folder. Return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    fleet = {"apiVersion": "v1", "kind": "List", "items": fleet_documents()}
    texts = _object_files() | {"fleet.yaml": yaml.safe_dump(fleet, sort_keys=False)}
    paths = [folder / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    return paths


def _object_files() -> dict[str, str]:
    folder = resources.files("shardwise_sandbox.demo") / "objects"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name: file.read_text() for file in files}
