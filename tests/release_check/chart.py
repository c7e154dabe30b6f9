"""The chart as a release publishes it: with the registry of its image, packaged by Helm."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.cluster import binaries
from tests.support.repository import ROOT, project

CHART: Final = ROOT / "charts" / "shardwise"


def helm() -> str:
    """Find Helm: on the path, or where `make testbed` built it."""
    return shutil.which("helm") or str(binaries.find("helm"))


def stamped(folder: Path, repository: str) -> Path:
    """Copy the chart, with the repository of its image in the values and on its card."""
    made = folder / CHART.name
    shutil.copytree(CHART, made)
    version = project()["project"]["version"]
    _replaced(made / "values.yaml", r"^  repository: shardwise$", f"  repository: {repository}")
    _replaced(
        made / "Chart.yaml", rf"^      image: shardwise:{re.escape(version)}$", f"      image: {repository}:{version}"
    )
    return made


def packaged(folder: Path, repository: str) -> Path:
    """Check and package the chart, and give the package."""
    chart = stamped(folder, repository)
    subprocess.run([helm(), "lint", "--strict", str(chart)], check=True)  # noqa: S603 - Helm, and a folder of our own
    subprocess.run([helm(), "package", str(chart), "--destination", str(folder)], check=True)  # noqa: S603 - as above
    shutil.rmtree(chart)
    (package,) = folder.glob("*.tgz")
    return package


def _replaced(path: Path, line: str, by: str) -> None:
    text, count = re.subn(line, by, path.read_text(), flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{path}: {count} lines match {line}, 1 is needed")
    path.write_text(text)
