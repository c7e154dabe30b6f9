"""TensorRT-LLM's own reading of command lines and options files: `trtllm-serve`, and the classes of its options.

``tensorrt_llm_lines.py GPU SOURCES``: as vllm_lines.py, where ``options`` of a line is the text of its options file.
``SOURCES`` is the folder that holds the package tensorrt_llm.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from products import GPUS
from tensorrt_llm_platform import pretend

_PROGRAM: Final = "trtllm-serve"
_FILE: Final = "--extra_llm_api_options"


def main(gpu: str, sources: str) -> None:
    """Print the verdicts."""
    given = json.load(sys.stdin)
    out = os.dup(1)
    os.dup2(2, 1)  # the library's own chatter
    pretend(sources, GPUS[gpu])
    from tensorrt_llm.logger import logger  # noqa: PLC0415 - after the platform

    logger.set_level("error")
    with tempfile.TemporaryDirectory() as folder:
        verdicts = [verdict(line, Path(folder) / "options.yaml") for line in given]
    os.write(out, json.dumps(verdicts).encode())
    os._exit(0)


def verdict(line: dict[str, Any], file: Path) -> str:
    """Read a line as TensorRT-LLM does up to the start of its executor."""
    from click import ClickException  # noqa: PLC0415 - in the engine's environment alone

    words = line["words"][line["words"].index(_PROGRAM) + 1 :]
    words[words.index(_FILE) + 1] = str(file)
    file.write_text(line["options"])
    try:
        _configured(_read(words))
    except ClickException as error:
        return f"parser: {error.format_message()[:200]}"
    except Exception as error:  # noqa: BLE001 - the engine's own refusal is the verdict
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""


def _read(words: list[str]) -> dict[str, Any]:
    """Let `trtllm-serve` read its words and its file. Give the arguments that it would start its server with."""
    from tensorrt_llm.commands import serve  # noqa: PLC0415 - as above

    started: list[dict[str, Any]] = []
    serve.launch_server = lambda _host, _port, arguments, *_: started.append(arguments)
    serve.main.main(args=words, prog_name=_PROGRAM, standalone_mode=False)
    (arguments,) = started
    return arguments


def _configured(arguments: dict[str, Any]) -> None:
    """Make the engine's options of its arguments, and deal the ranks out, as llmapi/llm.py does for PyTorch."""
    from tensorrt_llm.llmapi.llm_args import TorchLlmArgs  # noqa: PLC0415 - as above

    words = {name: value for name, value in arguments.items() if name != "build_config"}
    read = TorchLlmArgs.from_kwargs(**words, skip_tokenizer_init=True)
    mapping = read.parallel_config.to_mapping()
    balancer = read.moe_config.load_balancer
    if balancer is not None:
        balancer.setup(ep_rank=0, ep_size=mapping.moe_ep_size)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
