"""Makes the namespaces of pods and containers, for process kubelets. Runs alone, by ``python -S -E contain.py``.

``contain.py pod HOSTNAME`` holds a network, a host name and the IPC of a pod until it is killed. ``contain.py container
POD ROOT FOLDER NAME=VALUE… -- WORDS…`` runs words as process 1 of a container of that pod, and ends as they end: with
128 and the number of the signal that killed them, as a container runtime reports it. What it runs dies with it.

Each prints a line when it is made; a container prints the number that its process 1 has on this machine, because the
kernel's list of children may leave one out. ``FOLDER`` has ``mounts``, a script that fills ``ROOT``.
"""

import ctypes
import os
import signal
import subprocess
import sys

_PDEATHSIG = 1
_NEW_MOUNTS, _NEW_HOST_NAME, _NEW_IPC, _NEW_PROCESSES, _NEW_NETWORK = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x20000000,
    0x40000000,
)

_kernel = ctypes.CDLL(None, use_errno=True)


def _asked(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), what)


def _dies_with_parent() -> None:
    _asked(_kernel.prctl(_PDEATHSIG, signal.SIGKILL), "prctl")


def hold_pod(hostname: str) -> None:
    """Hold the namespaces of a pod."""
    _dies_with_parent()
    _asked(_kernel.unshare(_NEW_NETWORK | _NEW_HOST_NAME | _NEW_IPC), "unshare")
    name = hostname.encode()
    _asked(_kernel.sethostname(name, len(name)), "sethostname")
    print("made", flush=True)  # noqa: T201 - whoever started it waits for this line
    while True:
        signal.pause()


def run_container(pod: str, root: str, folder: str, variables: list[str], words: list[str]) -> int:
    """Run a container in the namespaces of a pod; give its exit code."""
    _dies_with_parent()
    for space in ("net", "uts", "ipc"):
        there = os.open(f"/proc/{pod}/ns/{space}", os.O_RDONLY)
        _asked(_kernel.setns(there, 0), "setns")
        os.close(there)
    _asked(_kernel.unshare(_NEW_MOUNTS | _NEW_PROCESSES), "unshare")
    inside = os.fork()
    if not inside:
        _become(root, folder, variables, words)
    _, status = os.waitpid(inside, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _become(root: str, folder: str, variables: list[str], words: list[str]) -> None:
    try:
        _dies_with_parent()
        subprocess.run(["/bin/sh", "-e", f"{folder}/mounts"], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - made by the kubelet
        number = os.readlink("/proc/self")  # noqa: PTH115 - no more is imported than must be
        os.chroot(root)
        os.chdir("/")
        environment = dict(variable.split("=", 1) for variable in variables)
        print(number, flush=True)  # noqa: T201 - as above
        os.dup2(2, 1)
        os.execvpe(words[0], words, environment)  # noqa: S606 - as a container is started: without a shell
    except BaseException as error:  # noqa: BLE001 - the copy must not go on as the parent
        print(f"{words[0]}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - into the container's log
        os._exit(127)


if __name__ == "__main__":
    if sys.argv[1] == "pod":
        hold_pod(sys.argv[2])
    _pod, _root, _folder, *_rest = sys.argv[2:]
    _at = _rest.index("--")
    sys.exit(run_container(_pod, _root, _folder, _rest[:_at], _rest[_at + 1 :]))
