"""vLLM's own model classes on the meta device, for a rank of a pretended tensor group."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_LAYERS = 4
"""Layers that a model is cut to: which split is legal does not depend on their number."""


class _Group:
    """As much of vLLM's GroupCoordinator as constructors of models ask for: this process is rank 0."""

    def __init__(self, size: int) -> None:
        self.world_size = size
        self.rank_in_group = self.rank = self.local_rank = self.first_rank = 0
        self.next_rank = self.prev_rank = 0
        self.last_rank = size - 1
        self.ranks = list(range(size))
        self.device = torch.device("meta")
        self.use_custom_op_call = False
        self.unique_name = "pretended"
        self.mq_broadcaster = self.device_communicator = None
        group = type("ProcessGroup", (), {"size": lambda _: size, "rank": lambda _: 0})()
        self.cpu_group = self.device_group = group
        self.is_first_rank = True
        self.is_last_rank = size == 1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


def pretend_groups(tensor: int) -> None:
    """Install the groups of rank 0 in a tensor group."""
    import vllm.distributed.parallel_state as state  # noqa: PLC0415 - after the platform

    sizes = {"_TP": tensor, "_PP": 1, "_DP": 1, "_EP": tensor, "_PCP": 1, "_DCP": 1, "_WORLD": tensor, "_EPLB": tensor}
    for name, size in sizes.items():
        if hasattr(state, name):
            setattr(state, name, _Group(size))
    for name in ("_NODE_COUNT", "_INNER_DP_WORLD"):
        if hasattr(state, name):
            setattr(state, name, 1)


def model_config(folder: Path, **given: Any) -> Any:
    """Read a folder's config.json as vLLM does. Raises whatever vLLM raises."""
    from vllm.config import ModelConfig  # noqa: PLC0415

    options = {"tokenizer": str(folder), "skip_tokenizer_init": True, "max_model_len": 2048, "dtype": "auto"}
    return ModelConfig(model=str(folder), **(options | given))


def build(model: Any, tensor: int = 1, *, expert: bool = False, kv_cache_dtype: str = "auto") -> Any:
    """Build the model class for rank 0 of a tensor group. Gives vLLM's configuration. Raises whatever vLLM raises."""
    from vllm.config import CacheConfig, ParallelConfig, VllmConfig  # noqa: PLC0415
    from vllm.model_executor.model_loader.utils import initialize_model  # noqa: PLC0415

    parallel = ParallelConfig(
        tensor_parallel_size=tensor, nnodes=tensor, distributed_executor_backend="mp", enable_expert_parallel=expert
    )
    model.verify_with_parallel_config(parallel)
    pretend_groups(tensor)
    whole = VllmConfig(
        model_config=model, parallel_config=parallel, cache_config=CacheConfig(cache_dtype=kv_cache_dtype)
    )
    whole.compilation_config.static_forward_context.clear()
    with _on_meta(model.dtype):
        initialize_model(whole)
    return whole


@contextlib.contextmanager
def _on_meta(dtype: Any) -> Iterator[None]:
    from vllm import platforms  # noqa: PLC0415

    platform: Any = type(platforms.current_platform)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    platform.device_type = "meta"
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)
        platform.device_type = "cuda"


def cut(model: Any) -> None:
    """Cut the layers of a config to :data:`_LAYERS`, and the lists that have an entry for each layer."""
    parts = (model.hf_config, model.hf_text_config, getattr(model.hf_config, "vision_config", None))
    for part in {id(found): found for found in parts if found is not None}.values():
        for name in ("num_hidden_layers", "depth"):
            layers = getattr(part, name, None)
            if isinstance(layers, int) and layers > _LAYERS:
                setattr(part, name, _LAYERS)
                for other, value in list(vars(part).items()):
                    if isinstance(value, list) and len(value) >= layers and other != "architectures":
                        setattr(part, other, value[:_LAYERS])
        pattern = vars(part).get("hybrid_override_pattern")  # newer configs derive it from the list of layers
        if isinstance(pattern, str):
            part.hybrid_override_pattern = pattern[: part.num_hidden_layers]
