"""vLLM's verdict on every probe, on a GPU of one compute capability. Runs in vLLM's own environment.

``vllm_probes.py GPU FOLDER``: the product, and a folder to write to. Prints a JSON object: probe -> verdict.
"""

import json
import os
import sys
from pathlib import Path

from probes import PROBES
from products import GPUS
from vllm_platform import pretend

WORDS = (None, "fp8")
"""Values of ``--quantization`` that are tried."""


def main(gpu: str, folder: Path) -> None:
    """Print the verdicts."""
    out = os.dup(1)
    os.dup2(2, 1)  # the library's own chatter
    pretend(GPUS[gpu], str(folder / "cache"))
    verdicts = {name: verdicts_on(name, folder) for name in PROBES}
    os.write(out, json.dumps(verdicts).encode())
    os._exit(0)


def verdicts_on(name: str, folder: Path) -> dict[str, str]:
    """Give the verdict on a probe by the word of ``--quantization``."""
    at = folder / name.replace(" ", "-").replace(",", "")
    at.mkdir(parents=True, exist_ok=True)
    (at / "config.json").write_text(json.dumps(PROBES[name]))
    return {word or "": verdict(at, word) for word in WORDS}


def verdict(folder: Path, word: str | None) -> str:
    """Give the method that vLLM chooses if it builds the model, or ``refused: `` and its words."""
    from vllm_models import build, model_config  # noqa: PLC0415 - after the platform

    deprecated = ""
    try:
        try:
            model = model_config(folder, quantization=word)
        except Exception as error:
            if "allow-deprecated-quantization" not in str(error):
                raise
            deprecated = " (deprecated)"
            model = model_config(folder, quantization=word, allow_deprecated_quantization=True)
        build(model)
    except Exception as error:  # noqa: BLE001 - as above
        return f"refused: {said(error)}"
    return f"{model.quantization}{deprecated}"


def said(error: BaseException) -> str:
    """Give an error in a line, without paths and boilerplate."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("  For further")]
    text = next((line for line in lines if line.startswith("Value error")), lines[0] if lines else "")
    return f"{type(error).__name__}: {text.removeprefix('Value error, ').partition(' [type=')[0][:160]}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
