"""Facts that vLLM itself states: options, model classes, quantisation methods. Runs in vLLM's own environment.

``vllm_facts.py FOLDER``: a folder to write to. Prints a JSON object.
"""

import argparse
import json
import os
import sys
from typing import Any

from products import GPUS
from transformers_classes import fallback
from vllm_platform import pretend


def main(folder: str) -> None:
    """Print the facts."""
    out = os.dup(1)
    os.dup2(2, 1)  # the library's own chatter
    pretend(GPUS["H100"], folder)
    import vllm  # noqa: PLC0415 - after the platform

    facts = {
        "engine": "vllm",
        "release": vllm.__version__,
        **options(),
        "architectures": architectures(),
        "fallback": fallback(),
        "methods": methods(),
        "backends": backends(),
    }
    os.write(out, json.dumps(facts).encode())
    os._exit(0)


def options() -> dict[str, list[str]]:
    """Give the options of ``vllm serve``: long and short."""
    from vllm.entrypoints.common.cli_args import make_arg_parser  # noqa: PLC0415
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    parser: argparse.ArgumentParser = make_arg_parser(FlexibleArgumentParser(prog="vllm"))
    return words_of(parser)


def words_of(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Give the options of a parser: long and short."""
    words = sorted({word for action in parser._actions for word in action.option_strings} - {"-h", "--help"})
    return {
        "flags": [word for word in words if word.startswith("--")],
        "short": [word for word in words if not word.startswith("--")],
    }


def architectures() -> dict[str, bool | None]:
    """Tell of each class of the registry whether it can be split into stages; ``None`` where it cannot be imported."""
    from vllm.model_executor.models.interfaces import supports_pp  # noqa: PLC0415
    from vllm.model_executor.models.registry import ModelRegistry  # noqa: PLC0415

    found: dict[str, bool | None] = {}
    for name in sorted(ModelRegistry.models):
        try:
            model: Any = ModelRegistry.models[name].load_model_cls()
            found[name] = bool(supports_pp(model))
        except Exception as error:  # noqa: BLE001 - a class that needs a library of its own
            sys.stderr.write(f"{name}: {type(error).__name__}: {error}\n")
            found[name] = None
    return found


def backends() -> dict[str, dict[str, Any]]:
    """Give each attention backend of CUDA: what it serves, the compute capabilities and the cache dtypes it takes."""
    from vllm.platforms.interface import DeviceCapability  # noqa: PLC0415
    from vllm.v1.attention.backends.registry import AttentionBackendEnum  # noqa: PLC0415

    found: dict[str, dict[str, Any]] = {}
    for member in AttentionBackendEnum:
        if any(part in member.name for part in ("ROCM", "XPU", "CPU", "TORCH", "CUSTOM", "NO_ATTENTION")):
            continue
        try:
            backend = member.get_class()
            taken = {
                gpu.level
                for gpu in GPUS.values()
                if backend.supports_compute_capability(DeviceCapability(*gpu.capability))
            }
            found[member.name] = {
                "latent": bool(backend.is_mla()),
                "sparse": bool(backend.is_sparse()),
                "capabilities": sorted(taken),
                "caches": sorted(map(str, backend.supported_kv_cache_dtypes)),
            }
        except Exception as error:  # noqa: BLE001 - a backend that needs a library of its own
            sys.stderr.write(f"{member.name}: {type(error).__name__}: {error}\n")
    return found


def methods() -> dict[str, dict[str, Any]]:
    """Give each method, its least compute capability, and whether it is deprecated."""
    from vllm.model_executor.layers import quantization  # noqa: PLC0415

    deprecated = set(quantization.DEPRECATED_QUANTIZATION_METHODS)
    return {
        name: {
            "capability": quantization.get_quantization_config(name).get_min_capability(),
            "deprecated": name in deprecated,
        }
        for name in sorted(quantization.QUANTIZATION_METHODS)
    }


if __name__ == "__main__":
    main(sys.argv[1])
