"""A container as real processes: its own root, mounts and process tree, in the network of its pod."""

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.process_kubelet.image import CONTAIN, Image

Json = dict[str, Any]

_MESSAGE_BYTES: Final = 2048
_MESSAGE_LINES: Final = 80
"""How much of a log a kubelet copies into a termination message (FallbackToLogsOnError)."""

_MOUNTS: Final = """\
mount --make-rprivate /
mount -t tmpfs tmpfs {folder}
mkdir {folder}/upper {folder}/work {root}
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {root}
mount --rbind /dev {root}/dev
mount --rbind /sys {root}/sys
mount -t proc proc {root}/proc
mount -t tmpfs tmpfs {root}/tmp
mount -t tmpfs tmpfs {root}/dev/shm
{bound}
mount --bind {hosts} {root}/etc/hosts
echo 'hosts: files' > {root}/etc/nsswitch.conf
echo 'multi on' > {root}/etc/host.conf
{volumes}
"""


@dataclass(frozen=True)
class Mount:
    """The place of a volume in a container. A volume in memory has no ``source``, but may have a ``size``."""

    target: str
    source: str = ""
    size: str = ""
    read_only: bool = False

    def lines(self, root: Path) -> str:
        """Give the shell commands that mount the volume below a root."""
        target = shlex.quote(f"{root}{self.target}")
        made = f"mkdir -p {target}\n"
        if not self.source:
            return f"{made}mount -t tmpfs -o size={self.size or '50%'} tmpfs {target}\n"
        bound = f"{made}mount --bind {shlex.quote(self.source)} {target}\n"
        return f"{bound}mount -o remount,bind,ro {target}\n" if self.read_only else bound


@dataclass(frozen=True)
class Sandbox:
    """What the containers of a pod share: namespaces held by a process, files, and the image."""

    process: int
    folder: Path
    hosts: Path
    image: Image


@dataclass
class Container:
    """A container of a pod. ``start`` starts its first process, ``inside`` is that process as this machine counts."""

    sandbox: Sandbox
    spec: Json
    mounts: Sequence[Mount]
    variables: Mapping[str, str]
    inside: int = 0
    _process: asyncio.subprocess.Process | None = None
    _folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self._folder = self.sandbox.folder / self.spec["name"]

    @property
    def log(self) -> Path:
        """Give the file of what the container has said."""
        return self._folder / "log"

    @property
    def running(self) -> bool:
        """Tell whether the container has started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the words of the container; its first process runs when this returns, or it has ended."""
        root = self._folder / "space" / "root"
        root.parent.mkdir(parents=True)
        self._write_mounts(root)
        given = [f"{name}={value}" for name, value in self._environment().items()]
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*CONTAIN, "container", str(self.sandbox.process), str(root), str(self._folder)),
                *(*given, "--", *self._words()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        if number := await self._process.stdout.readline():
            self.inside = int(number)

    def _words(self) -> list[str]:
        return [_expanded(word, self.variables) for word in (*self.spec["command"], *self.spec.get("args", ()))]

    def _environment(self) -> dict[str, str]:
        return {**self.sandbox.image.environment(), **self.variables}

    def _write_mounts(self, root: Path) -> None:
        seen = self.sandbox.image.seen()
        text = _MOUNTS.format(
            folder=root.parent,
            root=root,
            hosts=self.sandbox.hosts,
            bound="".join(Mount(str(folder), str(folder)).lines(root) for folder in seen),
            volumes="".join(mount.lines(root) for mount in self.mounts),
        )
        (self._folder / "mounts").write_text(text)

    async def wait(self) -> int:
        """Wait for the end of the container; give its exit code as a container runtime reports it."""
        assert self._process is not None
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the first process. Only SIGKILL ends a process 1 that has no handler."""
        if self.running and self.inside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.inside, number)

    async def execute(self, words: Sequence[str]) -> int:
        """Run a command in the container, as for a hook or a probe. A caller that gives up kills it."""
        process = await asyncio.create_subprocess_exec(
            *("nsenter", f"--target={self.inside}", "--mount", "--pid", "--net", "--ipc", "--uts", "--root"),
            *("env", "-i", *(f"{name}={value}" for name, value in self._environment().items())),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    def last_lines(self) -> str:
        """Give the end of the log, as much as a termination message holds."""
        text = self.log.read_bytes()[-_MESSAGE_BYTES:].decode(errors="replace")
        return "\n".join(text.splitlines()[-_MESSAGE_LINES:])

    def processes(self) -> dict[int, str]:
        """Give the processes of the container by number, parents first, with their command lines."""
        found, ahead = {}, [self.inside] if self.running and self.inside else []
        while ahead:
            pid = ahead.pop(0)
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                ahead += map(int, _children(pid).split())
                found[pid] = line.strip()
        return found


def _children(pid: int) -> str:
    return " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))


def _expanded(word: str, variables: Mapping[str, str]) -> str:
    """Expand ``$(NAME)`` and ``$$`` as a kubelet does."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else variables.get(name, match.group(0))

    return re.sub(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", value, word)
