"""The commands of the documents that upgrade the CRD, word for word, on a cluster where Helm installed another CRD."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.cluster.installed import CHART, Installed
from tests.cluster.reached import Reached
from tests.support.repository import ROOT

from shardwise.api import crd

Json = dict[str, Any]

CRD: Final = "shardedmodels.shardwise.dev"
FORMER: Final = "The model, as a former version described it."
DOCUMENTS: Final = {
    "NOTES.txt": (CHART / "templates" / "NOTES.txt", CHART),
    "the chart's README": (CHART / "README.md", ROOT),
    "README": (ROOT / "README.md", ROOT),
    "docs/updates.md": (ROOT / "docs" / "updates.md", ROOT),
}
"""Each document that tells how the CRD is upgraded, and the folder in which a reader runs the command."""


def command_of(document: Path) -> list[str]:
    """Give the only command of a document that applies a CRD, without `kubectl`."""
    (found,) = re.findall(r"^\s*kubectl (apply .*crds/.*)$", document.read_text(), re.MULTILINE)
    return shlex.split(found)


@pytest.fixture
def former(installed: Installed, tmp_path: Path) -> Iterator[Reached]:
    """Install a chart whose CRD differs, where there is no CRD yet; in the end the CRD is the present one again."""
    plane, chart = installed.plane, tmp_path / "chart"
    shutil.copytree(CHART, chart)
    (file,) = (chart / "crds").iterdir()
    definition = yaml.safe_load(file.read_text())
    (version,) = definition["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["model"]["description"] = FORMER
    file.write_text(yaml.safe_dump(definition))
    plane.kubectl("delete", "crd", CRD)
    try:
        plane.helm("install", "former", str(chart), "-n", "former", "--create-namespace")
        plane.established(CRD)
        yield plane
    finally:
        plane.helm("uninstall", "former", "-n", "former", "--wait", check=False)
        plane.kubectl("delete", "namespace", "former", "--ignore-not-found")
        plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=crd.definition())
        plane.established(CRD)


def schema(plane: Reached) -> Json:
    found = yaml.safe_load(plane.kubectl("get", "crd", CRD, "-o", "yaml"))
    (version,) = found["spec"]["versions"]
    return dict(version["schema"])


@pytest.mark.parametrize(("document", "folder"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_the_crd_is_upgraded_by_the_words_of_the_document(former: Reached, document: Path, folder: Path) -> None:
    """Helm owns the fields: without the flag the API server refuses any difference as a conflict."""
    words = [str(folder / word) if word.endswith("crds/") else word for word in command_of(document)]
    assert FORMER in str(schema(former))
    plain = [word for word in words if word != "--force-conflicts"]
    assert 'conflict with "helm"' in former.kubectl(*plain, check=False)
    former.kubectl(*words)
    (present,) = crd.definition()["spec"]["versions"]
    assert schema(former) == present["schema"]
    former.kubectl(*words)
