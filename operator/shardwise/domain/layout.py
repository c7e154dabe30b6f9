"""How a model is split: tensor degree, pipeline degree, experts whole or split."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Layout:
    """``tensor`` GPUs share each layer of a stage; ``pipeline`` stages hold the layers one after the other.

    ``expert``: the experts of a mixture are dealt out whole over the tensor group. Otherwise each expert is split.
    """

    tensor: int
    pipeline: int
    expert: bool = False

    @property
    def world_size(self) -> int:
        """The number of GPUs that hold the model."""
        return self.tensor * self.pipeline

    def __str__(self) -> str:
        """Say the layout as people do: ``TP8×PP2 EP``."""
        return f"TP{self.tensor}×PP{self.pipeline}{' EP' if self.expert else ''}"
