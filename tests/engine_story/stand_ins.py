"""Makes stand-ins for the CUDA libraries that torch's wheel links to, which an engine on CPUs never calls.

``stand_ins.py SITE_PACKAGES``, with gcc and readelf. Each has the symbols that torch asks of it, with their versions:
Python loads libraries with all their symbols bound. libcudart is the real one, because it is called at the import.
"""

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_OF_CUDA = re.compile(r"(cu[A-Z]|cublas|cudnn|cufft|curand|cusolver|cusparse|nccl|nvshmem|nvrtc|nvJit|cupti|cufile)")


@dataclass
class Asked:
    """The symbols that torch asks for: of libraries by version, and without a version."""

    versioned: defaultdict[str, defaultdict[str, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    plain: set[str] = field(default_factory=set)


def _read(option: str, path: Path) -> str:
    words = ("readelf", "-W", option, str(path))
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own words


def _needed(path: Path) -> list[str]:
    return re.findall(r"\(NEEDED\).*\[(.+?)\]", _read("-d", path))


def _owners(path: Path) -> Mapping[str, str]:
    """Give the library that each version of a symbol belongs to."""
    found, owner = {}, ""
    for line in _read("-V", path).splitlines():
        if file := re.search(r"File: (\S+)", line):
            owner = file[1]
        elif version := re.search(r"Name: (\S+)\s+Flags:.*Version: \d+", line):
            found[version[1]] = owner
    return found


def _symbols(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Give name, version and whether the library has it itself, for each symbol."""
    for line in _read("--dyn-syms", path).splitlines():
        part = line.split()
        if len(part) > 7:
            name, _, version = part[7].replace("@@", "@").partition("@")
            yield name, version, part[6] != "UND"


def asked_by(libraries: list[Path], missing: list[str]) -> Asked:
    """Give the symbols that libraries ask of others that are missing."""
    asked, defined = Asked(), set()
    for path in libraries:
        owners = _owners(path)
        for name, version, is_own in _symbols(path):
            if is_own:
                defined.add(name)
            elif version and owners.get(version) in missing:
                asked.versioned[owners[version]][version].add(name)
            elif not version and _OF_CUDA.match(name):
                asked.plain.add(name)
    asked.plain -= defined
    return asked


def make(library: Path, versions: Mapping[str, set[str]], plain: set[str]) -> None:
    """Make a library whose functions end the process."""
    names = sorted(plain.union(*versions.values()))
    with tempfile.TemporaryDirectory() as folder:
        code, script = Path(folder) / "stand_in.c", Path(folder) / "stand_in.map"
        code.write_text("".join(f"void {name}(void) {{ __builtin_trap(); }}\n" for name in names))
        script.write_text("".join(f"{key} {{ global: {'; '.join(sorted(of))}; }};\n" for key, of in versions.items()))
        named = [f"-Wl,-soname,{library.name}", *([f"-Wl,--version-script={script}"] if versions else [])]
        words = ["gcc", "-shared", "-fPIC", "-w", "-o", str(library), *named, str(code)]
        subprocess.run(words, check=True)  # noqa: S603 - our own words


def main(packages: Path) -> None:
    """Make the libraries that torch needs and nobody has. The first has all symbols without a version."""
    folder = packages / "torch" / "lib"
    ours = sorted(folder.glob("lib*.so*"))
    there = {path.name for path in packages.rglob("*.so*")} | {path.name for path in Path("/usr/lib").glob("*/*.so*")}
    missing = [name for name in dict.fromkeys(name for path in ours for name in _needed(path)) if name not in there]
    asked = asked_by(ours, missing)
    plain = {name for name in asked.plain if re.fullmatch(r"\w+", name)}
    for place, name in enumerate(missing):
        make(folder / name, asked.versioned.get(name, {}), set() if place else plain)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
