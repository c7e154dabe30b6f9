"""The words for every note on a plan. A new note needs a row in ``SENTENCES``; its class is in the domain."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from shardwise.domain.estimate_errors import EstimateError, Measure
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
from shardwise.domain.platforms import CLIQUE
from shardwise.domain.units import gib, latency_text, plural


def note(noted: Note) -> str:
    """Say a note in a sentence."""
    return SENTENCES[type(noted)](noted)


def _trusted(noted: EstimatesTrusted) -> str:
    kind = "mixtures of experts" if noted.mixture else "dense models"
    said = "; ".join(f"{_MEASURES[measure]} {_within(error)}" for measure, error in noted.errors)
    apart = ", of replicas that do both parts of a request" if noted.apart else ""
    return f"estimates beside measurements of {kind} on {noted.product}{apart}: {said}"


def _within(error: EstimateError | None) -> str:
    if error is None:
        return "not measured"
    if error.figures == 1:
        return f"off by {error.all_within:.0%} (1 figure)"
    return f"half off by at most {error.half_within:.0%}, all by {error.all_within:.0%} ({error.figures:.0f} figures)"


_MEASURES: Final[Mapping[Measure, str]] = {
    Measure.RATE: "rate",
    Measure.PER_TOKEN: "time per token",
    Measure.FIRST_TOKEN: "time to the first token",
}


def _across_nodes(noted: TensorAcrossNodes) -> str:
    return (
        f"tensor groups of {noted.tensor} cross nodes without NVLink, as pinned: "
        "every layer waits for the network twice"
    )


def _unlabelled(noted: DomainUnlabelled) -> str:
    return (
        f"{noted.count} of {noted.nodes} nodes with {noted.product}, such as {noted.example}, have no label of an "
        f"NVLink domain, such as {CLIQUE}: each counts as a domain of its own"
    )


def _with_driver(noted: WithDriver) -> str:
    nodes = plural(noted.nodes, f"{noted.product} node")
    return (
        "the cluster serves no ComputeDomains (`resource.nvidia.com/v1beta1`), so that each tensor group stays on a "
        f"node; with NVIDIA's DRA driver the plan would be {noted.layout} on {nodes}"
    )


def _checked_against(noted: CheckedAgainst) -> str:
    return (
        f"without NVLink, {noted.layout} was checked against {noted.other}: "
        f"an estimated {_speed(noted, noted.speed)} against {_speed(noted, noted.other_speed)}"
    )


def _speed(noted: CheckedAgainst, speed: float) -> str:
    return f"{speed:.0f} tokens a second and GPU" if noted.throughput else f"{speed * 1000:.1f} ms a token"


def _cache_on_each_gpu(noted: CacheOnEachGpu) -> str:
    return (
        f"latent attention keeps its whole KV cache on each of the {noted.tensor} GPUs of a tensor group; "
        "`spec.parallelism.data` and `spec.parallelism.context` divide it where the engine can"
    )


def _experts_inside_group(noted: ExpertsInsideGroup) -> str:
    return (
        f"experts are shared inside a tensor group of {noted.tensor}; data ranks that share them over all "
        f"{noted.world_size} GPUs need RDMA (`launch.rdma` of the operator's configuration), or a pinned "
        "`spec.parallelism.data`"
    )


def _data_would_serve(noted: DataWouldServe) -> str:
    return (
        f"with `spec.objective: throughput`, {noted.layout} would serve an estimated {noted.speed:.0f} tokens a second "
        f"and GPU instead of {noted.chosen_speed:.0f}"
    )


def _experts_across_domains(noted: ExpertsAcrossDomains) -> str:
    where = f"the {noted.gpus} GPUs that share the experts lie in {noted.domains} NVLink domains"
    if not noted.rdma:
        return f"{where}, as pinned, and no RDMA is configured: every layer waits for the network"
    if noted.backend is not None:
        return f"{where}, and exchange tokens by `{noted.backend}`"
    return (
        f"{where}: the estimate takes an all-to-all over RDMA, which the engine uses only if `spec.engine.args` name "
        "it (vLLM: `--all2all-backend`, SGLang: `--moe-a2a-backend`)"
    )


def _states_bound(noted: StatesBoundSequences) -> str:
    return f"at most {plural(noted.count, 'sequence')} at once: the cache has room for the states of no more"


def _context_shortened(noted: ContextShortened) -> str:
    return (
        f"{noted.tokens} tokens a sequence: nothing fits {noted.wanted}, and `spec.model.minContextLength` allows less"
    )


def _not_counted(noted: NotCounted) -> str:
    field = "args" if noted.word.startswith("-") else "options"
    return (
        f"`{noted.word}` of `spec.engine.{field}` takes GPU memory that the plan does not count: "
        f"the {gib(noted.slack)} of slack on each GPU must hold it"
    )


def _method_from_image(noted: MethodFromImage) -> str:
    return (
        f"{noted.engine} {noted.release} as published does not load {noted.checkpoints}: "
        "the image must bring the method"
    )


def _architecture_from_elsewhere(noted: ArchitectureFromElsewhere) -> str:
    return (
        f"{noted.engine} {noted.release} as published is not known to have the model class `{noted.architecture}`: "
        "the image or the checkpoint must bring it"
    )


def _faster_with_more(noted: FasterWithMore) -> str:
    return (
        f"with `spec.gpuBudget.total: {noted.gpus}`, {noted.layout} would take an estimated "
        f"{noted.speed * 1e3:.1f} ms a token instead of {noted.chosen_speed * 1e3:.1f} ms"
    )


def _merged_blocks_cut(noted: MergedBlocksCut) -> str:
    return (
        f"a GPU's {noted.part} outputs of `{noted.weight}` cut a quantisation block of {noted.block}: {noted.engine} "
        "does not refuse such merged weights, but fails to load their scales unless the model's class has a loader of "
        "its own (vllm-project/vllm#52997)"
    )


def _transformers_code(noted: TransformersCode) -> str:
    return (
        f"{noted.engine} {noted.release} has no model class of its own for `{noted.architecture}`: "
        "it runs the code of Transformers"
    )


def _roles_counted(noted: RolesCounted) -> str:
    counts = f"{noted.prefill} of prefill and {noted.decode} of decode"
    more = "" if noted.wanted == (noted.prefill, noted.decode) else ", which ask for {} and {}".format(*noted.wanted)
    return (
        f"{counts}, by the estimates{more}: a replica of prefill takes in "
        f"{noted.prefill_speed:.0f} tokens a second, a replica of decode gives {noted.decode_speed:.0f}, and a request "
        f"is taken to have {noted.prompt} prompt tokens for a token of its answer; `spec.roles[].replicas` states "
        "other numbers"
    )


def _cache_by_tcp(_: CacheByTcp) -> str:
    return (
        "KV caches travel by TCP: the operator's configuration states no RDMA (`launch.rdma`). NVLink moves none "
        "between pods, also not on one node. NIXL moved 0.5 GB a second by TCP between two GPUs of one host"
    )


def _transfer_counted(noted: TransferCounted) -> str:
    by_tcp = "TCP, at 0.5 GB/s (measured between two GPUs of one host)"
    way = "RDMA, at 40 GB/s (not measured)" if noted.by_rdma else by_tcp
    return (
        f"the time to the first token has {latency_text(noted.seconds)} in it in which a GPU of decode reads "
        f"{gib(noted.bytes)} of a prompt's KV cache by {way}, and {latency_text(noted.decode)} of decode"
    )


SENTENCES: Final[Mapping[type[Note], Callable[[Any], str]]] = {
    Remark: lambda noted: str(noted.text),
    UnknownProduct: lambda noted: f"{noted.product} is not a product Shardwise knows: no NVLink is assumed",
    TensorAcrossNodes: _across_nodes,
    EstimatesTrusted: _trusted,
    DomainUnlabelled: _unlabelled,
    WithDriver: _with_driver,
    CheckedAgainst: _checked_against,
    CacheOnEachGpu: _cache_on_each_gpu,
    ExpertsInsideGroup: _experts_inside_group,
    DataWouldServe: _data_would_serve,
    ExpertsAcrossDomains: _experts_across_domains,
    StatesBoundSequences: _states_bound,
    ContextShortened: _context_shortened,
    NotCounted: _not_counted,
    MethodFromImage: _method_from_image,
    ArchitectureFromElsewhere: _architecture_from_elsewhere,
    TransformersCode: _transformers_code,
    MergedBlocksCut: _merged_blocks_cut,
    FasterWithMore: _faster_with_more,
    RolesCounted: _roles_counted,
    CacheByTcp: _cache_by_tcp,
    TransferCounted: _transfer_counted,
}
