"""How a model is split: data, tensor and pipeline degrees, experts whole or split, caches by context."""

from typing import NamedTuple


class Layout(NamedTuple):
    """``tensor`` GPUs share each layer of a stage; ``pipeline`` stages hold the layers one after the other.

    ``data`` such tensor groups work on a stage, each with the attention of sequences of its own; together they hold the
    experts. ``expert``: the experts of a mixture are dealt out whole over the GPUs of a stage. Otherwise each expert is
    split over them. ``context`` GPUs of a tensor group divide the tokens of a sequence's cache.
    """

    tensor: int
    pipeline: int
    expert: bool = False
    data: int = 1
    context: int = 1

    @property
    def world_size(self) -> int:
        """The number of GPUs that hold the model."""
        return self.data * self.tensor * self.pipeline

    @property
    def data_rank_gpus(self) -> int:
        """The number of GPUs of a data rank."""
        return self.tensor * self.pipeline

    @property
    def stage_gpus(self) -> int:
        """The number of GPUs that hold a stage, and share its experts."""
        return self.data * self.tensor

    @property
    def of_stage(self) -> "Layout":
        """The layout of a stage alone. Most rules and sizes are those of a stage, however many stages there are."""
        return Layout(self.tensor, 1, self.expert, self.data, self.context)

    @property
    def tensor_groups(self) -> int:
        """The number of tensor groups, of all stages together."""
        return self.data * self.pipeline

    def __str__(self) -> str:
        """Say the layout as people do: ``TP8×PP2 EP``, ``DP2×TP4×PP1 EP``. Degrees that few use are said if above 1."""
        data, context = f"DP{self.data}×" if self.data > 1 else "", f" CP{self.context}" if self.context > 1 else ""
        return f"{data}TP{self.tensor}×PP{self.pipeline}{' EP' if self.expert else ''}{context}"
