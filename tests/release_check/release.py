"""The parts of a release that need no registry. Run as ``python -m tests.release_check.release COMMAND``.

``dry-run`` does all of them into a folder; the release workflow calls ``tag`` and ``chart``.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.release_check import chart, image
from tests.support.repository import project


def main(arguments: list[str]) -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    tag = commands.add_parser("tag", help="refuse a tag that is not the version of the package")
    tag.add_argument("name")
    package = commands.add_parser("chart", help="package the chart for a registry")
    package.add_argument("--repository", required=True, help="where the image is, without its tag")
    package.add_argument("--out", type=Path, default=Path("dist"))
    dry = commands.add_parser("dry-run", help="do all that needs no registry")
    dry.add_argument("--out", type=Path, default=Path("dist"))
    given = parser.parse_args(arguments)
    if given.command == "tag":
        check_tag(given.name)
    elif given.command == "chart":
        given.out.mkdir(parents=True, exist_ok=True)
        say(str(chart.packaged(given.out, given.repository)))
    else:
        dry_run(given.out)


def check_tag(name: str) -> None:
    """Refuse a tag that is not the version of the package, which is that of the chart by a test."""
    wanted = f"v{project()['project']['version']}"
    if name != wanted:
        sys.exit(f"error: the tag is {name}, the version of pyproject.toml needs {wanted}")


def dry_run(out: Path) -> None:
    """Build the image's environment, look for the wheels of all platforms, and package the chart."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        venv = image.built(Path(folder) / "image")
        say(f"image: {image.ran(venv, '--version').strip()}, from the steps of the Dockerfile")
        for platform in image.PLATFORMS:
            say(f"{platform}: {len(image.wheels(platform, Path(folder)))} locked wheels")
    say(f"chart: {chart.packaged(out, 'registry.example.com/shardwise')}")


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201 - progress of a command


if __name__ == "__main__":
    main(sys.argv[1:])
