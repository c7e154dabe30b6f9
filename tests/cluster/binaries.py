"""The programs of a real control plane, built from Go modules. Run this file to build what is missing.

They are kept outside the checkout, keyed by what decides their content (go.mod, go.sum, our own Go files, the Go
version), so that they are built once. ``KUBEBUILDER_ASSETS`` is honoured: what lies there is taken as it is.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

TOOLS: Final = Path(__file__).parent / "tools"
KUBERNETES: Final = "v1.36.2"


class Missing(Exception):
    """A program is not there, and how to get it."""


@dataclass(frozen=True)
class Tool:
    """One Go module under ``tools``, and the programs it gives: name to import path."""

    module: str
    programs: tuple[tuple[str, str], ...]
    ldflags: str = ""
    files: tuple[str, ...] = ()
    """Folders of the module that are needed besides, and kept beside its programs."""
    tags: str = field(default="", repr=False)
    """Build tags, separated by commas."""

    def folder(self) -> Path:
        """Give the folder its programs are kept in."""
        module = TOOLS / self.module
        parts = [module / "go.mod", module / "go.sum", *sorted(module.glob("*.go"))]
        content = b"".join(part.read_bytes() for part in parts)
        key = hashlib.sha256(content + f"{self!r}{self.tags}{_go_version()}".encode()).hexdigest()[:16]
        return _cache() / f"{self.module}-{key}"


def _version_flags() -> str:
    """Tell the server its version: built from a module it would call itself v0.0.0, and clients misjudge that."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    at = "k8s.io/component-base/version"
    return f"-X {at}.gitVersion={KUBERNETES} -X {at}.gitMajor={major} -X {at}.gitMinor={minor}"


def _helm3_flags() -> str:
    """Tell Helm 3 the Kubernetes for which it renders without a cluster: built from a module it would take 1.20."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    places = ("pkg/lint/rules", "pkg/chartutil")
    return " ".join(
        f"-X helm.sh/helm/v3/{at}.k8sVersionMajor={major} -X helm.sh/helm/v3/{at}.k8sVersionMinor={minor}"
        for at in places
    )


_KUBE: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
ALL: Final = (
    Tool("etcd", (("etcd", "go.etcd.io/etcd/server/v3"),)),
    Tool("kwok", (("kwok", "sigs.k8s.io/kwok/cmd/kwok"),), files=("kustomize/stage",)),
    Tool("helm", (("helm", "helm.sh/helm/v4/cmd/helm"),)),
    Tool("helm3", (("helm3", "helm.sh/helm/v3/cmd/helm"),), _helm3_flags()),
    Tool("actionlint", (("actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),)),
    Tool("health", (("health", "."),)),
    # Without the discovery of targets at cloud providers, which makes up most of it: rules and metrics need none.
    Tool("prometheus", (("promtool", "github.com/prometheus/prometheus/cmd/promtool"),), tags="remove_all_sd"),
    Tool("lws", (("lws", "sigs.k8s.io/lws/cmd"),), files=("config/crd/bases", "config/webhook")),
    Tool("kube", tuple((name, f"k8s.io/kubernetes/cmd/{name}") for name in _KUBE), _version_flags()),
)
QUEUES: Final = (
    Tool(
        "kueue",
        (("kueue", "sigs.k8s.io/kueue/cmd/kueue"),),
        files=("config/components/crd", "config/components/webhook", "config/components/visibility"),
    ),
)
"""Programs of other queues, for `make test-queue` alone."""


_POOLS: Final = "config/crd/bases/inference.networking.k8s.io_inferencepools.yaml"
DEFINITIONS: Final = {
    "volcano": ("volcano.sh/volcano@v1.14.1", "config/crd/volcano/bases/scheduling.volcano.sh_podgroups.yaml"),
    "pools": ("sigs.k8s.io/gateway-api-inference-extension@v1.6.0", _POOLS),
    "pools-before": ("sigs.k8s.io/gateway-api-inference-extension@v1.0.2", _POOLS),
    "routes": ("sigs.k8s.io/gateway-api@v1.6.3", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    "keda": ("github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases/keda.sh_scaledobjects.yaml"),
    "coscheduling": ("sigs.k8s.io/scheduler-plugins@v0.34.7", "config/crd/bases/scheduling.x-k8s.io_podgroups.yaml"),
}
"""CustomResourceDefinitions of systems whose programs do not run here: module, version and file."""


def definition(name: str) -> Path:
    """Give the file of a definition, of the pinned release of its module. Raises :class:`Missing` without Go."""
    module, path = DEFINITIONS[name]
    _go_version()
    command = ["go", "mod", "download", "-json", module]
    listed = subprocess.run(command, cwd=TOOLS / "health", capture_output=True, text=True, check=False)  # noqa: S603
    folder = json.loads(listed.stdout or "{}").get("Dir")
    if not folder:
        raise Missing(f"{module} cannot be fetched: {listed.stdout or listed.stderr}")
    return Path(folder) / path


def find(name: str) -> Path:
    """Give the path of a program. Raises :class:`Missing` where it was not built."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).is_file():
        return Path(assets) / name
    tool = _tool_of(name)
    path = tool.folder() / name
    if not path.is_file():
        raise Missing(f"{name} is not built; `make {_target_of(tool)}` builds it")
    return path


def beside(program: str, folder: str) -> Path:
    """Give a folder that a program's module brings besides. Raises :class:`Missing` as :func:`find` does."""
    path = _tool_of(program).folder() / folder
    if not path.is_dir():
        raise Missing(f"{folder} of {program} is not there; `make {_target_of(_tool_of(program))}` brings it")
    return path


def build(tools: Iterable[Tool] = ALL) -> None:
    """Build what is missing, one module after the other, saying what and how long. One build at a time a machine."""
    with _alone():
        for tool in tools:
            missing = [program for program in tool.programs if not _is_there(program[0])]
            if missing:
                _build(tool, missing)


def _build(tool: Tool, programs: list[tuple[str, str]]) -> None:
    folder = tool.folder()
    partly = folder.with_suffix(".partly")
    partly.mkdir(parents=True, exist_ok=True)
    for name, package in programs:
        started = time.monotonic()
        print(f"building {name} …", flush=True)  # noqa: T201 - progress of a command
        command = [
            "go",
            "build",
            "-trimpath",
            "-tags",
            tool.tags,
            "-ldflags",
            f"-s -w {tool.ldflags}",
            "-o",
            str(partly / name),
            package,
        ]
        subprocess.run(command, cwd=TOOLS / tool.module, check=True, env=os.environ | {"CGO_ENABLED": "0"})  # noqa: S603
        print(f"built    {name} in {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201 - as above
    folder.mkdir(parents=True, exist_ok=True)
    for path in tool.files:
        _copy(_module_folder(tool, programs[0][1]) / path, folder / path)
    for name, _ in programs:
        (partly / name).rename(folder / name)
    shutil.rmtree(partly)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder of Go's module cache, which nobody may write to, into one that can be removed again."""
    shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait for another checkout that builds into the same cache; the kernel frees the lock of one that dies."""
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "building").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another build into the same cache …", flush=True)  # noqa: T201 - progress of a command
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_there(name: str) -> bool:
    try:
        find(name)
    except Missing:
        return False
    return True


def _tool_of(program: str) -> Tool:
    return next(tool for tool in (*ALL, *QUEUES) if program in dict(tool.programs))


def _target_of(tool: Tool) -> str:
    return "testbed-queue" if tool in QUEUES else "testbed"


def _module_folder(tool: Tool, package: str) -> Path:
    command = ["go", "list", "-f", "{{.Module.Dir}}", package]
    listed = subprocess.run(command, cwd=TOOLS / tool.module, capture_output=True, text=True, check=True)  # noqa: S603
    return Path(listed.stdout.strip())


def _go_version() -> str:
    if shutil.which("go") is None:
        raise Missing("Go is needed to build the control plane: https://go.dev/dl, or KUBEBUILDER_ASSETS")
    return subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607 - Go of the PATH is meant


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "shardwise" / "testbed"


if __name__ == "__main__":
    try:
        build(QUEUES if "queues" in sys.argv[1:] else ALL)
    except (Missing, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
