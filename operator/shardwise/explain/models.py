"""A model's facts as data and in words: its sizes, and the degrees that each engine allows."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from shardwise.domain.engine import EngineName
from shardwise.domain.layout import Layout
from shardwise.domain.model import ModelFacts, StateCache, Weight
from shardwise.domain.units import gib, plural
from shardwise.explain.causes import cause
from shardwise.explain.model_roles import roles_document, roles_text
from shardwise.planner.caches import kv_bytes_per_token
from shardwise.planner.engine_support import refused_by
from shardwise.planner.legality import has_experts, illegal, legal_pipelines, legal_tensors
from shardwise.planner.weights import checkpoint_scale, loaded_bytes

_FP8_BYTES: Final = 1
_PLAIN_BYTES: Final = 2
_DATA: Final = tuple(2**exponent for exponent in range(1, 10))
_BILLION: Final = 10**9
_MILLION: Final = 10**6


def model_document(model: ModelFacts) -> dict[str, Any]:
    """Give the facts as JSON data: sizes of the whole model, and the legal degrees of each engine.

    ``weightBytes`` counts the weights that an engine loads to serve, without drafts and derived weights.
    ``refusedBy`` says why the release of an engine that we read does not load the model.
    ``roles`` says which layouts of prefill and decode may exchange KV caches.
    ``kvBytesPerToken`` counts the keys and values of a token in all layers, in the checkpoint's dtype, else in 16 bits.
    ``stateBytesPerSequence`` is a state as vLLM keeps it, without padding.
    """
    return {
        "name": model.name,
        "architecture": model.architecture,
        "origin": model.origin,
        "guessed": model.guessed,
        "notes": list(model.notes),
        "parameters": parameters(model),
        "activeParameters": active_parameters(model),
        "layers": len(model.order),
        "contextLength": model.context_length,
        "quantization": model.quantization.value,
        "kvCacheDtype": model.kv_cache_dtype,
        "weightBytes": round(loaded_bytes(model) * checkpoint_scale(model)),
        "checkpointBytes": checkpoint_bytes(model),
        "drafts": {"parameters": _elements(model.drafts), "bytes": round(_bytes(model.drafts))},
        "kvBytesPerToken": round(kv_bytes_per_token(model, _cache_element(model))),
        "stateBytesPerSequence": _state_bytes(model),
        "legal": {engine.value: _legal(model, engine) for engine in EngineName},
        "roles": {engine.value: roles_document(model, engine) for engine in EngineName},
        "refusedBy": {engine.value: cause(why) for engine in EngineName if (why := refused_by(engine, model))},
    }


def parameters(model: ModelFacts) -> int:
    """Count the parameters that an engine loads to serve."""
    return _elements(weight for weight in model.loaded() if not weight.derived)


def active_parameters(model: ModelFacts) -> int:
    """Count the parameters that a token uses. Of the routed experts, only the active experts count."""
    return sum(
        weight.elements * weight.experts.active // weight.experts.count if weight.experts else weight.elements
        for weight in model.loaded()
        if not weight.derived
    )


def checkpoint_bytes(model: ModelFacts) -> int:
    """Give the checkpoint's bytes with drafts: the published size, or else the counted size."""
    return model.checkpoint_bytes or round(loaded_bytes(model) + _bytes(model.drafts))


def model_text(model: ModelFacts) -> str:
    """Say the facts for people, each in a line."""
    return "\n".join(_lines(model))


def _lines(model: ModelFacts) -> Iterator[str]:
    document = model_document(model)
    guess = ", a guess" if model.guessed else ""
    yield f"`{model.name}`: {model.architecture}, {plural(len(model.order), 'layer')}{guess}"
    yield _line("parameters", _parameters(document))
    yield _line("weights", _weights(document))
    yield _line("KV cache", _cache(document))
    yield _line("context", f"{model.context_length} tokens")
    for engine, legal in document["legal"].items():
        yield _line(engine, document["refusedBy"].get(engine) or _degrees(legal))
        if engine not in document["refusedBy"]:
            yield _line("", f"roles: {roles_text(document['roles'][engine])}")
    yield _line("facts", f"from {model.origin}")
    for note in model.notes:
        yield _line("note", note)


def _line(label: str, said: str) -> str:
    return f"  {label:<13} {said}"


def _parameters(document: dict[str, Any]) -> str:
    whole, active, drafts = document["parameters"], document["activeParameters"], document["drafts"]["parameters"]
    said = _counted(whole)
    if active != whole:
        said += f", {_counted(active)} active per token"
    return said + (f"; {_counted(drafts)} more that draft tokens" if drafts else "")


def _weights(document: dict[str, Any]) -> str:
    stored = "unquantised" if document["quantization"] == "none" else document["quantization"]
    said = f"{gib(document['weightBytes'])} loaded, {stored}"
    return f"{said}; checkpoint {gib(document['checkpointBytes'])}"


def _cache(document: dict[str, Any]) -> str:
    said = f"{document['kvBytesPerToken']} bytes per token"
    if document["kvCacheDtype"]:
        said += f" in {document['kvCacheDtype']}, as the checkpoint states"
    state = document["stateBytesPerSequence"]
    return said + (f"; {state} bytes of state per sequence" if state else "")


def _degrees(legal: dict[str, list[int]]) -> str:
    tensor, pipeline = ", ".join(map(str, legal["tensor"])), legal["pipeline"]
    said = f"TP {tensor}; PP 1 to {pipeline[-1]}" if len(pipeline) > 1 else f"TP {tensor}; no PP"
    said += f"; EP {', '.join(map(str, legal['expert']))}" if legal["expert"] else ""
    return said + (f"; DP {', '.join(map(str, legal['data']))}" if legal["data"] else "")


def _legal(model: ModelFacts, engine: EngineName) -> dict[str, list[int]]:
    """List the degrees that an engine allows; ``expert`` lists degrees at which whole experts are dealt out.

    ``data`` lists powers of two, for data ranks of a GPU each; empty for models without experts.
    """
    experts = legal_tensors(model, engine, expert=True) if has_experts(model) else ()
    return {
        "tensor": list(legal_tensors(model, engine)),
        "pipeline": list(legal_pipelines(model, engine)),
        "expert": [degree for degree in experts if degree > 1],
        "data": list(_data_degrees(model, engine)),
    }


def _data_degrees(model: ModelFacts, engine: EngineName) -> Iterator[int]:
    for degree in _DATA if has_experts(model) else ():
        if illegal(model, engine, Layout(1, 1, expert=True, data=degree)) is None:
            yield degree


def _cache_element(model: ModelFacts) -> int:
    return _FP8_BYTES if model.kv_cache_dtype == "fp8" else _PLAIN_BYTES


def _state_bytes(model: ModelFacts) -> int:
    states = (state for kind in model.order for state in (model.kinds[kind].cache, model.kinds[kind].state))
    return sum(state.size for state in states if isinstance(state, StateCache))


def _elements(weights: Iterable[Weight]) -> int:
    return sum(weight.elements for weight in weights)


def _bytes(weights: Iterable[Weight]) -> float:
    return sum(weight.size for weight in weights)


def _counted(count: int) -> str:
    return f"{count / _BILLION:.2f} billion" if count >= _BILLION else f"{count / _MILLION:.1f} million"
