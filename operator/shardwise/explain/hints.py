"""A hint in words, and as the edit of the object it stands for."""

from typing import Any

from shardwise.domain.demand import Toleration
from shardwise.domain.refusal import Change, Hint
from shardwise.explain.documents import layout_document


def hint(one: Hint) -> str:
    """Say a hint: the exact field and value, and the plan that was then made."""
    tight = " tightly" if one.tight else ""
    return f"{_edit(one)}, {one.layout} fits{tight} on {one.gpus} {one.product}"


def hint_document(one: Hint) -> dict[str, Any]:
    """Give a hint as data: what to do to which field, and what the planner then found."""
    return {
        "field": one.field,
        "change": one.change.value,
        "value": _plain(one.value),
        **layout_document(one.layout),
        "product": one.product,
        "gpus": one.gpus,
        "tight": one.tight,
        "text": hint(one),
    }


def _edit(one: Hint) -> str:
    match one.change:
        case Change.SET:
            return f"with `{one.field}: {_said(one.value)}`"
        case Change.ADD:
            return f"with `{_said(one.value)}` added to `{one.field}`"
        case Change.REMOVE:
            return f"with `{_said(one.value)}` taken out of `{one.field}`"
        case Change.UNSET:
            return f"without `{one.field}`"


def _said(value: object) -> str:
    if isinstance(value, Toleration):
        return f"{value.key}={value.value}:{value.effect}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(value, Toleration):
        return value
    return {"key": value.key, "operator": value.operator, "value": value.value, "effect": value.effect}
