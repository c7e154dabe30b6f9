"""A hint in words and as data."""

from typing import Any

from shardwise.domain.demand import Toleration
from shardwise.domain.plan_data import layout_data
from shardwise.domain.refusal import Change, Hint
from shardwise.domain.target import Target
from shardwise.explain.targets import written_target


def hint(given: Hint) -> str:
    """Say a hint: the exact field and value, and the plan that the planner made with it."""
    tight = " tightly" if given.tight else ""
    return f"{_edit(given)}, {given.layout} fits{tight} on {given.gpus} {given.product}"


def hint_document(given: Hint) -> dict[str, Any]:
    """Give a hint as data: the field, the change, and the plan that the planner made with it."""
    return {
        "field": given.field,
        "change": given.change.value,
        "value": _plain(given.value),
        **layout_data(given.layout),
        "product": given.product,
        "gpus": given.gpus,
        "tight": given.tight,
        "text": hint(given),
    }


def _edit(given: Hint) -> str:
    match given.change:
        case Change.SET:
            return f"with `{given.field}: {_said(given.value)}`"
        case Change.ADD:
            return f"with `{_said(given.value)}` added to `{given.field}`"
        case Change.REMOVE:
            return f"with `{_said(given.value)}` taken out of `{given.field}`"
        case Change.UNSET:
            return f"without `{given.field}`"


def _said(value: object) -> str:
    if isinstance(value, Toleration):
        return f"{value.key}={value.value}:{value.effect}"
    if isinstance(value, Target):
        return "{" + ", ".join(f"{name}: {text}" for name, text in written_target(value).items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Target):
        return written_target(value)
    if not isinstance(value, Toleration):
        return value
    return {"key": value.key, "operator": value.operator, "value": value.value, "effect": value.effect}
