"""The words for the causes why a layout cannot serve a role."""

from shardwise.domain.role_causes import DecodeStages, PrefillStages, PrefillWider, ShareShort, TensorApart
from shardwise.domain.units import plural


def decode_stages(why: DecodeStages) -> str:
    """Say that decode has several stages."""
    as_prefill = ", or in as many stages as prefill" if why.or_as_prefill else ""
    return f"decode of {why.engine} takes KV caches in one stage{as_prefill}, not in {why.pipeline}"


def decode_stages_of_many(why: DecodeStages) -> str:
    """Say of many layouts that they give decode several stages."""
    as_prefill = ", or in as many stages as prefill" if why.or_as_prefill else ""
    return f"give decode several stages, and decode of {why.engine} takes KV caches in one stage{as_prefill}"


def prefill_stages(why: PrefillStages) -> str:
    """Say that prefill has several stages."""
    return (
        f"prefill of {why.engine} cannot send KV caches from {why.pipeline} stages: the layers of the model keep "
        "several kinds of cache"
    )


def prefill_stages_of_many(why: PrefillStages) -> str:
    """Say of many layouts that they give prefill several stages."""
    return (
        f"give prefill several stages, from which {why.engine} cannot send KV caches: the layers of the model keep "
        "several kinds of cache"
    )


def tensor_apart(why: TensorApart) -> str:
    """Say that the tensor degrees of both roles do not suit each other."""
    wanted = "they must be equal with grouped attention" if why.equal else "one must divide the other"
    return f"prefill of {why.engine} has tensor degree {why.prefill} and decode has {why.decode}: {wanted}"


def prefill_wider(why: PrefillWider) -> str:
    """Say that prefill is too much wider than decode."""
    return (
        f"prefill of {why.engine} has tensor degree {why.prefill}, decode has {why.decode}: a larger degree of prefill "
        f"is possible up to the {plural(why.kv_heads, 'KV head')} of the model"
    )


def share_short(why: ShareShort) -> str:
    """Say how many GPUs a role needs, and how many the other role leaves of the budget."""
    return f"{plural(why.needed, 'GPU')} needed for {_of_role(why)}, {_shared(why)}"


def share_short_of_many(why: ShareShort) -> str:
    """Say the same of many layouts, with the GPUs of the smallest."""
    return f"need {plural(why.needed, 'GPU')} or more for {_of_role(why)}, {_shared(why)}"


def _of_role(why: ShareShort) -> str:
    return f"{plural(why.replicas, 'replica')} of {why.role}"


def _shared(why: ShareShort) -> str:
    return f"`spec.gpuBudget.total` allows {why.total}, and {why.other} takes {why.taken}"
