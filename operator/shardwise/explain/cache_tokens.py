"""The size of a group's KV cache in words: the plan's figure beside the engine's."""

from shardwise.domain.cache_tokens import CacheTokens


def cache_text(cache: CacheTokens) -> str:
    """Say both figures: ``KV cache of 98000 tokens, 4.0 % fewer than the 102083 planned``."""
    percent = f"{abs(cache.share) * 100:.1f}"
    if percent == "0.0":
        return f"KV cache of {cache.measured} tokens, as planned"
    than = "more" if cache.share > 0 else "fewer"
    return f"KV cache of {cache.measured} tokens, {percent} % {than} than the {cache.planned} planned"
