"""The rules of the chart's roles: those of the whole cluster, and those of the namespaces that the operator serves."""

from collections.abc import Iterator
from typing import Any, Final

import yaml
from tests.support.repository import ROOT

Rule = dict[str, Any]
Right = tuple[str, str, tuple[str, ...]]

CLUSTER: Final = "shardwise.rules.cluster"
SERVED: Final = "shardwise.rules.served"
ATTACHED: Final = "shardwise.rules.{}"
"""The rules of a kind of attachment, by its name."""


def rules(name: str) -> list[Rule]:
    """Read the rules of a template, which hold no template words."""
    text = (ROOT / "charts" / "shardwise" / "templates" / "_rules.tpl").read_text()
    body = text.partition(f'define "{name}" -}}}}')[2].partition("{{- end")[0]
    found: list[Rule] = yaml.safe_load(body)
    return found


def rights(name: str) -> Iterator[Right]:
    """Give the rights of a template: group, resource and verbs."""
    for rule in rules(name):
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                yield group, resource, tuple(rule["verbs"])


def allowed(name: str, group: str, resource: str, verb: str) -> bool:
    """Tell whether the rules of a template allow a verb on a resource, as RBAC does."""
    return any((group, resource) == (of, what) and verb in verbs for of, what, verbs in rights(name))
