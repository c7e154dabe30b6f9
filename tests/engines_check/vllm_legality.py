"""Which tensor degrees vLLM's own model classes take: each is built on the meta device. Runs in vLLM's environment.

``vllm_legality.py GPU FOLDER``: standard input is a JSON list of objects with ``model``, ``config`` (a folder),
``degrees`` and ``expert``. Prints a JSON object: model -> degree -> an empty text, or the words of the refusal.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from products import GPUS
from vllm_platform import pretend
from vllm_probes import said


def main(gpu: str, folder: str) -> None:
    """Print the verdicts."""
    given = json.load(sys.stdin)
    out = os.dup(1)
    os.dup2(2, 1)  # the library's own chatter
    pretend(GPUS[gpu], folder)
    os.write(out, json.dumps({case["model"]: verdicts(case) for case in given}).encode())
    os._exit(0)


def verdicts(case: dict[str, Any]) -> dict[str, str]:
    """Build a model for each degree."""
    from vllm_models import build, cut, model_config  # noqa: PLC0415 - after the platform

    try:
        model = model_config(Path(case["config"]))
        cut(model)
    except Exception as error:  # noqa: BLE001 - the engine's own refusal is the verdict
        return {"": said(error)}
    found: dict[str, str] = {}
    for degree in case["degrees"]:
        try:
            build(model, degree, expert=case["expert"])
            found[str(degree)] = ""
        except Exception as error:  # noqa: BLE001 - as above
            found[str(degree)] = said(error)
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
