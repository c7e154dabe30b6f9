"""What to do about a group that failed too often, by what its last failure says. Commands and fields, to the letter."""

from typing import Final

_BY_WORDS: Final = (
    ("out of memory", "raise `spec.model.gpuMemoryReserve`, or allow more GPUs by `spec.gpuBudget.total`"),
    ("OOMKilled", "raise `spec.podTemplate.limits.memory`"),
    ("exited 137", "raise `spec.podTemplate.limits.memory`"),
    ("Evicted", "raise `spec.podTemplate.requests` to what the pods need"),
    ("unrecognized arguments", "mend `spec.engine.args`"),
    ("Permission", "check the Secret and the volume that `spec.model.source` names"),
    ("401", "check the token of `spec.model.source.huggingFace.tokenSecretRef`"),
    ("403", "check the token of `spec.model.source.huggingFace.tokenSecretRef`"),
)
"""Words of an exit or a termination message, and the remedy; the first that is found counts."""

OTHERWISE: Final = "read `kubectl logs --previous` of the pod; any edit of the spec starts the group again"


def remedy(failure: str) -> str:
    """Give the remedy for a failure, in one line."""
    return next((text for words, text in _BY_WORDS if words.lower() in failure.lower()), OTHERWISE)
