"""What an object's arguments add to the memory of a GPU: LoRA adapters, sequences, and parts that no plan counts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from shardwise.domain.engine import EngineName


@dataclass(frozen=True, slots=True)
class Adapters:
    """The LoRA adapters that an engine makes room for when it starts: their number, and the rank of each."""

    count: int
    rank: int


@dataclass(frozen=True, slots=True)
class _Words:
    """An engine's words for adapters: the switches, and the number and the rank with their defaults."""

    switches: tuple[str, ...]
    count: tuple[str, int]
    rank: tuple[str, int]


_WORDS: Final[Mapping[EngineName, _Words]] = {
    EngineName.VLLM: _Words(("--enable-lora",), ("--max-loras", 1), ("--max-lora-rank", 16)),
    EngineName.SGLANG: _Words(("--enable-lora", "--lora-paths"), ("--max-loras-per-batch", 8), ("--max-lora-rank", 0)),
}
"""vllm 0.33.0, config/lora.py; sglang 0.5.23, which reads the rank off the adapters unless it is given."""

_UNCOUNTED: Final[Mapping[EngineName, tuple[str, ...]]] = {
    EngineName.VLLM: (
        "--speculative-config",
        "--spec-method",
        "--spec-model",
        "--disable-hybrid-kv-cache-manager",
        "--enable-eplb",
    ),
    EngineName.SGLANG: (
        "--speculative-algorithm",
        "--speculative-draft-model-path",
        "--disable-hybrid-swa-memory",
        "--enable-eplb",
    ),
}
"""Words that make an engine hold more than a plan counts: a draft model, whole contexts in sliding layers, or the
buffers that exchange experts."""

_UNCOUNTED_OPTIONS: Final = ("speculative_config", "lora_config")
"""Entries of TensorRT-LLM's options file with the same effect (tensorrt_llm 1.2.1, llmapi/llm_args.py)."""

ALL_TO_ALL: Final[Mapping[EngineName, str]] = {
    EngineName.VLLM: "--all2all-backend",
    EngineName.SGLANG: "--moe-a2a-backend",
}
"""The words that name the backend by which data ranks exchange tokens for their experts."""

_DEEPEP_MODE: Final = "--deepep-mode"

_SHORT: Final[Mapping[str, str]] = {"-sc": "--speculative-config"}
"""Short forms of vLLM, with the long words they stand for."""

_SEQUENCES: Final = "--max-num-seqs"

_ABBREVIATED: Final = len("--e")
"""Letters of the shortest abbreviation that is taken for a word."""

_WIDENS_STATES: Final[Mapping[EngineName, tuple[str, ...]]] = {
    EngineName.VLLM: ("--mamba-cache-dtype", "--mamba-ssm-cache-dtype"),
    EngineName.SGLANG: ("--mamba-ssm-dtype",),
}
"""Words that may make the states of a sequence larger than the plan counts them: with the value ``float32``."""


def adapters_of(engine: EngineName, args: Sequence[str]) -> Adapters | None:
    """Read the adapters off an object's arguments; ``None`` without adapters, or if their rank is not known."""
    words = _WORDS.get(engine)
    given = dict(_given(engine, args))
    if words is None or not any(switch in given for switch in words.switches):
        return None
    count, rank = (_number(given.get(word), default) for word, default in (words.count, words.rank))
    return Adapters(count, rank) if count and rank else None


def uncounted_options(options: Mapping[str, object]) -> tuple[str, ...]:
    """List the entries of an options file whose memory no plan counts, in the order of the file."""
    return tuple(entry for entry, value in options.items() if entry in _UNCOUNTED_OPTIONS and value)


def uncounted(engine: EngineName, args: Sequence[str]) -> tuple[str, ...]:
    """List the arguments whose memory no plan counts, in the order of the arguments."""
    known = {*_UNCOUNTED.get(engine, ())}
    words = _WORDS.get(engine)
    if words is not None and adapters_of(engine, args) is None:
        known |= {*words.switches}
    widens = _WIDENS_STATES.get(engine, ())
    given = _given(engine, args)
    found = (word for word, value in given if word in known or (word in widens and value == "float32"))
    return tuple(dict.fromkeys(found))


def sequences_of(engine: EngineName, args: Sequence[str]) -> int | None:
    """Read the number of sequences in a step off an object's arguments for vLLM: the last one counts."""
    given = dict(_given(engine, args)).get(_SEQUENCES) if engine is EngineName.VLLM else None
    return _number(given, 0) or None


def all_to_all_of(engine: EngineName, args: Sequence[str]) -> str | None:
    """Read the backend of the all-to-all off an object's arguments; ``None`` if they leave it to the engine.

    SGLang has modes of DeepEP, which need different buffers: a mode other than ``auto`` follows the backend's name.
    """
    given = dict(_given(engine, args))
    backend = given.get(ALL_TO_ALL.get(engine, ""))
    mode = given.get(_DEEPEP_MODE, "auto") if engine is EngineName.SGLANG and backend == "deepep" else "auto"
    return backend if backend is None or mode == "auto" else f"{backend} {mode}"


def redundant_experts(engine: EngineName, args: Sequence[str]) -> int:
    """Count the redundant experts of a stage that an object's arguments ask for; 0 without them.

    vLLM takes an object (``--eplb-config``) or a word for its key, SGLang a word of its own.
    """
    words = ((word.partition("="), args[index + 1 : index + 2]) for index, word in enumerate(args))
    given = {name.replace("_", "-"): value or "".join(after) for (name, _, value), after in words}
    if engine is EngineName.VLLM:
        return _number(given.get("--eplb-config.num-redundant-experts"), _in_config(given.get("--eplb-config")))
    return _number(given.get("--ep-num-redundant-experts"), 0) if engine is EngineName.SGLANG else 0


def expert_slots(options: Mapping[str, object]) -> int | None:
    """Read the places for experts, redundant ones included, off an options file of TensorRT-LLM; ``None`` without them.

    Source: tensorrt_llm/_torch/modules/fused_moe/interface.py, ``num_local_slots``.
    """
    found: object = options
    for step in ("moe_config", "load_balancer", "num_slots"):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def _in_config(text: str | None) -> int:
    try:
        read = json.loads(text or "{}")
    except ValueError:
        return 0  # vLLM refuses it
    found = read.get("num_redundant_experts") if isinstance(read, dict) else None
    return found if isinstance(found, int) and found > 0 else 0


def _given(engine: EngineName, args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give each option by its whole word, with its value, attached or apart."""
    known = _known(engine)
    for index, word in enumerate(args):
        if word.startswith("-"):
            name, _, value = word.partition("=")
            yield _whole_word(name, known), value or "".join(args[index + 1 : index + 2])


def _whole_word(name: str, known: Sequence[str]) -> str:
    """Spell a word as here: underscores are hyphens, and parsers take abbreviations and ``--word.key`` of an object.

    An engine refuses an abbreviation that may be several words.
    """
    plain = name.partition(".")[0].replace("_", "-")
    plain = _SHORT.get(plain, plain)
    if plain in known or len(plain) < _ABBREVIATED:
        return plain
    return next((word for word in known if word.startswith(plain)), plain)


@cache
def _known(engine: EngineName) -> tuple[str, ...]:
    words = _WORDS.get(engine)
    adapters = (*words.switches, words.count[0], words.rank[0]) if words is not None else ()
    others = (_SEQUENCES, *(word for word in (ALL_TO_ALL.get(engine), _DEEPEP_MODE) if word is not None))
    return (*adapters, *_UNCOUNTED.get(engine, ()), *_WIDENS_STATES.get(engine, ()), *others)


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else default
