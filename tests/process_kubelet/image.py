"""What process kubelets run on: this machine's own file system, and whether they can run here at all."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CONTAIN: Final = (os.path.realpath(sys.executable), "-S", "-E", str(Path(__file__).with_name("contain.py")))
"""The program that makes namespaces. It needs no package, so that it starts fast."""

_NEEDED: Final = ("ip", "nsenter", "mount")


@dataclass(frozen=True)
class Image:
    """A folder that stands for an image. Its ``bin`` is first on the path of containers, and they may write into it.

    ``variables`` are such as an image itself sets. Containers also see ``folders``.
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    def environment(self) -> dict[str, str]:
        """Give the variables of a container before its own."""
        path = f"{self.folder}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        return {"PATH": path, "HOME": "/root", **self.variables}

    def seen(self) -> tuple[Path, ...]:
        """Give the folders that every container sees, beside the root of this machine."""
        return (self.folder, *self.folders)


def python_image(folder: Path, programs: Mapping[str, Path]) -> Image:
    """Make an image with Python and with programs in Python by their names."""
    place = folder / "bin"
    place.mkdir(parents=True)
    python = place / "python3"
    python.symlink_to(os.path.realpath(sys.executable))
    for name, source in programs.items():
        made = place / name
        made.write_text(f'#!/bin/sh\nexec {python} -S -E {source} "$@"\n')
        made.chmod(0o755)
    sources = {source.parent for source in programs.values()}
    base = Path(sysconfig.get_config_var("installed_base"))
    return Image(folder, folders=(*sorted(sources), base))


def missing(folder: Path) -> str:
    """Say why containers cannot run on this machine, by a try in an empty folder; empty if they can."""
    if sys.platform != "linux":
        return "process kubelets need Linux: containers are made of its namespaces"
    if os.geteuid():
        return "process kubelets need root: they mount file systems and make networks"
    absent = [name for name in _NEEDED if shutil.which(name) is None]
    if absent:
        return f"process kubelets need {', '.join(absent)} (iproute2, util-linux)"
    for name in ("root", "upper", "work"):
        (folder / name).mkdir()
    overlay = f"mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root"
    script = f"set -e; mount -t tmpfs tmpfs {folder}; mkdir {folder}/root {folder}/upper {folder}/work; {overlay}"
    tried = ("unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", script)
    ran = subprocess.run(tried, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    return f"process kubelets cannot mount here: {ran.stderr.strip()}" if ran.returncode else ""
