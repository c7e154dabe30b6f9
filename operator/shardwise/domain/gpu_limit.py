"""Limits on the GPUs that the pods of a namespace may hold together."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuLimit:
    """A limit on the GPUs of a namespace, as an object of the namespace meets it.

    ``name`` says where the limit stands, in the words of a message. ``resource`` is the name that the limit gives to
    GPUs, such as ``requests.nvidia.com/gpu``; empty if it counts all GPUs. ``hard`` is the limit. ``used`` counts the
    GPUs that all others in the namespace hold or have planned.
    """

    name: str
    resource: str
    hard: int
    used: int

    @property
    def left(self) -> int:
        """The GPUs that the object may hold."""
        return max(0, self.hard - self.used)
