"""vLLM's own reading of command lines: its parser, and its configuration on a pretended GPU. In vLLM's environment.

``vllm_lines.py GPU FOLDER``: lines are read from standard input as a JSON list of objects with ``words`` (behind the
program) and ``config`` (a folder with a config.json, or null for a follower). Prints a JSON list of verdicts: an empty
text where vLLM takes the line, or its refusal.
"""

import contextlib
import io
import json
import os
import sys
from typing import Any

from products import GPUS
from vllm_platform import pretend


def main(gpu: str, folder: str) -> None:
    """Print the verdicts."""
    given = json.load(sys.stdin)
    out = os.dup(1)
    os.dup2(2, 1)  # the library's own chatter
    pretend(GPUS[gpu], folder)
    parser = parser_of_serve()
    os.write(out, json.dumps([verdict(parser, line) for line in given]).encode())
    os._exit(0)


def parser_of_serve() -> Any:
    """Give the parser of `vllm serve`."""
    from vllm.entrypoints.common.cli_args import make_arg_parser  # noqa: PLC0415 - after the platform
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    parser = FlexibleArgumentParser(prog="vllm")
    make_arg_parser(parser.add_subparsers(dest="subparser", required=True).add_parser("serve"))
    return parser


def verdict(parser: Any, line: dict[str, Any]) -> str:
    """Read a line as vLLM does up to the start of its engine."""
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415
    from vllm.entrypoints.common.cli_args import validate_parsed_serve_args  # noqa: PLC0415

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            read = parser.parse_args(line["words"][1:])
        read.model = read.model_tag
        validate_parsed_serve_args(read)
        if line["config"]:
            read.model = read.tokenizer = line["config"]
            read.skip_tokenizer_init, read.revision = True, None
            AsyncEngineArgs.from_cli_args(read).create_engine_config(headless=bool(read.headless))
    except SystemExit:
        return f"parser: {said.getvalue().strip().splitlines()[-1:]}"
    except Exception as error:  # noqa: BLE001 - the engine's own refusal is the verdict
        text = next((part for part in str(error).splitlines() if "rror, " in part), str(error).splitlines()[0])
        return f"{type(error).__name__}: {text.strip()[:200]}"
    return ""


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
