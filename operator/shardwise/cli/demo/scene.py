"""What the demo is played with: a sample fleet and four objects, as files a user could have."""

from importlib import resources
from typing import Any

import yaml

from shardwise.sandbox import sample_fleet

Json = dict[str, Any]


def object_documents() -> list[Json]:
    """Give the four objects, in the order they are applied."""
    folder = resources.files("shardwise.cli.demo") / "objects"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return [yaml.safe_load(file.read_text()) for file in files]


def fleet_documents() -> list[Json]:
    """Give the sample fleet's nodes: two with 8 H100 each, a GB200 rack of four trays, one with L40S."""
    return list(sample_fleet())
