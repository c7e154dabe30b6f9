"""Names of what is rendered: deterministic, DNS labels of at most 63 characters, different for different things."""

import hashlib
import re
from typing import Final

_MOST: Final = 63
_DIGEST: Final = 8
_LIKE_A_GROUP: Final = re.compile(r"-\d+-\d+$")


def group_name(model: str, replica: int, attempt: int) -> str:
    """Name one attempt of one replica: its headless Service, and the subdomain of its pods."""
    return _joined(model, f"-{replica}-{attempt}")


def pod_name(model: str, replica: int, attempt: int, index: int) -> str:
    """Name one pod; also its hostname."""
    return _joined(model, f"-{replica}-{attempt}-{index}")


def serving_name(model: str) -> str:
    """Name the Service to the leaders: as the model, unless that is how a group of another model is named."""
    return _marked(model, "") if _LIKE_A_GROUP.search(model) else _joined(model, "")


def leader_host(model: str, namespace: str, replica: int, attempt: int) -> str:
    """Give the DNS name of a group's first pod. Without the cluster's domain: the pod's search list completes it."""
    return f"{pod_name(model, replica, attempt, 0)}.{group_name(model, replica, attempt)}.{namespace}.svc"


def label_value(name: str) -> str:
    """Give a name as a label value."""
    return _joined(name, "")


def _joined(model: str, suffix: str) -> str:
    """Keep the suffix whole; cut a long model name and mark it with its digest. Service names begin with a letter."""
    if model[:1].isalpha() and "." not in model and len(model) + len(suffix) <= _MOST:
        return model + suffix
    return _marked(model, suffix)


def _marked(model: str, suffix: str) -> str:
    stem = model if model[:1].isalpha() else f"m-{model}"
    digest = hashlib.sha256(model.encode()).hexdigest()[:_DIGEST]
    kept = stem.replace(".", "-")[: _MOST - len(suffix) - _DIGEST - 1].rstrip("-")
    return f"{kept}-{digest}{suffix}"
