"""SGLang's verdict on every probe, on a GPU of one compute capability. Runs in SGLang's own environment.

``sglang_probes.py GPU FOLDER``: the product, and a folder to write to. Prints a JSON object: probe -> verdict.
"""

import json
import os
import sys
from pathlib import Path

from probes import PROBES
from products import GPUS
from sglang_platform import answer, pretend

WORDS = (None, "fp8")
"""Values of ``--quantization`` that are tried."""


def main(gpu: str, folder: Path) -> None:
    """Print the verdicts."""
    out = os.dup(1)
    os.dup2(2, 1)  # the library's own chatter
    pretend(GPUS[gpu])
    verdicts = {name: verdicts_on(name, gpu, folder) for name in PROBES}
    os.write(out, json.dumps(verdicts).encode())
    os._exit(0)


def verdicts_on(name: str, gpu: str, folder: Path) -> dict[str, str]:
    """Give the verdict on a probe by the word of ``--quantization``."""
    at = folder / name.replace(" ", "-").replace(",", "")
    at.mkdir(parents=True, exist_ok=True)
    (at / "config.json").write_text(json.dumps(PROBES[name]))
    return {word or "": verdict(at, gpu, word) for word in WORDS}


def verdict(folder: Path, gpu: str, word: str | None) -> str:
    """Give the method that SGLang chooses, or ``refused: `` and its words.

    The compute capability is compared with the least that the method's class states, as SGLang's loader does.
    """
    import sglang.srt.configs.model_config as configs  # noqa: PLC0415 - after the platform
    from sglang.srt.configs.load_config import LoadConfig  # noqa: PLC0415
    from sglang.srt.model_loader.weight_utils import get_quant_config  # noqa: PLC0415

    answer(GPUS[gpu])
    try:
        model = configs.ModelConfig(model_path=str(folder), quantization=word)
        if model.quantization is not None:
            config = get_quant_config(model, LoadConfig(), {})
            least = config.get_min_capability()
            if GPUS[gpu].level < least:
                return f"refused: needs compute capability {least // 10}.{least % 10}"
    except Exception as error:  # noqa: BLE001 - the engine's own refusal is the verdict
        return f"refused: {type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
    return f"{model.quantization}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
