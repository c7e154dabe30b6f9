"""How an engine deals layers out to pipeline stages."""

from functools import lru_cache


@lru_cache(maxsize=4096)
def layers_per_stage(layers: int, pipeline: int) -> tuple[int, ...]:
    """Count the layers of each stage, as vLLM splits them.

    What does not divide goes, one layer each, to the stages counted back from the last but one, never to the last.
    Source: vllm 0.33.0, distributed/utils.py. Expects ``1 <= pipeline <= layers``.
    """
    base, left = divmod(layers, pipeline)
    counts = [base] * pipeline
    for back in range(2, left + 2):
        counts[-back] += 1
    return tuple(counts)
