"""Dense decoders of the Llama kind: norms without biases, rotary positions, a gated feed-forward block."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from shardwise.checkpoint.blocks import Reader
from shardwise.checkpoint.families import reading, windows
from shardwise.checkpoint.families.family import Attends, Family, Feeds, next_token_layers
from shardwise.checkpoint.fields import Fields


def whole_qk(fields: Fields, _: int = 0) -> int:
    """Count the elements of norms over all queries and all keys."""
    return (reading.heads(fields) + reading.kv_heads(fields)) * reading.head_dim(fields)


def qk_norms(flag: str, *, vectors: int = 1, per_head: bool = False) -> Callable[[Fields, int], int]:
    """Give the elements of norms of queries and keys, where a flag switches them on.

    ``vectors``: 2 for a norm with a bias. ``per_head``: every head has weights of its own.
    """

    def count(fields: Fields, _: int) -> int:
        if not fields.flag(flag):
            return 0
        return whole_qk(fields) if per_head else 2 * vectors * reading.head_dim(fields)

    return count


def _sub_norms(fields: Fields, _: int) -> int:
    return reading.hidden(fields) + reading.columns(fields)


def _post_norms(fields: Fields, _: int) -> int:
    return 4 if fields.flag("use_post_norm") else 2


ALL_BIASES: Final = Attends("attention_bias", "attention_bias")
LLAMA: Final = Family(ALL_BIASES, Feeds(bias="mlp_bias"))
GLM: Final = Family(Attends("attention_bias"))
GEMMA: Final = Family(ALL_BIASES, tied=True)
GEMMA2: Final = replace(GEMMA, attention=replace(ALL_BIASES, window=windows.alternating), norms=4)
OLMO2: Final = Family(replace(ALL_BIASES, norm_size=whole_qk))
QWEN3: Final = Family(replace(ALL_BIASES, qk_norm=True, window=windows.switched_on))
COHERE: Final = Family(replace(ALL_BIASES, norm_size=qk_norms("use_qk_norm", per_head=True)), norms=1, tied=True)
STABLELM: Final = Family(
    Attends("use_qkv_bias", norm_size=qk_norms("qk_layernorm", per_head=True)),
    norms=lambda fields, _: 2 if fields.flag("use_parallel_residual") else 4,
    final=2,
)

APERTUS: Final = Family(replace(ALL_BIASES, qk_norm=True), Feeds(gated=False), small=2)

FAMILIES: Final[Mapping[str, Reader]] = {
    "llama": LLAMA,
    "apertus": APERTUS,
    "apertus1p5_text": APERTUS,
    "arcee": Family(ALL_BIASES, Feeds(gated=False, bias="mlp_bias")),
    "bitnet": Family(ALL_BIASES, small=_sub_norms),
    "cohere": COHERE,
    "cohere2": replace(COHERE, attention=replace(ALL_BIASES, window=windows.every(4, "sliding_window_pattern"))),
    "cwm": LLAMA,
    "ernie4_5": Family(Attends("use_bias", "use_bias"), Feeds(bias="use_bias"), tied=True),
    "exaone": LLAMA,
    "exaone4": Family(Attends(qk_norm=True, window=windows.every(4, "sliding_window_pattern"))),
    "gemma": GEMMA,
    "gemma2": GEMMA2,
    "gemma3_text": Family(
        replace(ALL_BIASES, qk_norm=True, window=windows.every(6, "sliding_window_pattern", "_sliding_window_pattern")),
        norms=4,
        tied=True,
    ),
    "glm": GLM,
    "glm4": replace(GLM, norms=4),
    "granite": LLAMA,
    "granite_swa": Family(replace(ALL_BIASES, sinks=True), Feeds(bias="mlp_bias"), tied=True),
    "helium": Family(Attends("attention_bias"), Feeds(bias="mlp_bias")),
    "hunyuan_v1_dense": Family(replace(ALL_BIASES, qk_norm=True)),
    "hyperclovax": replace(LLAMA, norms=_post_norms),
    "internlm3": Family(Attends("qkv_bias|attention_bias", "bias|attention_bias"), Feeds(bias="bias|mlp_bias")),
    "iquestcoder": LLAMA,
    "mimo": Family(Attends("attention_bias", window=windows.switched_on), drafts=next_token_layers()),
    "ministral": LLAMA,
    "ministral3": LLAMA,
    "mistral": LLAMA,
    "nanochat": Family(ALL_BIASES, Feeds(gated=False), norms=0, final=0),
    "olmo": Family(ALL_BIASES, norms=0, final=0),
    "olmo2": OLMO2,
    "olmo3": replace(OLMO2, attention=replace(ALL_BIASES, norm_size=whole_qk, window=windows.every(4))),
    "phi3": LLAMA,
    "qwen2": Family(Attends(bias=True, window=windows.switched_on)),
    "qwen3": QWEN3,
    "seed_oss": Family(Attends("attention_bias", "attention_out_bias"), Feeds(bias="mlp_bias")),
    "smollm3": replace(LLAMA, tied=True),
    "stablelm": STABLELM,
    "vaultgemma": replace(GEMMA2, norms=2),
}
