"""SGLang's own reading of command lines: its parser, and ServerArgs on a pretended GPU. In SGLang's environment.

``sglang_lines.py GPU FOLDER``: as vllm_lines.py.
"""

import argparse
import contextlib
import io
import json
import os
import sys
from typing import Any

from products import GPUS
from sglang_platform import answer, pretend


def main(gpu: str) -> None:
    """Print the verdicts."""
    given = json.load(sys.stdin)
    out = os.dup(1)
    os.dup2(2, 1)  # the library's own chatter
    pretend(GPUS[gpu])
    from sglang.srt.server_args import ServerArgs  # noqa: PLC0415 - after the platform

    parser = argparse.ArgumentParser(prog="sglang", allow_abbrev=False)
    ServerArgs.add_cli_args(parser)
    clean = dict(os.environ)
    verdicts = []
    for line in given:
        os.environ.clear()  # resolving sets variables of the process: each line is a process of its own
        os.environ.update(clean)
        verdicts.append(verdict(parser, line, gpu))
    os.write(out, json.dumps(verdicts).encode())
    os._exit(0)


def verdict(parser: argparse.ArgumentParser, line: dict[str, Any], gpu: str) -> str:
    """Read a line as SGLang does up to the start of its schedulers."""
    from sglang.srt.server_args import ServerArgs  # noqa: PLC0415

    said = io.StringIO()
    words = line["words"]
    try:
        with contextlib.redirect_stderr(said):
            read = parser.parse_args(options_of(words))
        if line["config"]:
            read.model_path = read.tokenizer_path = line["config"]
            read.revision = None
            read._radix_eviction_policy_explicitly_set = False
            answer(GPUS[gpu])
            server = ServerArgs.from_cli_args(read)
            server.resolve_once()
            server.check_server_args()
    except SystemExit:
        return f"parser: {said.getvalue().strip().splitlines()[-1:]}"
    except Exception as error:  # noqa: BLE001 - the engine's own refusal is the verdict
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    return ""


def options_of(words: list[str]) -> list[str]:
    """Give the words that reach the server's parser: `sglang serve` keeps the kind of its backend to itself."""
    from sglang.cli.serve import _extract_model_type_override  # noqa: PLC0415

    options = words[next(index for index, word in enumerate(words) if word.startswith("--")) :]
    kind, kept = _extract_model_type_override(options)
    if kind not in ("auto", "llm"):
        raise ValueError(f"backend {kind}")
    return list(kept)


if __name__ == "__main__":
    main(sys.argv[1])
