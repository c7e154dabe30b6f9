"""Objects to read: a plain one, and copies of it with one thing changed."""

import copy
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

PLAIN: Json = {
    "apiVersion": "shardwise.dev/v1alpha1",
    "kind": "ShardedModel",
    "metadata": {"name": "llama", "namespace": "default"},
    "spec": {"model": {"name": "meta-llama/Llama-3.1-8B"}, "gpuBudget": {"total": 8}},
}


def changed(path: str, value: object) -> Json:
    """Give the plain object with the field at a dotted path set; ``None`` takes it out."""
    made = copy.deepcopy(PLAIN)
    *parents, last = path.split(".")
    place = made
    for part in parents:
        place = place.setdefault(part, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return made


def wrong_objects() -> dict[str, tuple[str, object, str]]:
    """Give the table of wrong objects: by name, the path of a field, its value, and the message."""
    rows = yaml.safe_load((Path(__file__).parent.parent / "data" / "wrong-objects.yaml").read_text(encoding="utf-8"))
    return {row["name"]: (row["path"], row["value"], row["message"]) for row in rows}
