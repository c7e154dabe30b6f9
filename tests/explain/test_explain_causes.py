"""Each cause, rule and hint in words, to the letter: fact with number and unit first; and the same as data."""

import dataclasses
import json

import pytest
from tests.support.causes import CAUSES

from shardwise.domain.data_causes import (
    ContextUneven,
    ContextUnsupported,
    DataAlone,
    DataOfDense,
    DataUnsupported,
    ExchangeAcross,
    ExchangeNeedsData,
    ExchangeNeedsWhole,
    ExpertsAcross,
    HiddenUnsupported,
    RanksUnsupported,
    TooFewExperts,
)
from shardwise.domain.demand import Toleration
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Rule
from shardwise.domain.refusal import (
    ArchitectureUnknown,
    BlockSplit,
    CapabilityShort,
    CapabilityUnsupported,
    Cause,
    Change,
    DomainTooSmall,
    Hint,
    KernelSplit,
    LoadingShort,
    MemoryShort,
    Merit,
    MethodUnloadable,
    MoreGpus,
    NoExperts,
    NoRoom,
    NotDivisible,
    OverBudget,
    OverQuota,
    PipelineUnsupported,
    PodsShort,
    Preferred,
    Slower,
    Tight,
    TooManyStages,
    TowerNotDivisible,
)
from shardwise.domain.role_causes import (
    ContextApart,
    DecodeStages,
    PrefillStages,
    PrefillWider,
    ShareShort,
    TensorApart,
)
from shardwise.domain.target_causes import Dearer, FirstTokenLate, PriceUnknown, TokensSlow
from shardwise.domain.units import GIB
from shardwise.explain.causes import cause, fate, numbers
from shardwise.explain.hints import hint, hint_document
from shardwise.explain.rules import rule

SAID: list[tuple[Cause, str]] = [
    (DecodeStages("vllm", 2), "decode of vllm takes KV caches in one stage, not in 2"),
    (
        PrefillStages("vllm", 2),
        "prefill of vllm cannot send KV caches from 2 stages: the layers of the model keep several kinds of cache",
    ),
    (
        TensorApart("sglang", 2, 4, equal=True),
        "prefill of sglang has tensor degree 2 and decode has 4: they must be equal with grouped attention",
    ),
    (
        PrefillWider("vllm", 16, 8, 8),
        (
            "prefill of vllm has tensor degree 16, decode has 8: a larger degree of prefill is possible up to the 8 KV "
            "heads of the model"
        ),
    ),
    (
        ContextApart("vllm", "decode", 4, (1, 8)),
        "decode of vllm cannot move KV caches that 4 GPUs divide (possible here: 1, 8)",
    ),
    (
        NotDivisible("attention heads", 64, 6, (1, 2, 4)),
        "64 attention heads are not divisible by 6 (possible here: 1, 2, 4)",
    ),
    (NotDivisible("experts", 256, 7), "256 experts are not divisible by 7"),
    (
        NotDivisible("heads", 64, 3, tuple(range(1, 11))),
        "64 heads are not divisible by 3 (possible here: 1, 2, 3, 4, 5, 6, 7, 8, …)",
    ),
    (
        BlockSplit("feed-forward columns", 192, 128, 8, (1, 4)),
        (
            "TP8 leaves 192 feed-forward columns a GPU, not a multiple of the quantisation block of 128"
            " (possible here: 1, 4)"
        ),
    ),
    (
        MethodUnloadable("vllm", "0.33.0", "bitsandbytes", before="0.28.0"),
        "vllm 0.33.0 does not load `bitsandbytes` checkpoints; releases before 0.28.0 do",
    ),
    (
        MethodUnloadable("vllm", "0.33.0", "gptq", "desc_act: true", before="0.30.0"),
        "vllm 0.33.0 does not load `gptq` checkpoints with `desc_act: true`; releases before 0.30.0 do",
    ),
    (MethodUnloadable("tensorrt-llm", "1.2.1", "awq"), "tensorrt-llm 1.2.1 does not load `awq` checkpoints"),
    (
        ArchitectureUnknown("vllm", "0.14.0", "StepForCausalLM", since="0.20.0"),
        "vllm 0.14.0 has no model class `StepForCausalLM`; releases from 0.20.0 on do",
    ),
    (
        ArchitectureUnknown("vllm", "0.28.0", "ExaoneMoEForCausalLM", since="0.32.0", before="0.27.0"),
        "vllm 0.28.0 has no model class `ExaoneMoEForCausalLM`; releases before 0.27.0 or from 0.32.0 on do",
    ),
    (
        CapabilityShort("Tesla-T4", "`mxfp4` weights on vllm", "7.5", "8.0"),
        "compute capability 7.5 of Tesla-T4 is under 8.0, the least for `mxfp4` weights on vllm",
    ),
    (
        CapabilityUnsupported("A100", "vllm", "0.33.0", "sparse latent attention", "8.0", ("9.0", "10.0", "12.0")),
        (
            "vllm 0.33.0 does not have sparse latent attention for compute capability 8.0 of A100, "
            "only for 9.0, 10.0 and 12.0"
        ),
    ),
    (
        CapabilityUnsupported("A100", "vllm", "0.33.0", "an fp8 cache of latent attention", "8.0", ("8.9 or more",)),
        (
            "vllm 0.33.0 does not have an fp8 cache of latent attention for compute capability 8.0 of A100, "
            "only for 8.9 or more"
        ),
    ),
    (
        KernelSplit("RTX", "vllm", "12.0", "expert columns", 352, 64, 2),
        (
            "TP2 leaves 352 expert columns a GPU, not a multiple of 64, "
            "which vllm needs on compute capability 12.0 of RTX"
        ),
    ),
    (
        TowerNotDivisible("vision heads", 12, 8, (1, 2, 4), "--mm-encoder-tp-mode data"),
        (
            "12 vision heads are not divisible by 8 (possible here: 1, 2, 4); "
            "`--mm-encoder-tp-mode data` in `spec.engine.args` keeps the tower whole"
        ),
    ),
    (TowerNotDivisible("audio heads", 20, 8), "20 audio heads are not divisible by 8"),
    (
        LoadingShort("H200", "sglang", "0.5.23", 219 * GIB, 139 * GIB),
        (
            "219.0 GiB needed while loading of 139.0 GiB a GPU, 80.0 GiB short: "
            "sglang 0.5.23 quantises after it has read all weights"
        ),
    ),
    (
        LoadingShort("H200", "vllm", "0.33.0", 141 * GIB, 139 * GIB, relays=True),
        (
            "141.0 GiB needed while loading of 139.0 GiB a GPU, 2.0 GiB short: "
            "vllm 0.33.0 gives experts another form, layer by layer, after it has read all weights"
        ),
    ),
    (
        PodsShort("H100", "h100-1", 2, "rdma/ib", 16_000, 8_000),
        "2 pods on `h100-1` ask for 16 `rdma/ib`, 8 left",
    ),
    (
        PodsShort("H100", "h100-1", 1, "memory", 6 * GIB * 1000, GIB * 500),
        "1 pod on `h100-1` asks for 6.0 GiB `memory`, 0.5 GiB left",
    ),
    (NoExperts(), "the model has no experts to deal out"),
    (DataOfDense(4), "the model has no experts, so that 4 data ranks would be 4 replicas: use `spec.replicas`"),
    (
        DataUnsupported("vllm", "0.11.0", "0.11.1"),
        "vllm 0.11.0 is started without data parallelism; releases from 0.11.1 on have it",
    ),
    (
        DataAlone("tensorrt-llm", 2, 4),
        "with data parallelism every GPU of tensorrt-llm is a data rank of its own: DP8×TP1 instead of DP4×TP2",
    ),
    (TooFewExperts(8, 16), "8 experts cannot be dealt out whole over 16 GPUs"),
    (
        ContextUnsupported("tensorrt-llm", "1.2.1"),
        "tensorrt-llm 1.2.1 does not divide the cache of a sequence over a tensor group",
    ),
    (
        ContextUnsupported("sglang", "0.5.23", latent_only=True),
        "sglang 0.5.23 does not divide the cache of grouped attention over a tensor group",
    ),
    (
        ContextUneven(3, 8, (1, 2, 4, 8)),
        "a tensor group of 8 cannot divide the cache of a sequence by 3 (possible here: 1, 2, 4, 8)",
    ),
    (
        ExpertsAcross("H100", 16, 8),
        (
            "16 GPUs that exchange tokens for their experts exceed the largest NVLink domain of H100, 8 GPUs; across "
            "domains they need RDMA (`launch.rdma` of the operator's configuration) or a pinned "
            "`spec.parallelism.data`"
        ),
    ),
    (
        ExchangeAcross("deepep_v2", "H100", 16, 8, by_rdma=True),
        (
            "`deepep_v2` exchanges tokens over NVLink, or by RDMA (`launch.rdma` of the operator's configuration), and "
            "16 GPUs exceed the largest NVLink domain of H100, 8 GPUs"
        ),
    ),
    (
        ExchangeAcross("flashinfer", "H100", 16, 8, by_rdma=False),
        "`flashinfer` exchanges tokens over NVLink, and 16 GPUs exceed the largest NVLink domain of H100, 8 GPUs",
    ),
    (ExchangeNeedsWhole("deepep"), "`deepep` exchanges tokens for whole experts, and the layout splits each expert"),
    (
        ExchangeNeedsData("flashinfer", 2, 4),
        "with `flashinfer` every GPU is a data rank of its own: DP8×TP1 instead of DP4×TP2",
    ),
    (
        HiddenUnsupported("nixl_ep", 16384, 8192),
        "`nixl_ep` takes hidden states of at most 8192 elements, and the model's have 16384",
    ),
    (
        RanksUnsupported("deepep", 12, (2, 4, 8)),
        "`deepep` has no settings for 12 GPUs that share experts (possible here: 2, 4, 8)",
    ),
    (Preferred(Merit.ONE_DATA_RANK, "H100"), "fits, and a single sequence keeps only one of its data ranks busy"),
    (TooManyStages(40, 32), "32 layers cannot fill 40 stages"),
    (PipelineUnsupported("vllm", "WhisperModel"), "vllm cannot split `WhisperModel` into pipeline stages"),
    (
        MemoryShort("H100", 80 * GIB, 72 * GIB, 70 * GIB, 8 * GIB, 2 * GIB),
        (
            "80.0 GiB needed of 72.0 GiB a GPU, 8.0 GiB short "
            "(weights 70.0 GiB, KV cache 8.0 GiB, activations and reserve 2.0 GiB)"
        ),
    ),
    (
        ShareShort(4, 1, 2, "decode", "prefill", 5, 4),
        "4 GPUs needed for 2 replicas of decode, `spec.gpuBudget.total` allows 5, and prefill takes 4",
    ),
    (
        ShareShort(1, 0, 1, "prefill", "decode", 2, 3),
        "1 GPU needed for 1 replica of prefill, `spec.gpuBudget.total` allows 2, and decode takes 3",
    ),
    (OverBudget(16, 8, 1), "16 GPUs needed, `spec.gpuBudget.total` allows 8"),
    (OverBudget(16, 8, 2), "16 GPUs needed for 2 replicas, `spec.gpuBudget.total` allows 8"),
    (
        OverQuota(9, "ResourceQuota `q`", 8, 2),
        "9 GPUs needed, ResourceQuota `q` allows 8 GPUs in the namespace, others hold 2",
    ),
    (OverQuota(1, "`allow.gpus`", 1, 1), "1 GPU needed, `allow.gpus` allows 1 GPU in the namespace, others hold 1"),
    (OverBudget(1, 0, 1), "1 GPU needed, `spec.gpuBudget.total` allows 0"),
    (NoRoom("H100", 2, 1, 8, 12), "2 stages of 8 GPUs wanted, the 12 free H100 have room for 1"),
    (
        NoRoom("H100", 1, 0, 8, 16, None, (4, 4, 4, 4), 4),
        "1 stage of 8 GPUs wanted, the 16 free H100 (4 + 4 + 4 + 4 by NVLink domain or node) have room for 0",
    ),
    (
        NoRoom("H100", 1, 0, 8, 24, None, (4, 4, 4, 4, 4), 6),
        (
            "1 stage of 8 GPUs wanted, the 24 free H100 (4 + 4 + 4 + 4 + 4 + 1 more by NVLink domain or node) "
            "have room for 0"
        ),
    ),
    (NoRoom("H100", 1, 0, 1, 0), "1 stage of 1 GPU wanted, no H100 is free"),
    (
        NoRoom("H100", 2, 1, 8, 12, "rack"),
        "2 stages of 8 GPUs wanted with one value of `rack`, the 12 free H100 have room for 1",
    ),
    (
        NoRoom("H100", 2, 2, 8, 16, "rack"),
        "2 stages of 8 GPUs wanted, the 16 free H100 have room for 2, but not with one value of `rack`",
    ),
    (
        NoRoom("H100", 3, 3, 2, 7),
        "3 stages of 2 GPUs wanted, the 7 free H100 have room for 3, but not in pods of equal size",
    ),
    (
        DomainTooSmall("L40S", 16, 8),
        "a tensor group of 16 exceeds the largest NVLink domain of L40S, 8 GPUs",
    ),
    (MoreGpus(8, 4), "fits, and needs 8 GPUs where 4 are enough"),
    (MoreGpus(2, 1), "fits, and needs 2 GPUs where 1 is enough"),
    (
        FirstTokenLate("H100", 1.2, 0.5, 1),
        "an estimated 1.2s of 500ms to the first token with 1 request at once",
    ),
    (
        FirstTokenLate("H100", 1.2, 0.5, 1, by_tcp=0.9),
        (
            "an estimated 1.2s of 500ms to the first token with 1 request at once, 900ms of which the KV cache travels "
            "by TCP: the operator's configuration states no RDMA (`launch.rdma`)"
        ),
    ),
    (TokensSlow("H100", 0.0333, 0.02, 8), "an estimated 33.3ms of 20ms a token with 8 requests at once"),
    (
        PriceUnknown("H100"),
        "H100 has no price: `fleet.hardware` of the operator's configuration states no `pricePerHour`",
    ),
    (Dearer(12.5, 8), "fits, and costs 12.50 an hour where 8.00 is enough"),
    (Tight(GIB // 2, 4 * GIB), "fits, but tightly: 0.5 GiB of slack a GPU, 4.0 GiB wanted"),
    (Slower("time per token", 1.254), "fits, at an estimated 1.25 times the time per token"),
    (
        Preferred(Merit.WHOLE_BLOCKS, "H100"),
        "fits, and its parts of merged weights would cut quantisation blocks, which may fail to load",
    ),
    (
        Preferred(Merit.BLOCKS_KEPT, "H100"),
        "fits, and it would make the quantisation blocks of experts finer, for which the engine has fewer kernels",
    ),
    (Preferred(Merit.NVLINK_IN_TENSOR_GROUPS, "H100"), "fits, and its tensor groups would cross nodes without NVLink"),
    (
        Preferred(Merit.NODES_USED_EVENLY, "H100"),
        "fits, and it would leave nodes in parts that no tensor group can use",
    ),
    (Preferred(Merit.EXPERTS_SPLIT, "H100"), "fits, and splitting each expert keeps all GPUs equally busy"),
    (Preferred(Merit.SMALLER_GPUS, "H100"), "fits, and H100 is enough and leaves the larger GPUs free"),
    (
        Preferred(Merit.TENSOR_FIRST, "H100"),
        "fits, and tensor parallelism inside the NVLink domain comes before pipeline stages",
    ),
]


@pytest.mark.parametrize(("why", "words"), SAID, ids=lambda value: type(value).__name__)
def test_a_cause_is_said(why: Cause, words: str) -> None:
    assert cause(why) == words


def test_every_cause_there_is_has_its_words_here() -> None:
    """A new one needs its row."""
    assert {type(why) for why, _ in SAID} == set(CAUSES)
    assert {why.merit for why, _ in SAID if isinstance(why, Preferred)} == set(Merit)


@pytest.mark.parametrize("kind", CAUSES, ids=lambda kind: kind.__name__)
def test_causes_are_plain_values(kind: type) -> None:
    """Frozen: they are kept, compared and counted."""
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


@pytest.mark.parametrize(("why", "words"), SAID, ids=lambda value: type(value).__name__)
def test_a_cause_is_data_too(why: Cause, words: str) -> None:
    """Its kind, and every number its words hold."""
    data = json.loads(json.dumps(numbers(why)))
    assert data.pop("kind") == type(why).__name__
    assert len(data) == len(dataclasses.fields(why))
    assert numbers(why) == {"kind": type(why).__name__, **data}, "nothing but JSON"


def test_a_causes_numbers_are_named_as_in_the_object() -> None:
    """In camel case, like every field there is."""
    assert numbers(MemoryShort("H100", 8, 7, 4, 3, 1)) == {
        "kind": "MemoryShort",
        "product": "H100",
        "needed": 8,
        "budget": 7,
        "weights": 4,
        "kvCache": 3,
        "other": 1,
    }


@pytest.mark.parametrize("kind", CAUSES, ids=lambda kind: kind.__name__)
def test_what_became_of_many_is_said_in_a_few_words(kind: type) -> None:
    """As it follows their count: "9 lack memory"."""
    why = next(why for why, _ in SAID if type(why) is kind)
    assert 3 < len(fate(why)) < 40


def test_no_two_causes_come_to_the_same_end() -> None:
    """Or their counts would say one thing twice."""
    assert len({fate(why) for why, _ in SAID}) == len(CAUSES)


@pytest.mark.parametrize("decided", list(Rule), ids=lambda one: one.value)
def test_every_rule_has_one_sentence(decided: Rule) -> None:
    assert 20 < len(rule(decided)) < 160


HINTS: list[tuple[Hint, str, object]] = [
    (
        Hint("spec.gpuBudget.total", 16, Layout(8, 2), "H100", 16),
        "with `spec.gpuBudget.total: 16`, TP8×PP2 fits on 16 H100",
        16,
    ),
    (
        Hint("spec.gpuBudget.total", 2, Layout(2, 1), "H100", 2, tight=True),
        "with `spec.gpuBudget.total: 2`, TP2×PP1 fits tightly on 2 H100",
        2,
    ),
    (
        Hint("spec.parallelism", None, Layout(4, 1), "H200", 4, Change.UNSET),
        "without `spec.parallelism`, TP4×PP1 fits on 4 H200",
        None,
    ),
    (
        Hint("spec.parallelism.expert", True, Layout(8, 1, expert=True), "H200", 8),
        "with `spec.parallelism.expert: true`, TP8×PP1 EP fits on 8 H200",
        True,
    ),
    (
        Hint("spec.gpuBudget.products", "H200", Layout(1, 1), "H200", 1, Change.ADD),
        "with `H200` added to `spec.gpuBudget.products`, TP1×PP1 fits on 1 H200",
        "H200",
    ),
    (
        Hint("spec.placement.nodeSelector", "zone", Layout(1, 1), "H200", 1, Change.REMOVE),
        "with `zone` taken out of `spec.placement.nodeSelector`, TP1×PP1 fits on 1 H200",
        "zone",
    ),
    (
        Hint(
            "spec.placement.tolerations",
            Toleration("team", "Equal", "ml", "NoSchedule"),
            Layout(1, 1),
            "H200",
            1,
            Change.ADD,
        ),
        "with `team=ml:NoSchedule` added to `spec.placement.tolerations`, TP1×PP1 fits on 1 H200",
        {"key": "team", "operator": "Equal", "value": "ml", "effect": "NoSchedule"},
    ),
]


@pytest.mark.parametrize(("given", "words", "value"), HINTS, ids=lambda one: getattr(one, "field", ""))
def test_a_hint_names_field_value_and_what_then_fits(given: Hint, words: str, value: object) -> None:
    """In words, and as data that a program can apply."""
    assert hint(given) == words
    data = hint_document(given)
    assert (data["field"], data["change"], data["value"]) == (given.field, given.change.value, value)
    assert (data["text"], data["gpus"], data["product"]) == (words, given.gpus, given.product)


def test_every_change_a_hint_can_make_has_its_words_here() -> None:
    """A new one needs its row."""
    assert {given.change for given, _, _ in HINTS} == set(Change)
