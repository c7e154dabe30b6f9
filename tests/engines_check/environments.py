"""The environments of the check: the pinned wheels of the engines, with as few of their dependencies as imports need.

All packages come from the registry of Python packages. vLLM and SGLang share a folder with torch, which is 5.5 GB. The
registry has no wheel of TensorRT-LLM: its sources come from its repository, by the tag of the release.
"""

import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent

RELEASES: Final[Mapping[str, str]] = {"vllm": "0.33.0", "sglang": "0.5.23"}
"""The releases that are run. For a newer release, change the number, run the check and read the difference."""

OLDER: Final[Mapping[str, tuple[str, ...]]] = {
    "vllm": ("0.11.1", *(f"0.{minor}.0" for minor in range(12, 33))),
    "sglang": tuple(f"0.5.{patch}" for patch in range(1, 23)),
}
"""The releases whose sources are read for the history of classes and methods."""

TENSORRT_LLM: Final = "tensorrt-llm"

TENSORRT_LLM_RELEASE: Final = "1.3.0rc3"
"""The release of TensorRT-LLM that reads command lines, unless the check is given sources of another release."""

_TENSORRT_LLM_SOURCES: Final = "https://github.com/NVIDIA/TensorRT-LLM/archive/refs/tags/v{}.tar.gz"

_ALONE: Final[Mapping[str, tuple[str, ...]]] = {
    "vllm": ("compressed-tensors==0.17.0",),
    "sglang": ("compressed-tensors==0.18.0", "apache-tvm-ffi==0.1.11"),
}
"""Packages that are installed without what they ask for, as are the engines."""

_TAGS: Final = ("manylinux_2_34_x86_64", "manylinux_2_31_x86_64", "manylinux_2_28_x86_64", "manylinux_2_24_x86_64",
                "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")  # fmt: skip


def python_of(engine: str, cache: Path) -> Path:
    """Give the interpreter of an engine's environment. Makes the environment if it is not there."""
    if engine == TENSORRT_LLM:
        return _python_of_tensorrt_llm(cache)
    made = cache / f"{engine}-{RELEASES[engine]}"
    if not (made / ".ready").exists():
        base = _base(cache)
        _environment(made)
        packages = next(base.glob("lib/python3*/site-packages"))
        (next(made.glob("lib/python3*/site-packages")) / "base.pth").write_text(f"{packages}\n")
        _pip(made, "--constraint", str(HERE / "requirements-base.txt"), "-r", str(HERE / f"requirements-{engine}.txt"))
        _pip(made, "--no-deps", *_ALONE[engine], f"{engine}=={RELEASES[engine]}")
        (made / ".ready").touch()
    return made / "bin" / "python"


def _python_of_tensorrt_llm(cache: Path) -> Path:
    made = cache / TENSORRT_LLM
    if not (made / ".ready").exists():
        _environment(made)
        _pip(made, "-r", str(HERE / f"requirements-{TENSORRT_LLM}.txt"))
        (made / ".ready").touch()
    return made / "bin" / "python"


def tensorrt_llm_sources(cache: Path) -> Path:
    """Give a folder with the Python sources of TensorRT-LLM. Fetched if not there."""
    folder = cache / "sources" / f"{TENSORRT_LLM}-{TENSORRT_LLM_RELEASE}"
    if not folder.exists():
        address = _TENSORRT_LLM_SOURCES.format(TENSORRT_LLM_RELEASE)
        fetched, _ = urllib.request.urlretrieve(address)  # noqa: S310 - the address above
        with tarfile.open(fetched) as archive:
            for member in archive:
                _, _, inside = member.name.partition("/")
                if inside.startswith("tensorrt_llm/") and inside.endswith(".py") and member.isfile():
                    member.name = inside
                    archive.extract(member, folder, filter="data")
        Path(fetched).unlink()
    return folder


def tensorrt_llm_release(sources: Path) -> str:
    """Give the release that sources of TensorRT-LLM state."""
    stated = (sources / "tensorrt_llm" / "version.py").read_text()
    return stated.rpartition("__version__ = ")[2].strip().strip('"')


def package_of(engine: str, cache: Path) -> Path:
    """Give the folder of an engine's package in its environment."""
    return next(python_of(engine, cache).parents[1].glob(f"lib/python3*/site-packages/{engine}"))


def sources_of(engine: str, release: str, cache: Path) -> Path:
    """Give a folder with the Python sources of a release, and nothing else of its wheel. Fetched if not there."""
    folder = cache / "sources" / f"{engine}-{release}"
    if not folder.exists():
        fetched = cache / "fetched" / f"{engine}-{release}"
        version = "3.11" if engine == "sglang" else "3.12"
        tags = [word for tag in _TAGS for word in ("--platform", tag)]
        words = ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--python-version", version, *tags]
        _run(sys.executable, "-m", "pip", "download", "--quiet", *words, f"{engine}=={release}", "-d", str(fetched))
        wheel = next(fetched.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith((".py", "METADATA"))]
            archive.extractall(folder, names)  # noqa: S202 - a wheel, which is a zip
        wheel.unlink()
    return folder


def _base(cache: Path) -> Path:
    made = cache / "base"
    if not (made / ".ready").exists():
        _environment(made)
        _pip(made, "-r", str(HERE / "requirements-base.txt"))
        (made / ".ready").touch()
    return made


def _environment(folder: Path) -> None:
    _run(sys.executable, "-m", "venv", "--clear", str(folder))


def _pip(folder: Path, *words: str) -> None:
    _run(str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *words)


def _run(*words: str) -> None:
    subprocess.run(words, check=True)  # noqa: S603 - words of this file
