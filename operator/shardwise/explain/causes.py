"""The words for every cause why a layout is rejected or not chosen, and the numbers of a cause as data.

A new cause needs a row in ``SENTENCES``. The class of the cause, in ``shardwise.domain.refusal``, holds its traits.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final, Generic, TypeVar

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
from shardwise.domain.refusal import (
    ArchitectureUnknown,
    BlockSplit,
    CapabilityShort,
    CapabilityUnsupported,
    Cause,
    DomainTooSmall,
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
from shardwise.domain.units import amount_text, gib, plural
from shardwise.explain import role_causes, targets

C = TypeVar("C", bound=Cause)

_LEGAL: Final = 8
"""Legal degrees that are listed: all powers of two in a node and in a rack."""


def _same(_: Cause) -> None:
    """Say of many layouts the same as of a single layout."""


def _together(_: Cause) -> tuple[object, ...]:
    """Say all layouts of a kind of cause in the same sentence."""
    return ()


@dataclass(frozen=True, slots=True)
class Sentence(Generic[C]):
    """The words of a kind of cause.

    ``fate`` follows a count of layouts: "9 lack memory". ``single`` says the cause of a single layout, ``many`` the
    same of all layouts that the nearest miss stands for, ``None`` where the words do not differ. ``brief`` says it
    beside a table with the memory of the layout. Layouts with different values of ``apart`` need a sentence each.
    ``tells_nearest``: the numbers of the nearest layout are worth a line after ``many``.
    """

    fate: str
    single: Callable[[C], str]
    many: Callable[[C], str | None] = _same
    brief: Callable[[C], str] | None = None
    apart: Callable[[C], tuple[object, ...]] = _together
    tells_nearest: bool = False


def cause(why: Cause) -> str:
    """Say the cause of a single layout, numbers first."""
    return sentence(why).single(why)


def brief(why: Cause) -> str:
    """Say a cause beside a table that holds the memory of the layout."""
    found = sentence(why)
    return (found.brief or found.single)(why)


def fate(why: Cause) -> str:
    """Say the fate of layouts with this kind of cause. The words follow a count of layouts."""
    return sentence(why).fate


def sentence(why: Cause) -> Sentence[Any]:
    """Give the words of a kind of cause."""
    return SENTENCES[type(why)]


def numbers(why: Cause) -> dict[str, Any]:
    """Give a cause as data: its kind and all its numbers. Sizes are bytes on each GPU."""
    found = {_camel(field.name): getattr(why, field.name) for field in fields(why)}
    return {"kind": type(why).__name__, **{name: _plain(value) for name, value in found.items()}}


def _plain(value: object) -> object:
    """Give a number, a name or a code as JSON data."""
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _method_unloadable(why: MethodUnloadable) -> str:
    return f"{why.engine} {why.release} does not load {why.said}{_of_releases(why.since, why.before)}"


def _architecture_unknown(why: ArchitectureUnknown) -> str:
    spans = _of_releases(why.since, why.before)
    return f"{why.engine} {why.release} has no model class `{why.architecture}`{spans}"


def _of_releases(since: str | None, before: str | None) -> str:
    said = [f"before {before}"] if before else []
    said += [f"from {since} on"] if since else []
    return f"; releases {' or '.join(said)} do" if said else ""


def _capability_short(why: CapabilityShort) -> str:
    return f"compute capability {why.has} of {why.product} is under {why.least}, the least for {why.what}"


def _capability_unsupported(why: CapabilityUnsupported) -> str:
    *others, last = why.takes
    listed = f"{', '.join(others)} and {last}" if others else last
    has = f"compute capability {why.has} of {why.product}"
    return f"{why.engine} {why.release} does not have {why.what} for {has}, only for {listed}"


def _kernel_split(why: KernelSplit) -> str:
    return (
        f"TP{why.tensor} leaves {why.partition} {why.what} a GPU, not a multiple of {why.multiple}, "
        f"which {why.engine} needs on compute capability {why.has} of {why.product}"
    )


def _loading_short(why: LoadingShort) -> str:
    does = "gives experts another form, layer by layer," if why.relays else "quantises"
    return (
        f"{gib(why.needed)} needed while loading of {gib(why.budget)} a GPU, {gib(why.needed - why.budget)} short: "
        f"{why.engine} {why.release} {does} after it has read all weights"
    )


def _loading_short_of_many(why: LoadingShort) -> str:
    return f"need more than {gib(why.budget)} of each {why.product} while loading"


def _not_divisible(why: NotDivisible) -> str:
    return f"{why.size} {why.what} are not divisible by {why.by}{_legal(why.legal)}"


def _tower_not_divisible(why: TowerNotDivisible) -> str:
    said = _not_divisible(why)
    return f"{said}; `{why.word}` in `spec.engine.args` keeps the tower whole" if why.word else said


def _block_split(why: BlockSplit) -> str:
    return (
        f"TP{why.tensor} leaves {why.partition} {why.what} a GPU, "
        f"not a multiple of the quantisation block of {why.block}{_legal(why.legal)}"
    )


def _legal(legal: tuple[int, ...]) -> str:
    if not legal:
        return ""
    shown = ", ".join(str(degree) for degree in legal[:_LEGAL])
    return f" (possible here: {shown}{', …' if len(legal) > _LEGAL else ''})"


def _no_experts(_: NoExperts) -> str:
    return "the model has no experts to deal out"


def _too_many_stages(why: TooManyStages) -> str:
    return f"{why.layers} layers cannot fill {why.pipeline} stages"


def _pipeline_unsupported(why: PipelineUnsupported) -> str:
    return f"{why.engine} cannot split `{why.architecture}` into pipeline stages"


def _data_of_dense(why: DataOfDense) -> str:
    return f"the model has no experts, so that {why.data} data ranks would be {why.data} replicas: use `spec.replicas`"


def _data_unsupported(why: DataUnsupported) -> str:
    return f"{why.engine} {why.release} is started without data parallelism; releases from {why.since} on have it"


def _data_alone(why: DataAlone) -> str:
    return (
        f"with data parallelism every GPU of {why.engine} is a data rank of its own: "
        f"DP{why.data * why.tensor}×TP1 instead of DP{why.data}×TP{why.tensor}"
    )


def _too_few_experts(why: TooFewExperts) -> str:
    return f"{plural(why.experts, 'expert')} cannot be dealt out whole over {why.gpus} GPUs"


def _context_unsupported(why: ContextUnsupported) -> str:
    kind = "grouped attention" if why.latent_only else "a sequence"
    return f"{why.engine} {why.release} does not divide the cache of {kind} over a tensor group"


def _context_uneven(why: ContextUneven) -> str:
    return f"a tensor group of {why.tensor} cannot divide the cache of a sequence by {why.context}{_legal(why.legal)}"


def _experts_across(why: ExpertsAcross) -> str:
    return (
        f"{why.gpus} GPUs that exchange tokens for their experts exceed the largest NVLink domain of {why.product}, "
        f"{plural(why.largest, 'GPU')}; across domains they need RDMA (`launch.rdma` of the operator's configuration) "
        "or a pinned `spec.parallelism.data`"
    )


def _experts_across_of_many(why: ExpertsAcross) -> str:
    return (
        f"would exchange tokens for experts across NVLink domains of {why.product} ({plural(why.largest, 'GPU')}), "
        "and the operator's configuration states no RDMA (`launch.rdma`)"
    )


def _exchange_across(why: ExchangeAcross) -> str:
    ways = "over NVLink, or by RDMA (`launch.rdma` of the operator's configuration)" if why.by_rdma else "over NVLink"
    return (
        f"`{why.backend}` exchanges tokens {ways}, and {why.gpus} GPUs exceed the largest NVLink domain of "
        f"{why.product}, {plural(why.largest, 'GPU')}"
    )


def _exchange_needs_whole(why: ExchangeNeedsWhole) -> str:
    return f"`{why.backend}` exchanges tokens for whole experts, and the layout splits each expert"


def _exchange_needs_data(why: ExchangeNeedsData) -> str:
    return (
        f"with `{why.backend}` every GPU is a data rank of its own: "
        f"DP{why.data * why.tensor}×TP1 instead of DP{why.data}×TP{why.tensor}"
    )


def _hidden_unsupported(why: HiddenUnsupported) -> str:
    return f"`{why.backend}` takes hidden states of at most {why.most} elements, and the model's have {why.hidden}"


def _ranks_unsupported(why: RanksUnsupported) -> str:
    return f"`{why.backend}` has no settings for {why.gpus} GPUs that share experts{_legal(why.legal)}"


def _context_apart(why: ContextApart) -> str:
    return (
        f"{why.role} of {why.engine} cannot move KV caches that {plural(why.context, 'GPU')} divide{_legal(why.legal)}"
    )


def _memory_short(why: MemoryShort) -> str:
    return (
        f"{gib(why.needed)} needed of {gib(why.budget)} a GPU, {gib(why.needed - why.budget)} short "
        f"(weights {gib(why.weights)}, KV cache {gib(why.kv_cache)}, activations and reserve {gib(why.other)})"
    )


def _memory_short_of_many(why: MemoryShort) -> str:
    return f"need more than the {gib(why.budget)} of each {why.product}"


def _memory_short_in_brief(why: MemoryShort) -> str:
    return f"{gib(why.needed - why.budget)} short of {gib(why.budget)} a GPU"


def _domain_too_small(why: DomainTooSmall) -> str:
    return f"a tensor group of {why.tensor} exceeds {_largest_domain(why)}"


def _domain_too_small_for_many(why: DomainTooSmall) -> str:
    return f"exceed {_largest_domain(why)}"


def _largest_domain(why: DomainTooSmall) -> str:
    where = f" on {why.usable} of {why.nodes} nodes" if why.nodes > 1 else ""
    return f"the largest NVLink domain of {why.product}, {plural(why.largest, 'GPU')}{where}"


def _over_budget(why: OverBudget) -> str:
    return f"{plural(why.needed, 'GPU')} needed{_for_replicas(why)}, `spec.gpuBudget.total` allows {why.budget}"


def _over_budget_of_many(why: OverBudget) -> str:
    return f"need {plural(why.needed, 'GPU')} or more{_for_replicas(why)}, `spec.gpuBudget.total` allows {why.budget}"


def _for_replicas(why: OverBudget) -> str:
    return f" for {why.replicas} replicas" if why.replicas > 1 else ""


def _over_quota(why: OverQuota) -> str:
    held = f"{plural(why.hard, 'GPU')} in the namespace, others hold {why.used}"
    return f"{plural(why.needed, 'GPU')} needed, {why.limit} allows {held}"


def _no_room(why: NoRoom) -> str:
    """Say how many stages find a place. Enough places may exist and still not lie together."""
    asked = f"{plural(why.wanted, 'stage')} of {plural(why.slot_gpus, 'GPU')} wanted"
    bound = f" with one value of `{why.within}`" if why.within else ""
    if why.free == 0:
        return f"{asked}{bound}, no {why.product} is free"
    if why.slots >= why.wanted:
        together = bound or " in pods of equal size"
        return f"{asked}, the {why.free} free {why.product} have room for {why.slots}, but not{together}"
    return f"{asked}{bound}, the {why.free} free {why.product}{_by_domain(why)} have room for {why.slots}"


def _by_domain(why: NoRoom) -> str:
    """Say where the free GPUs lie, if they are enough and lie apart."""
    if not why.by_domain:
        return ""
    more = why.domains - len(why.by_domain)
    others = f" + {more} more" if more else ""
    return f" ({' + '.join(map(str, why.by_domain))}{others} by NVLink domain or node)"


def _no_room_for_many(why: NoRoom) -> str:
    if why.free == 0:
        return f"find no room, no {why.product} is free"
    lack = "find no room" if why.slots < why.wanted else "cannot be placed together"
    return f"{lack} on the {why.free} free {why.product}"


def _pods_short(why: PodsShort) -> str:
    pods, left = plural(why.pods, "pod"), amount_text(why.resource, why.left)
    verb = "asks" if why.pods == 1 else "ask"
    return f"{pods} on `{why.node}` {verb} for {amount_text(why.resource, why.asked)} `{why.resource}`, {left} left"


def _pods_short_of_many(why: PodsShort) -> str:
    return f"put more pods on a {why.product} node than its `{why.resource}` allows"


def _more_gpus(why: MoreGpus) -> str:
    enough = "is" if why.chosen == 1 else "are"
    return f"fits, and needs {plural(why.gpus, 'GPU')} where {why.chosen} {enough} enough"


def _tight(why: Tight) -> str:
    return f"fits, but tightly: {gib(why.slack)} of slack a GPU, {gib(why.wanted)} wanted"


def _slower(why: Slower) -> str:
    return f"fits, at an estimated {why.ratio:.2f} times the {why.measure}"


def _preferred(why: Preferred) -> str:
    return f"fits, and {_MERITS[why.merit].format(chosen=why.chosen)}"


_MERITS: Final[dict[Merit, str]] = {
    Merit.WHOLE_BLOCKS: "its parts of merged weights would cut quantisation blocks, which may fail to load",
    Merit.NVLINK_IN_TENSOR_GROUPS: "its tensor groups would cross nodes without NVLink",
    Merit.NODES_USED_EVENLY: "it would leave nodes in parts that no tensor group can use",
    Merit.BLOCKS_KEPT: "it would make the quantisation blocks of experts finer, for which the engine has fewer kernels",
    Merit.EXPERTS_SPLIT: "splitting each expert keeps all GPUs equally busy",
    Merit.SMALLER_GPUS: "{chosen} is enough and leaves the larger GPUs free",
    Merit.ONE_DATA_RANK: "a single sequence keeps only one of its data ranks busy",
    Merit.TENSOR_FIRST: "tensor parallelism inside the NVLink domain comes before pipeline stages",
}


SENTENCES: Final[dict[type[Cause], Sentence[Any]]] = {
    MethodUnloadable: Sentence("have a method the engine does not load", _method_unloadable),
    ArchitectureUnknown: Sentence("have a class the engine lacks", _architecture_unknown),
    CapabilityShort: Sentence("need newer GPUs", _capability_short, apart=lambda why: (why.what,)),
    CapabilityUnsupported: Sentence("need other GPUs", _capability_unsupported, apart=lambda why: (why.what,)),
    KernelSplit: Sentence("do not suit the kernels", _kernel_split, apart=lambda why: (why.what, why.tensor)),
    TowerNotDivisible: Sentence("cannot divide a tower", _tower_not_divisible, apart=lambda why: (why.what, why.by)),
    NotDivisible: Sentence("cannot be divided", _not_divisible, apart=lambda why: (why.what, why.by)),
    BlockSplit: Sentence("would cut quantisation blocks", _block_split, apart=lambda why: (why.what, why.tensor)),
    NoExperts: Sentence("want experts the model lacks", _no_experts),
    TooManyStages: Sentence("have more stages than layers", _too_many_stages, apart=lambda why: (why.pipeline,)),
    PipelineUnsupported: Sentence("need stages the engine cannot make", _pipeline_unsupported),
    DataOfDense: Sentence("would be replicas", _data_of_dense, apart=lambda why: (why.data,)),
    DataUnsupported: Sentence("need data parallelism the engine lacks", _data_unsupported),
    DataAlone: Sentence("mix data ranks and tensor groups", _data_alone, apart=lambda why: (why.tensor, why.data)),
    TooFewExperts: Sentence("have more GPUs than experts", _too_few_experts, apart=lambda why: (why.gpus,)),
    ExchangeNeedsWhole: Sentence("split experts that are exchanged whole", _exchange_needs_whole),
    ExchangeNeedsData: Sentence(
        "join GPUs that must be data ranks", _exchange_needs_data, apart=lambda why: (why.tensor, why.data)
    ),
    HiddenUnsupported: Sentence("have wide hidden states", _hidden_unsupported),
    RanksUnsupported: Sentence("have other numbers of GPUs", _ranks_unsupported, apart=lambda why: (why.gpus,)),
    ExchangeAcross: Sentence("exceed the reach of the all-to-all", _exchange_across),
    ContextUnsupported: Sentence("divide caches the engine keeps whole", _context_unsupported),
    ContextUneven: Sentence("cannot divide the cache", _context_uneven, apart=lambda why: (why.tensor, why.context)),
    DecodeStages: Sentence(
        "give decode stages it cannot have", role_causes.decode_stages, role_causes.decode_stages_of_many
    ),
    PrefillStages: Sentence(
        "give prefill stages it cannot have", role_causes.prefill_stages, role_causes.prefill_stages_of_many
    ),
    TensorApart: Sentence(
        "do not suit the other role", role_causes.tensor_apart, apart=lambda why: (why.prefill, why.decode)
    ),
    PrefillWider: Sentence(
        "make prefill too wide", role_causes.prefill_wider, apart=lambda why: (why.prefill, why.decode)
    ),
    ContextApart: Sentence("divide caches that cannot move", _context_apart, apart=lambda why: (why.context,)),
    MemoryShort: Sentence(
        "lack memory", _memory_short, _memory_short_of_many, _memory_short_in_brief, tells_nearest=True
    ),
    LoadingShort: Sentence("lack memory while loading", _loading_short, _loading_short_of_many, tells_nearest=True),
    DomainTooSmall: Sentence("exceed the NVLink domain", _domain_too_small, _domain_too_small_for_many),
    ExpertsAcross: Sentence("exceed the NVLink domain without RDMA", _experts_across, _experts_across_of_many),
    PriceUnknown: Sentence("have no price", targets.price_unknown),
    FirstTokenLate: Sentence(
        "give the first token too late", targets.first_token_late, targets.first_token_late_of_many, tells_nearest=True
    ),
    TokensSlow: Sentence(
        "are too slow for the target", targets.tokens_slow, targets.tokens_slow_of_many, tells_nearest=True
    ),
    OverBudget: Sentence("exceed the budget", _over_budget, _over_budget_of_many),
    ShareShort: Sentence("exceed the share of the budget", role_causes.share_short, role_causes.share_short_of_many),
    OverQuota: Sentence("exceed the quota", _over_quota),
    NoRoom: Sentence(
        "find no room",
        _no_room,
        _no_room_for_many,
        apart=lambda why: (why.slots >= why.wanted,),
        tells_nearest=True,
    ),
    PodsShort: Sentence(
        "find no room for their pods",
        _pods_short,
        _pods_short_of_many,
        apart=lambda why: (why.resource,),
        tells_nearest=True,
    ),
    MoreGpus: Sentence("fit on more GPUs", _more_gpus),
    Dearer: Sentence("fit and cost more", targets.dearer),
    Tight: Sentence("fit tightly", _tight),
    Slower: Sentence("fit and are slower", _slower),
    Preferred: Sentence("fit and rank after the chosen layout", _preferred),
}
