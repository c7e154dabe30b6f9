"""Names of manifests: deterministic and unique DNS labels of at most 63 characters."""

import re
from typing import Final

from shardwise.domain.digest import text_digest

_MOST: Final = 63
_DIGEST: Final = 8
_LIKE_A_GROUP: Final = re.compile(r"-\d+-\d+$")


def group_name(model: str, replica: int, attempt: int) -> str:
    """Name an attempt of a replica: its headless Service, and the subdomain of its pods."""
    return joined(model, f"-{replica}-{attempt}")


def pod_name(model: str, replica: int, attempt: int, index: int) -> str:
    """Name a pod. The name is also its hostname."""
    return joined(model, f"-{replica}-{attempt}-{index}")


def is_group_of(model: str, name: str) -> bool:
    """Tell whether a name is that of a group of a model, of any replica and attempt."""
    numbers = name.rsplit("-", 2)[1:]
    named = len(numbers) == 2 and all(number.isdecimal() for number in numbers)  # noqa: PLR2004 - replica, attempt
    return named and name == group_name(model, *map(int, numbers))


def is_pod_of(model: str, pod: str) -> bool:
    """Tell whether a name is that of a pod of a model, of any replica and attempt."""
    numbers = pod.rsplit("-", 3)[1:]
    named = len(numbers) == 3 and all(number.isdecimal() for number in numbers)  # noqa: PLR2004 - replica, attempt, index
    return named and pod == pod_name(model, *map(int, numbers))


def serving_name(model: str) -> str:
    """Name the Service to the leaders: the model's name, unless a group of another model may have that name."""
    return _marked(model, "") if _LIKE_A_GROUP.search(model) else joined(model, "")


def hosts(model: str, namespace: str, replica: int, attempt: int, count: int) -> tuple[str, ...]:
    """Give the DNS names of a group's pods. Without the cluster's domain: the pod's search list completes them."""
    subdomain = group_name(model, replica, attempt)
    return tuple(f"{pod_name(model, replica, attempt, index)}.{subdomain}.{namespace}.svc" for index in range(count))


def label_value(name: str) -> str:
    """Give a name as a label value."""
    return joined(name, "")


def joined(model: str, suffix: str) -> str:
    """Join a model's name and a suffix. A long or invalid name is shortened and marked with its digest."""
    if model[:1].isalpha() and "." not in model and len(model) + len(suffix) <= _MOST:
        return model + suffix
    return _marked(model, suffix)


def _marked(model: str, suffix: str) -> str:
    stem = model if model[:1].isalpha() else f"m-{model}"
    digest = text_digest(model, _DIGEST)
    kept = stem.replace(".", "-")[: _MOST - len(suffix) - _DIGEST - 1].rstrip("-")
    return f"{kept}-{digest}{suffix}"
