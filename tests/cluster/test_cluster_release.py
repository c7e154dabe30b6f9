"""The release without a registry: the image's steps in a clean environment, and the chart's package in a cluster."""

import subprocess
from pathlib import Path

import pytest
import yaml
from tests.cluster import binaries
from tests.cluster.installed import Installed
from tests.release_check import chart, image
from tests.support.repository import ROOT, project

pytestmark = pytest.mark.cluster


def test_the_steps_of_the_dockerfile_make_an_environment_that_works(tmp_path: Path) -> None:
    """It has the program, the locked dependencies, no pip, and nothing of the sandbox or of the tests."""
    venv = image.built(tmp_path)
    assert image.ran(venv, "--version").strip() == f"shardwise, version {project()['project']['version']}"
    assert "meta-llama/Llama-3.1-8B" in image.ran(venv, "inspect", "meta-llama/Llama-3.1-8B")
    assert "--health" in image.ran(venv, "run", "--help")
    (packages,) = venv.glob("lib/python*/site-packages")
    found = {path.name for path in packages.iterdir()}
    assert "shardwise" in found
    assert not found & {"pip", "shardwise_sandbox", "tests", "pytest"}
    assert not list((packages / "shardwise").rglob("*.pth"))


def test_actionlint_has_nothing_to_say_of_the_workflows() -> None:
    """Their syntax, expressions and contexts, and the inputs and outputs of the actions that it knows."""
    files = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
    command = [str(binaries.find("actionlint")), "-shellcheck=", "-pyflakes=", "-no-color", *map(str, files)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603 - the testbed's own
    assert (ran.returncode, ran.stdout, len(files)) == (0, "", 2)


@pytest.mark.parametrize("platform", image.PLATFORMS)
def test_every_dependency_has_a_wheel_for_the_platform(platform: str, tmp_path: Path) -> None:
    """The image has no compiler."""
    wheels = image.wheels(platform, tmp_path)
    others = set(image.PLATFORMS.values()) - {image.PLATFORMS[platform]}
    assert len(wheels) > 20
    assert [name for name in wheels if not name.endswith(".whl") or any(other in name for other in others)] == []
    assert any(image.PLATFORMS[platform] in name for name in wheels)


def test_the_package_of_the_chart_is_the_chart(installed: Installed, tmp_path: Path) -> None:
    """Helm makes the same of the package as of the folder, but for the registry of the image."""
    package = chart.packaged(tmp_path, "registry.example.com/shardwise")
    made, written = (
        installed.plane.helm("template", "shardwise", str(path), "-n", "shardwise") for path in (package, chart.CHART)
    )
    version = project()["project"]["version"]
    assert made == written.replace(
        f'image: "shardwise:{version}"', f'image: "registry.example.com/shardwise:{version}"'
    )
    kinds = {document["kind"] for document in yaml.safe_load_all(made) if document}
    assert {"Deployment", "ClusterRole", "Service"} <= kinds
