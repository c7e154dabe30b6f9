"""Whether a node's labels match a demand. Every operator means the same as in the Kubernetes scheduler."""

from collections.abc import Mapping, Sequence

from shardwise.domain.demand import Operator, Requirement


def matches_any(terms: Sequence[Sequence[Requirement]], labels: Mapping[str, str]) -> bool:
    """Tell whether labels meet all requirements of any term. A term without requirements matches nothing."""
    return any(term and all(_meets(wanted, labels.get(wanted.key)) for wanted in term) for term in terms)


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
    """Compare whole numbers. A label with another value meets nothing."""
    try:
        actual, bound = int(value or ""), int(wanted.values[0])
    except (ValueError, IndexError):
        return False
    return actual > bound if wanted.operator is Operator.GREATER else actual < bound
