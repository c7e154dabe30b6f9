"""Whether a node's labels are what a demand asks for, with the scheduler's own meaning of every operator."""

from collections.abc import Mapping, Sequence

from shardwise.domain.demand import Operator, Requirement


def matches_any(terms: Sequence[Sequence[Requirement]], labels: Mapping[str, str]) -> bool:
    """Tell whether labels meet all requirements of one of the terms. A term without any matches nothing."""
    return any(term and all(_meets(one, labels.get(one.key)) for one in term) for term in terms)


def _meets(wanted: Requirement, value: str | None) -> bool:
    match wanted.operator:
        case Operator.IN:
            return value in wanted.values
        case Operator.NOT_IN:
            return value not in wanted.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None
        case Operator.GREATER | Operator.LESS:
            return _compares(wanted, value)


def _compares(wanted: Requirement, value: str | None) -> bool:
    """Compare whole numbers; a label that is none meets nothing."""
    try:
        actual, bound = int(value or ""), int(wanted.values[0])
    except (ValueError, IndexError):
        return False
    return actual > bound if wanted.operator is Operator.GREATER else actual < bound
