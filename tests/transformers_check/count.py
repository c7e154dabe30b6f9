"""Count the parameters of every causal language model transformers knows, and write them down as test data.

Run by `make check-transformers`, in an environment of its own: the project depends on neither torch nor transformers.
Models are built on the meta device, so that none of their memory is ever taken. Each class is counted as its config's
defaults have it, and once more for every single field whose change changes the count: thus a reader that overlooks a
field is found out. The result, tests/data/transformers-counts.json, is what an ordinary test holds the reader to; how
far our own count is from it is printed beside.
"""

import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
warnings.filterwarnings("ignore")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "operator"))

import torch  # noqa: E402 - the verbosity is read on import
import transformers  # noqa: E402
from fixups import FIXUPS  # noqa: E402
from transformers import CONFIG_MAPPING  # noqa: E402
from transformers.models.auto import modeling_auto as auto  # noqa: E402

from shardwise.checkpoint import ConfigError, from_config  # noqa: E402 - the path is set above

OUT = ROOT / "tests" / "data" / "transformers-counts.json"
MAPPINGS = {
    "causal": auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "image": auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    "multimodal": auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
}
NOISE = {
    "_name_or_path", "architectures", "attention_dropout", "attention_probs_dropout_prob", "bos_token_id",
    "chunk_size_feed_forward", "decoder_start_token_id", "dropout", "eos_token_id", "forced_eos_token_id",
    "hidden_dropout", "hidden_dropout_prob", "id2label", "initializer_range", "label2id", "output_attentions",
    "output_hidden_states", "output_router_logits", "pad_token_id", "problem_type", "return_dict", "rms_norm_eps",
    "rope_parameters", "sep_token_id", "transformers_version", "use_cache", "layer_norm_eps",
    "activation_sparsity_pattern",
}  # fmt: skip
"""Fields of every config that say nothing of sizes."""


def main() -> None:
    """Count all, print a line each, and write the file."""
    rows = [row for kind, group in types() if (row := counted(kind, group)) is not None]
    document = {"transformers": transformers.__version__, "models": rows}
    lines = ",\n".join(json.dumps(row, separators=(",", ":"), default=str) for row in rows)
    OUT.write_text(f'{{"transformers": "{document["transformers"]}", "models": [\n{lines}\n]}}\n')
    say(f"{len(rows)} models written to {OUT.name}")


def say(line: str) -> None:
    """Write a line of the table, at once: the whole takes minutes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def ours(config: Mapping[str, Any], parameters: int) -> str:
    """Say how far our own count is from the true one."""
    try:
        model = from_config(config, name="count", origin="transformers")
    except ConfigError as error:
        return f"refused: {error}"
    counted = sum(weight.elements for weight in model.loaded() if not weight.derived)
    return f"{counted / parameters - 1:+.2%}{' guessed' if model.guessed else ''}"


def types() -> Iterator[tuple[str, str]]:
    """Give every model type once, with the mapping it is in."""
    seen: set[str] = set()
    for group, mapping in MAPPINGS.items():
        for kind in mapping:
            if kind not in seen:
                seen.add(kind)
                yield kind, group


def classes(kind: str) -> list[str]:
    """Give the classes a model type is mapped to: the one with towers first where its config has some."""
    nested = hasattr(CONFIG_MAPPING[kind], "sub_configs") and CONFIG_MAPPING[kind].sub_configs
    mappings = [*MAPPINGS.values()]
    found = [mapping[kind] for mapping in (mappings[::-1] if nested else mappings) if kind in mapping]
    return list(dict.fromkeys(name[0] if isinstance(name, list | tuple) else name for name in found))


def counted(kind: str, group: str) -> dict[str, Any] | None:
    """Count one model type and its variants; ``None`` where transformers cannot build it even when helped."""
    built = None
    for name in classes(kind):
        try:
            config = CONFIG_MAPPING[kind](**FIXUPS.get(kind, {}))
            built = name, count(name, config)
            break
        except Exception as error:  # noqa: BLE001 - whatever transformers raises, the table says it and goes on
            say(f"{kind:32} {name} not built: {type(error).__name__}: {str(error)[:90]!r}")
    if built is None:
        return None
    name, parameters = built
    base = plain(config)
    say(f"{kind:32} {parameters:>18,}  {ours(base, parameters)}")
    row = {"group": group, "class": name, "parameters": parameters, "config": base}
    found = list(variants(kind, name, base, parameters)) if group == "causal" else []
    return row | ({"variants": found} if found else {})


def count(name: str, config: Any) -> int:
    """Count the parameters of a model class on the meta device, tied ones once."""
    with torch.device("meta"):
        model = getattr(transformers, name)._from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


def plain(config: Any) -> dict[str, Any]:
    """Give a config as the JSON it is published as, without noise."""
    return cut(json.loads(json.dumps(config.to_dict(), default=str)))


def cut(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what says nothing of sizes."""
    return {
        key: cut(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if key not in NOISE and value is not None
    }


def variants(kind: str, name: str, base: Mapping[str, Any], parameters: int) -> Iterator[list[Any]]:
    """Change one field at a time; give what changed in the config, and the new count."""
    for field, value in base.items():
        for other in others(field, value):
            try:
                config = CONFIG_MAPPING[kind](**FIXUPS.get(kind, {}) | {field: other})
                new = count(name, config)
            except Exception:  # noqa: BLE001, S112 - a value its class refuses is no variant
                continue
            if new != parameters:
                changed = plain(config)
                yield [{key: changed.get(key) for key in {*base, *changed} if base.get(key) != changed.get(key)}, new]


def others(field: str, value: Any) -> list[Any]:
    """Give another value of a field: the other truth, a number twice and half as large, a list that is turned round."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, list) and len(value) > 1:
        numbers = all(isinstance(one, int) and not isinstance(one, bool) for one in value)
        turned = [value[::-1]] if value != value[::-1] else []
        return [*turned, *([[*value[:-1], 2 * value[-1]]] if numbers and value[-1] else [])]
    if not isinstance(value, int) or field.endswith(("_id", "_index")) or value < 1:
        return []
    return [value * 2, value // 2] if value > 1 else [value * 2]


if __name__ == "__main__":
    main()
