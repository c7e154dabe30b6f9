"""The release: what its workflow publishes, with which rights, and the parts that run without a registry."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.release_check import chart, image, release
from tests.support import dockerfile
from tests.support.repository import ROOT, project

Json = dict[str, Any]

WORKFLOWS = ROOT / ".github" / "workflows"
MAKEFILE = (ROOT / "Makefile").read_text()


def workflow() -> Json:
    found: Json = yaml.safe_load((WORKFLOWS / "release.yaml").read_text())
    return found


def steps() -> list[Json]:
    found: list[Json] = workflow()["jobs"]["publish"]["steps"]
    return found


def using(action: str) -> Json:
    (found,) = [step for step in steps() if step.get("uses", "").startswith(f"{action}@")]
    return found


def test_the_image_is_built_for_the_hosts_of_all_gpus() -> None:
    """Those of GB200 are arm64; the dry run looks for the wheels of the same platforms."""
    built = using("docker/build-push-action")["with"]
    assert built["platforms"].split(",") == list(image.PLATFORMS)
    assert built["push"] is built["sbom"] is True
    assert built["provenance"] == "mode=max"


def test_image_and_chart_are_signed_by_their_digests() -> None:
    """A tag may be moved; a digest may not. No key is kept: the identity of the workflow signs."""
    signing = [step for step in steps() if "cosign sign" in step.get("run", "")]
    assert [re.findall(r'"\$(\w+)(?:/shardwise)?@\$DIGEST"', step["run"]) for step in signing] == [
        ["IMAGE"],
        ["CHARTS"],
    ]
    assert [step["env"]["DIGEST"] for step in signing] == [
        "${{ steps.image.outputs.digest }}",
        "${{ steps.chart.outputs.digest }}",
    ]
    assert not re.search(r"cosign sign[^\n]*--key", str(signing))


def test_nothing_is_published_before_the_dry_run_has_passed() -> None:
    """And the tag was checked before it."""
    told = [step.get("run") or step["uses"] for step in steps()]
    order = [
        next(index for index, word in enumerate(told) if sought in word)
        for sought in (
            "make release-tag",
            "make release-dry-run",
            "docker/login",
            "build-push",
            "make chart",
            "helm push",
        )
    ]
    assert order == sorted(order)


def test_the_workflow_has_the_rights_that_it_needs_in_its_job_alone() -> None:
    """It reads by default, and no step gets the checkout's credentials."""
    found = workflow()
    assert found["permissions"] == {"contents": "read"}
    assert found["jobs"]["publish"]["permissions"] == dict.fromkeys(
        ("contents", "packages", "id-token", "attestations"), "write"
    )
    assert using("actions/checkout")["with"] == {"persist-credentials": False}


def test_a_workflow_puts_no_text_of_others_into_a_shell() -> None:
    """A tag's name or a title could be a command: shells get them as variables."""
    for path in WORKFLOWS.glob("*.yaml"):
        jobs = yaml.safe_load(path.read_text())["jobs"].values()
        assert [step for job in jobs for step in job["steps"] if "${{" in step.get("run", "")] == [], path.name


@pytest.mark.parametrize(
    "target", sorted({word for step in steps() for word in re.findall(r"make ([a-z-]+)", step.get("run", ""))})
)
def test_the_make_targets_of_the_workflow_are_there(target: str) -> None:
    assert re.search(rf"^{target}: .*## ", MAKEFILE, re.MULTILINE)


def test_a_tag_that_is_not_the_version_is_refused() -> None:
    version = project()["project"]["version"]
    release.check_tag(f"v{version}")
    with pytest.raises(SystemExit, match=f"error: the tag is v9.9.9, the version of pyproject.toml needs v{version}"):
        release.check_tag("v9.9.9")


def test_the_published_chart_names_the_registry_of_its_image(tmp_path: Path) -> None:
    """In its values and on its card; nothing else of it differs."""
    made = chart.stamped(tmp_path, "ghcr.io/shardwise/shardwise")
    values = yaml.safe_load((made / "values.yaml").read_text())
    card = yaml.safe_load((made / "Chart.yaml").read_text())
    (shown,) = yaml.safe_load(card["annotations"]["artifacthub.io/images"])
    assert values["image"]["repository"] == "ghcr.io/shardwise/shardwise"
    assert shown["image"] == f"ghcr.io/shardwise/shardwise:{card['appVersion']}"
    changed = [
        path.relative_to(made).as_posix()
        for path in made.rglob("*")
        if path.is_file() and path.read_bytes() != (chart.CHART / path.relative_to(made)).read_bytes()
    ]
    assert sorted(changed) == ["Chart.yaml", "values.yaml"]


def test_the_dry_run_knows_every_instruction_of_the_build_stage() -> None:
    """One that it does not know would be left out in silence."""
    build, last = dockerfile.stages()
    assert {word for word, _ in build} <= {"FROM", "ENV", "WORKDIR", "COPY", "RUN"}
    absolute = {path for _, rest in build for path in re.findall(r"(?<![\w.:/])/(\w+)", rest)}
    assert absolute <= set(image.FOLDERS)
    assert ("COPY", "--from=build /venv /venv") in last
