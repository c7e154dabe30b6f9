"""Every note on a plan has its sentence."""

import pytest

from shardwise.domain import notes
from shardwise.domain.estimate_errors import EstimateError, Measure
from shardwise.domain.layout import Layout
from shardwise.domain.notes import (
    ArchitectureFromElsewhere,
    CacheByTcp,
    CacheOnEachGpu,
    CheckedAgainst,
    ContextShortened,
    DataWouldServe,
    DomainUnlabelled,
    EstimatesTrusted,
    ExpertsAcrossDomains,
    ExpertsInsideGroup,
    FasterWithMore,
    MergedBlocksCut,
    MethodFromImage,
    NotCounted,
    Note,
    Remark,
    RolesCounted,
    StatesBoundSequences,
    TensorAcrossNodes,
    TransferCounted,
    TransformersCode,
    UnknownProduct,
    WithDriver,
)
from shardwise.domain.units import GIB
from shardwise.explain.notes import SENTENCES, note

PAIR = Layout(4, 1), Layout(2, 2)
SAID: dict[str, tuple[Note, str]] = {
    "a sentence stays": (Remark("the sizes are a guess"), "the sizes are a guess"),
    "an unknown product": (UnknownProduct("X1"), "X1 is not a product Shardwise knows: no NVLink is assumed"),
    "estimates that were measured": (
        EstimatesTrusted(
            "NVIDIA-H100",
            mixture=False,
            errors=(
                (Measure.RATE, EstimateError("x", 33, 0.12, 0.87)),
                (Measure.PER_TOKEN, EstimateError("x", 1, 0.1, 0.1)),
                (Measure.FIRST_TOKEN, None),
            ),
        ),
        (
            "estimates beside measurements of dense models on NVIDIA-H100: rate half off by at most 12%, all by 87% "
            "(33 figures); time per token off by 10% (1 figure); time to the first token not measured"
        ),
    ),
    "estimates of a mixture": (
        EstimatesTrusted("NVIDIA-L40S", mixture=True, errors=((Measure.PER_TOKEN, None),)),
        "estimates beside measurements of mixtures of experts on NVIDIA-L40S: time per token not measured",
    ),
    "across nodes": (
        TensorAcrossNodes(16),
        "tensor groups of 16 cross nodes without NVLink, as pinned: every layer waits for the network twice",
    ),
    "no label": (
        DomainUnlabelled("NVIDIA-GB200", 1, 4, "tray-0"),
        (
            "1 of 4 nodes with NVIDIA-GB200, such as tray-0, have no label of an NVLink domain, such as "
            "nvidia.com/gpu.clique: each counts as a domain of its own"
        ),
    ),
    "without the driver": (
        WithDriver(Layout(8, 1), 2, "NVIDIA-GB200"),
        (
            "the cluster serves no ComputeDomains (`resource.nvidia.com/v1beta1`), so that each tensor group stays on "
            "a node; with NVIDIA's DRA driver the plan would be TP8×PP1 on 2 NVIDIA-GB200 nodes"
        ),
    ),
    "compared for latency": (
        CheckedAgainst(*PAIR, 0.02, 0.0304, throughput=False),
        "without NVLink, TP4×PP1 was checked against TP2×PP2: an estimated 20.0 ms a token against 30.4 ms a token",
    ),
    "compared for throughput": (
        CheckedAgainst(*PAIR, 300.4, 250.0, throughput=True),
        (
            "without NVLink, TP4×PP1 was checked against TP2×PP2: an estimated 300 tokens a second and GPU against "
            "250 tokens a second and GPU"
        ),
    ),
    "a latent cache": (
        CacheOnEachGpu(8),
        (
            "latent attention keeps its whole KV cache on each of the 8 GPUs of a tensor group; "
            "`spec.parallelism.data` and `spec.parallelism.context` divide it where the engine can"
        ),
    ),
    "a few more GPUs": (
        FasterWithMore(Layout(8, 1), 8, 0.0209, 0.1447),
        "with `spec.gpuBudget.total: 8`, TP8×PP1 would take an estimated 20.9 ms a token instead of 144.7 ms",
    ),
    "replicas by the estimates": (
        RolesCounted(1, 3, (1, 3), 15000.4, 1250, 4),
        (
            "1 of prefill and 3 of decode, by the estimates: a replica of prefill takes in 15000 tokens a second, a "
            "replica of decode gives 1250, and a request is taken to have 4 prompt tokens for a token of its answer; "
            "`spec.roles[].replicas` states other numbers"
        ),
    ),
    "fewer replicas than by the estimates": (
        RolesCounted(1, 2, (1, 3), 15000, 1250, 4),
        (
            "1 of prefill and 2 of decode, by the estimates, which ask for 1 and 3: a replica of prefill takes in "
            "15000 tokens a second, a replica of decode gives 1250, and a request is taken to have 4 prompt tokens for "
            "a token of its answer; `spec.roles[].replicas` states other numbers"
        ),
    ),
    "no RDMA": (
        CacheByTcp(),
        (
            "KV caches travel by TCP: the operator's configuration states no RDMA (`launch.rdma`). NVLink moves none "
            "between pods, also not on one node. NIXL moved 0.5 GB a second by TCP between two GPUs of one host"
        ),
    ),
    "cut blocks": (
        MergedBlocksCut("vllm", "self_attn.k_proj", 64, 128),
        (
            "a GPU's 64 outputs of `self_attn.k_proj` cut a quantisation block of 128: vllm does not refuse such "
            "merged weights, but fails to load their scales unless the model's class has a loader of its own "
            "(vllm-project/vllm#52997)"
        ),
    ),
    "experts": (
        ExpertsInsideGroup(8, 16),
        (
            "experts are shared inside a tensor group of 8; data ranks that share them over all 16 GPUs need RDMA "
            "(`launch.rdma` of the operator's configuration), or a pinned `spec.parallelism.data`"
        ),
    ),
    "data ranks": (
        DataWouldServe(Layout(1, 1, True, 8), 1708.8, 389.3),
        (
            "with `spec.objective: throughput`, DP8×TP1×PP1 EP would serve an estimated 1709 tokens a second and GPU "
            "instead of 389"
        ),
    ),
    "experts over RDMA": (
        ExpertsAcrossDomains(16, 2, rdma=True),
        (
            "the 16 GPUs that share the experts lie in 2 NVLink domains: the estimate takes an all-to-all over RDMA, "
            "which the engine uses only if `spec.engine.args` name it (vLLM: `--all2all-backend`, SGLang: "
            "`--moe-a2a-backend`)"
        ),
    ),
    "experts over RDMA by a backend": (
        ExpertsAcrossDomains(16, 2, rdma=True, backend="deepep_v2"),
        "the 16 GPUs that share the experts lie in 2 NVLink domains, and exchange tokens by `deepep_v2`",
    ),
    "experts over the network": (
        ExpertsAcrossDomains(16, 2, rdma=False),
        (
            "the 16 GPUs that share the experts lie in 2 NVLink domains, as pinned, and no RDMA is configured: every "
            "layer waits for the network"
        ),
    ),
    "memory that is not counted": (
        NotCounted("--speculative-config", 3 * GIB),
        (
            "`--speculative-config` of `spec.engine.args` takes GPU memory that the plan does not count: "
            "the 3.0 GiB of slack on each GPU must hold it"
        ),
    ),
    "memory of an option that is not counted": (
        NotCounted("speculative_config", 3 * GIB),
        (
            "`speculative_config` of `spec.engine.options` takes GPU memory that the plan does not count: "
            "the 3.0 GiB of slack on each GPU must hold it"
        ),
    ),
    "a method from the image": (
        MethodFromImage("vllm", "0.33.0", "`bitsandbytes` checkpoints"),
        "vllm 0.33.0 as published does not load `bitsandbytes` checkpoints: the image must bring the method",
    ),
    "a class from elsewhere": (
        ArchitectureFromElsewhere("vllm", "0.33.0", "NewForCausalLM"),
        (
            "vllm 0.33.0 as published is not known to have the model class `NewForCausalLM`: "
            "the image or the checkpoint must bring it"
        ),
    ),
    "the code of Transformers": (
        TransformersCode("vllm", "0.33.0", "HeliumForCausalLM"),
        "vllm 0.33.0 has no model class of its own for `HeliumForCausalLM`: it runs the code of Transformers",
    ),
    "fewer sequences than usual": (
        StatesBoundSequences(172),
        "at most 172 sequences at once: the cache has room for the states of no more",
    ),
    "a single sequence": (
        StatesBoundSequences(1),
        "at most 1 sequence at once: the cache has room for the states of no more",
    ),
    "a role sized by measurements of whole replicas": (
        EstimatesTrusted("NVIDIA-H200", mixture=False, errors=((Measure.RATE, None),), apart=True),
        (
            "estimates beside measurements of dense models on NVIDIA-H200, of replicas that do both parts of a "
            "request: rate not measured"
        ),
    ),
    "a transfer in the time to the first token": (
        TransferCounted(2**30, 0.0269, 0.045, by_rdma=True),
        (
            "the time to the first token has 26.9ms in it in which a GPU of decode reads 1.0 GiB of a prompt's KV "
            "cache by RDMA, at 40 GB/s (not measured), and 45ms of decode"
        ),
    ),
    "a transfer by TCP": (
        TransferCounted(2**30, 2.15, 0.045, by_rdma=False),
        (
            "the time to the first token has 2.15s in it in which a GPU of decode reads 1.0 GiB of a prompt's KV cache "
            "by TCP, at 0.5 GB/s (measured between two GPUs of one host), and 45ms of decode"
        ),
    ),
    "a shorter context": (
        ContextShortened(4096, 8192),
        "4096 tokens a sequence: nothing fits 8192, and `spec.model.minContextLength` allows less",
    ),
}


@pytest.mark.parametrize(("noted", "words"), SAID.values(), ids=SAID)
def test_a_note_is_said(noted: Note, words: str) -> None:
    assert note(noted) == words


def test_every_note_has_its_sentence_and_its_row_here() -> None:
    kinds = {kind for kind in vars(notes).values() if isinstance(kind, type) and issubclass(kind, Note)} - {Note}
    assert kinds == set(SENTENCES) == {type(noted) for noted, _ in SAID.values()}
