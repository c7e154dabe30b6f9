"""The degrees that each engine allows to prefill and decode of a model, as data and in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts
from shardwise.domain.roles import Half, Role, RoleName
from shardwise.planner.legality import legal_pipelines, legal_tensors
from shardwise.planner.transfer_support import transfer_cause, transfers_of

Document = dict[str, Any]


def roles_document(model: ModelFacts, engine: EngineName) -> Document:
    """Give the connectors of an engine, each with its first release, and the degrees of each role of a model.

    ``pipeline`` lists the stages beside a role of a single stage, ``pipelineAsOther`` those beside as many stages.
    ``pairs`` lists tensor degrees of prefill with the degrees of decode that may take their caches.
    """
    return {
        "connectors": dict(transfers_of(engine).connectors),
        **{name.value: _stages(model, engine, name) for name in (RoleName.PREFILL, RoleName.DECODE)},
        "pairs": [{"prefill": list(prefill), "decode": list(decode)} for decode, prefill in _pairs(model, engine)],
    }


def roles_text(document: Document) -> str:
    """Say the degrees of both roles. ``document`` is one of :func:`roles_document`."""
    roles = (f"{name.value} {_stages_text(document[name.value])}" for name in (RoleName.PREFILL, RoleName.DECODE))
    by = ", ".join(f"{name} ({since} or later)" for name, since in document["connectors"].items())
    return f"{_pairs_text(document['pairs'])}; {'; '.join(roles)}; by {by}"


def _stages(model: ModelFacts, engine: EngineName, name: RoleName) -> Document:
    legal = legal_pipelines(model, engine)

    def allowed(stages: int, other: int) -> bool:
        half = Half(Role(name), Layout(1, other))
        return transfer_cause(model, engine, Layout(1, stages), half) is None

    return {
        "pipeline": [stages for stages in legal if allowed(stages, 1)],
        "pipelineAsOther": [stages for stages in legal if allowed(stages, stages)],
    }


def _pairs(model: ModelFacts, engine: EngineName) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Give degrees of decode with all degrees of prefill whose caches they may take."""
    tensors = legal_tensors(model, engine)
    grouped: dict[tuple[int, ...], list[int]] = {}
    for prefill in tensors:
        half = Half(Role(RoleName.DECODE), Layout(prefill, 1))
        decode = tuple(degree for degree in tensors if transfer_cause(model, engine, Layout(degree, 1), half) is None)
        grouped.setdefault(decode, []).append(prefill)
    yield from ((decode, tuple(prefill)) for decode, prefill in grouped.items())


def _pairs_text(pairs: list[Mapping[str, list[int]]]) -> str:
    if len(pairs) == 1:
        return "any TP of prefill with any TP of decode"
    if all(pair["prefill"] == pair["decode"] for pair in pairs):
        return "the same TP in prefill and decode"
    return "; ".join(
        f"prefill TP {_listed(pair['prefill'])} with decode TP {_listed(pair['decode'])}" for pair in pairs
    )


def _stages_text(stages: Document) -> str:
    most, as_other = stages["pipeline"][-1], stages["pipelineAsOther"][-1]
    if as_other > most:
        return "no PP, or the same PP"
    return f"PP 1 to {most}" if most > 1 else "no PP"


def _listed(degrees: list[int]) -> str:
    return ", ".join(map(str, degrees))
