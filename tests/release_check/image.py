"""The steps of the Dockerfile, run in a folder instead of a container: no Docker is needed, and no registry.

The build stage runs in an environment of its own, with the files that the Dockerfile copies and the variables that it
sets. Only the path of each folder differs: ``/venv`` is ``FOLDER/venv``.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support import dockerfile
from tests.support.repository import ROOT

FOLDERS: Final = ("venv", "src", "wheel")
PLATFORMS: Final[Mapping[str, str]] = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""Platforms of the image, and their names in the tags of wheels."""

_MANYLINUX: Final = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
_KEPT: Final = ("PIP_", "SSL_", "HTTP_", "HTTPS_", "NO_PROXY", "HOME", "LANG")
_ABSOLUTE: Final = re.compile(rf"(?<![\w./])/({'|'.join(FOLDERS)})\b")


def built(folder: Path) -> Path:
    """Run the build stage, and give the environment that the last stage copies."""
    build, _ = dockerfile.stages()
    base = folder / "base"
    subprocess.run([sys.executable, "-m", "venv", str(base)], check=True)  # noqa: S603 - the image's Python
    environment = {name: value for name, value in os.environ.items() if name.startswith(_KEPT)}
    environment["PATH"] = os.pathsep.join((str(base / "bin"), "/usr/bin", "/bin"))
    place = folder
    for word, rest in build:
        if word == "ENV":
            environment |= dockerfile.variables(rest)
        elif word == "WORKDIR":
            place = Path(_moved(rest, folder))
            place.mkdir(parents=True)
        elif word == "COPY":
            _copy(rest, place)
        elif word == "RUN":
            subprocess.run(["/bin/sh", "-ec", _moved(rest, folder)], cwd=place, env=environment, check=True)  # noqa: S603 - our own Dockerfile
    return folder / "venv"


def _moved(text: str, folder: Path) -> str:
    return _ABSOLUTE.sub(lambda found: str(folder / found[1]), text)


def _copy(rest: str, place: Path) -> None:
    *sources, target = rest.split()
    for source in sources:
        given = ROOT / source
        to = place / target if given.is_dir() else place / target / given.name
        to.parent.mkdir(parents=True, exist_ok=True)
        if given.is_dir():
            shutil.copytree(given, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(given, to)


def ran(venv: Path, *args: str) -> str:
    """Run the program of the image with the environment of its last stage, and give what it printed."""
    _, last = dockerfile.stages()
    environment = {"PATH": "/usr/bin:/bin"}
    for word, rest in last:
        if word == "ENV":
            environment |= {name: value for name, value in dockerfile.variables(rest).items() if name != "PATH"}
    command = [str(venv / "bin" / "shardwise"), *args]
    return subprocess.run(command, env=environment, cwd=venv, check=True, capture_output=True, text=True).stdout  # noqa: S603 - built above


def wheels(platform: str, folder: Path) -> list[str]:
    """Name the locked wheels of a platform, by hash; none of them is fetched. A missing wheel is an error of pip."""
    python = re.search(r"FROM python:(\d\.\d+)-slim", dockerfile.text())
    assert python
    report = folder / f"{PLATFORMS[platform]}.json"
    command = [sys.executable, "-m", "pip", "--quiet", "install", "--dry-run", "--no-deps", "--ignore-installed"]
    command += ["--only-binary=:all:", "--require-hashes", "--requirement", str(ROOT / "requirements.lock")]
    command += ["--target", str(folder / "nothing"), "--report", str(report), "--python-version", python[1]]
    command += [word for tag in _MANYLINUX for word in ("--platform", f"{tag}_{PLATFORMS[platform]}")]
    subprocess.run(command, check=True)  # noqa: S603 - arguments of our own
    found = json.loads(report.read_text())["install"]
    return sorted(part["download_info"]["url"].rpartition("/")[2] for part in found)
