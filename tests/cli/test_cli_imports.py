"""A command loads the modules of its own work (decision 42): no client offline, no pydantic without an object."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.support.models import CONFIGS
from tests.support.repository import ROOT

from shardwise.cli.main import _COMMANDS, cli

CLIENTS = {"kopf", "kubernetes", "aiohttp", "huggingface_hub", "httpx2", "cryptography", "rich"}
OBJECTS = {"pydantic", "shardwise.api", "shardwise.checkpoint", "shardwise.hub"}
CLUSTER = {"shardwise.inventory", "shardwise.observe", "shardwise.reconcile", "shardwise.render", "shardwise.engines"}
DECISIONS = {"shardwise.reconcile.decide", "shardwise.reconcile.standing", "shardwise.reconcile.status"}
MANIFESTS = {"shardwise.render.bundle"}
PICTURES = {"shardwise.drawing"}
STATES = {"shardwise.checkpoint.states", "shardwise.checkpoint.families.recurrent"}
EXPLAINED = {"shardwise.explain.standing", "shardwise.explain.models", "shardwise.explain.fleet_report"}
LIBRARIES = {*CLIENTS, *OBJECTS, *CLUSTER, *PICTURES, "yaml", "asyncio", "logging", "shardwise.planner"}
PLANNED = {*CLIENTS, *DECISIONS, *PICTURES, *EXPLAINED, *STATES, "logging"}
PLANNED |= {"shardwise.api.configuration", "shardwise.api.crd"}
OBJECT = "OBJECT"
FLEET = "FLEET"
_CODE = """
import sys
from shardwise.cli import main
sys.argv[0] = "shardwise"
try:
    main()
except SystemExit as ended:
    status = ended.code or 0
print(" ".join(sorted(sys.modules)), file=sys.stderr)
sys.exit(status)
"""

COMMANDS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "--version": (("--version",), LIBRARIES),
    "--help": (("--help",), LIBRARIES),
    "no command": (("plant",), LIBRARIES),
    "plan --help": (("plan", "--help"), CLIENTS),
    "plan": (("plan", "-f", OBJECT, "--fleet", FLEET), PLANNED | MANIFESTS),
    "plan as data": (("plan", "-f", OBJECT, "--fleet", FLEET, "-o", "json"), PLANNED | MANIFESTS),
    "plan as a picture": (("plan", "-f", OBJECT, "--fleet", FLEET, "-o", "svg"), CLIENTS | DECISIONS | MANIFESTS),
    "explain": (("explain", "-f", OBJECT, "--fleet", FLEET), CLIENTS | PICTURES),
    "render": (("render", "-f", OBJECT, "--fleet", FLEET), PLANNED),
    "fleet": (("fleet", "--fleet", FLEET), CLIENTS | OBJECTS | DECISIONS | MANIFESTS | PICTURES),
    "inspect": (("inspect", str(next(CONFIGS.glob("*.json")))), CLIENTS | CLUSTER | {"pydantic", "shardwise.api"}),
    "crds": (("crds", "--check", "--root", str(ROOT)), CLIENTS | CLUSTER | {"shardwise.planner"}),
}
"""A call of each command, and modules that it has no use for."""


@pytest.mark.parametrize(("args", "unwanted"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_loads_only_what_it_needs(
    scene: Path, fleet: Path, args: tuple[str, ...], unwanted: set[str]
) -> None:
    places = {OBJECT: str(scene / "1-llama-8b.yaml"), FLEET: str(fleet)}
    ran = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-c", _CODE, *(places.get(arg, arg) for arg in args)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    loaded = set(ran.stderr.splitlines()[-1].split())
    assert ran.returncode == (2 if args == ("plant",) else 0), ran.stderr
    assert "shardwise" in loaded
    assert loaded & unwanted == set()


@pytest.mark.parametrize("name", _COMMANDS)
def test_the_overview_says_of_a_command_how_its_help_begins(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    help_ = " ".join((command.help or "").split())
    assert help_.startswith(_COMMANDS[name][2].rstrip(".").partition(", and")[0])
