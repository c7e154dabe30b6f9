"""Families whose modelling code is in their own repositories: read as their configs are known, marked as guesses."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from shardwise.checkpoint.blocks import Decoder, Reader
from shardwise.checkpoint.families.family import Attends, Family
from shardwise.checkpoint.fields import Fields


def _guess(family: Family) -> Reader:
    def read(fields: Fields) -> Decoder:
        return replace(family(fields), guessed=True)

    return read


FAMILIES: Final[Mapping[str, Reader]] = {
    "aquila": _guess(Family()),
    "baichuan": _guess(Family()),
    "chatglm": _guess(
        Family(
            Attends("add_qkv_bias"),
            names={
                "num_key_value_heads": "multi_query_group_num",
                "vocab_size": "padded_vocab_size",
                "intermediate_size": "ffn_hidden_size",
            },
        )
    ),
    "internlm2": _guess(Family(Attends("bias", "bias"))),
    "minicpm": _guess(Family(tied=True)),
    "xverse": _guess(Family()),
}
