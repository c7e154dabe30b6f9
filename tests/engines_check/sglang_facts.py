"""Facts that SGLang itself states: options, quantisation methods, classes of Transformers that it can run.

Runs in SGLang's own environment.

Prints a JSON object.
"""

import argparse
import json
import os
from importlib.metadata import version
from typing import Any

from products import GPUS
from sglang_platform import answer, pretend
from transformers_classes import fallback


def main() -> None:
    """Print the facts."""
    out = os.dup(1)
    os.dup2(2, 1)  # the library's own chatter
    pretend(GPUS["H100"])
    facts = {
        "engine": "sglang",
        "release": version("sglang"),
        **options(),
        "methods": methods(),
        "fallback": fallback(),
    }
    os.write(out, json.dumps(facts).encode())
    os._exit(0)


def options() -> dict[str, list[str]]:
    """Give the options of the server: long and short."""
    from sglang.srt.server_args import ServerArgs  # noqa: PLC0415 - after the platform

    parser = argparse.ArgumentParser(prog="sglang")
    ServerArgs.add_cli_args(parser)
    words = sorted({word for action in parser._actions for word in action.option_strings} - {"-h", "--help"})
    return {
        "flags": [word for word in words if word.startswith("--")],
        "short": [word for word in words if not word.startswith("--")],
    }


def methods() -> dict[str, dict[str, Any]]:
    """Give each method and its least compute capability."""
    from sglang.srt.layers import quantization  # noqa: PLC0415

    answer(GPUS["H100"])
    return {
        name: {"capability": capability(method)} for name, method in sorted(quantization.QUANTIZATION_METHODS.items())
    }


def capability(method: Any) -> int | None:
    """Give the least compute capability that a method's class states, ``None`` where it depends on the checkpoint."""
    try:
        return int(method.get_min_capability())
    except Exception:  # noqa: BLE001 - not every class states one without a checkpoint
        return None


if __name__ == "__main__":
    main()
