"""The command line as a test runs it: in this process, with its output in hand; and the files it is given."""

import copy
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from shardwise.cli import main
from shardwise_sandbox.__main__ import main as sandbox_main
from shardwise_sandbox.demo import object_documents

Json = dict[str, Any]

H100_80GB = "NVIDIA-H100-80GB-HBM3"


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What ``-o json`` printed."""
        return json.loads(self.out)


def shardwise(*args: str | Path, stdin: bytes = b"", encoding: str = "utf-8") -> Ran:
    """Run a command of the product in this process."""
    return _run(main, "shardwise", *args, stdin=stdin, encoding=encoding)


def sandbox(*args: str | Path, encoding: str = "utf-8") -> Ran:
    """Run a command of the sandbox in this process."""
    return _run(sandbox_main, "shardwise_sandbox", *args, encoding=encoding)


def _run(
    entry: Callable[[], None], program: str, *args: str | Path, stdin: bytes = b"", encoding: str = "utf-8"
) -> Ran:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2))
    given = io.TextIOWrapper(io.BytesIO(stdin))
    argv = [program, *map(str, args)]
    with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", argv), patch.object(sys, "stdin", given):
        status = _exit_status(entry)
    return Ran(status, _text(out), _text(err))


def process(*args: str | Path, program: str = "shardwise", env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command as a process of its own, its output in pipes."""
    return subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-m", program, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"} | (env or {}),
    )


def finished(command: subprocess.Popen[str], limit: float = 60.0) -> Ran:
    """Wait for a process to end."""
    out, err = command.communicate(timeout=limit)
    return Ran(command.returncode, out, err)


def completed(words: str, position: int) -> list[str]:
    """Complete the word at a position of a command line as bash does, and give the words."""
    asked = {"_SHARDWISE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    code = "import sys; sys.argv = ['shardwise']\nfrom shardwise.cli import main\nmain()"
    ran = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    return [line.partition(",")[2] for line in ran.stdout.splitlines() if line]


def a_model(name: str = "llama-8b", **changes: Any) -> Json:
    """Give one of the demo's objects; ``spec__gpuBudget__total=3`` changes a field, ``None`` drops it."""
    found = next(document for document in object_documents() if document["metadata"]["name"] == name)
    return changed(found, **changes)


def changed(document: Json, **changes: Any) -> Json:
    """Give a copy with fields changed, by paths with ``__`` between the parts."""
    made = copy.deepcopy(document)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = made
        for part in parents:
            place = place.setdefault(part, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return made


def renamed(document: Json, name: str) -> Json:
    """Give a copy under another name."""
    return changed(document, metadata__name=name)


def yaml_of(*documents: object) -> str:
    """Write documents as one YAML stream."""
    return yaml.safe_dump_all(documents, sort_keys=False)


def write(path: Path, *documents: object) -> Path:
    """Write documents into a file, as YAML."""
    path.write_text(yaml_of(*documents), encoding="utf-8")
    return path


def a_list(items: Iterable[object]) -> Json:
    """Give what ``kubectl get`` prints for several objects."""
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def a_pod(name: str, node: str, gpus: int, *, owner: str | None = None, namespace: str = "default") -> Json:
    """Give a running pod that holds GPUs; with an owner, one the operator made for that ShardedModel."""
    metadata: Json = {"name": name, "namespace": namespace}
    if owner is not None:
        metadata["labels"] = {"app.kubernetes.io/managed-by": "shardwise", "shardwise.dev/model": owner}
        metadata["ownerReferences"] = [{"apiVersion": "shardwise.dev/v1alpha1", "kind": "ShardedModel", "name": owner}]
    container = {"name": "engine", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [container]},
        "status": {"phase": "Running"},
    }


def _exit_status(entry: Callable[[], None]) -> int:
    try:
        entry()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(stream.encoding)
