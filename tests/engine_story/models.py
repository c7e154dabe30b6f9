"""Writes tiny random models with a tokenizer. Runs in the engine's environment: ``models.py FOLDER``."""

import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)


def _tokenizer() -> tuple[PreTrainedTokenizerFast, dict[str, int]]:
    words = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    ends = {name: len(words) + place for place, name in enumerate(("<s>", "</s>"))}
    made = Tokenizer(models.BPE(vocab=words | ends, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>"), ends


def main(folder: Path) -> None:
    """Write a dense model and a mixture of experts."""
    tokenizer, ends = _tokenizer()
    common: dict[str, Any] = {
        "vocab_size": 320,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,  # the smallest that the engine's attention on CPUs takes
        "max_position_embeddings": 2048,
        "bos_token_id": ends["<s>"],
        "eos_token_id": ends["</s>"],
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    # With an expert for each token, its output is not rounded before a sum over ranks: the same tokens in each layout.
    experts = {"num_experts": 4, "num_experts_per_tok": 1, "moe_intermediate_size": 128, "decoder_sparse_step": 1}
    kinds = {
        "dense": (LlamaForCausalLM, LlamaConfig(**common)),
        "experts": (Qwen3MoeForCausalLM, Qwen3MoeConfig(**common, **experts)),
    }
    for name, (kind, config) in kinds.items():
        torch.manual_seed(7)
        model = kind(config).to(torch.bfloat16)
        for weight in model.parameters():  # small initial weights make every next token alike
            if weight.dim() > 1:
                weight.data.mul_(4)
        model.save_pretrained(folder / name, safe_serialization=True)
        tokenizer.save_pretrained(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
