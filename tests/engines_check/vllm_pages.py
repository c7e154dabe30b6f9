"""The pages into which vLLM cuts the caches of models that keep states, on a pretended GPU. In vLLM's environment.

``vllm_pages.py GPU FOLDER``: cases are read from standard input as a JSON list of objects with ``config`` (a folder
with a config.json) and ``tensor``. Prints a JSON list: tokens and bytes of a page, or vLLM's refusal as a text.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from products import GPUS
from vllm_platform import pretend


def main(gpu: str, folder: str) -> None:
    """Print the pages."""
    given = json.load(sys.stdin)
    out = os.dup(1)
    os.dup2(2, 1)  # the library's own chatter
    pretend(GPUS[gpu], folder)
    os.write(out, json.dumps([page(case) for case in given]).encode())
    os._exit(0)


def page(case: dict[str, Any]) -> list[int] | str:
    """Build the model with prefix caching, and let vLLM choose the size of its pages."""
    from vllm import platforms  # noqa: PLC0415 - after the platform
    from vllm_models import build, model_config  # noqa: PLC0415

    try:
        whole = build(model_config(Path(case["config"])), case["tensor"])
        platforms.current_platform.update_block_size_for_backend(whole)
        layers = whole.compilation_config.static_forward_context.values()
        specs = [layer.get_kv_cache_spec(whole) for layer in layers if hasattr(layer, "get_kv_cache_spec")]
    except Exception as error:  # noqa: BLE001 - the engine's own refusal is the answer
        return f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
    return [whole.cache_config.block_size, max(spec.page_size_bytes for spec in specs if spec is not None)]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
