"""The fields of an object that its launch cannot honour, each with the fact and its remedy."""

from collections.abc import Iterator
from typing import Final

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import CacheKind, GangSystem, LaunchSite, Servers, SourceKind, Wanted
from shardwise.domain.model import Quantization
from shardwise.domain.release import image_of, release_of
from shardwise.domain.units import gib, parse_quantity
from shardwise.domain.version import dotted
from shardwise.engines.additions import addition_problems, folders
from shardwise.engines.attaching import unattachable
from shardwise.engines.permissions import forbidden
from shardwise.engines.protocol import Engine
from shardwise.engines.transfer import role_problems
from shardwise.engines.weights import cache_of, is_fetched
from shardwise.planner.legality import has_experts
from shardwise.planner.on_load import made_on_load, quantises_to

_LEAST_INTERVAL: Final = 60.0
"""Seconds between requests of one token to an idle group: each takes its GPUs out of their rest."""


def found_problems(wanted: Wanted, engine: Engine) -> Iterator[tuple[str, str]]:
    """Give ``(field path, message)`` for each problem, the most important first."""
    yield from _release(wanted, engine)
    yield from forbidden(wanted)
    yield from _paths(wanted)
    yield from addition_problems(wanted)
    yield from _cache_size(wanted)
    yield from _dashes(wanted)
    yield from _options(wanted)
    yield from _servers(wanted)
    yield from _precision(wanted, engine)
    yield from _health(wanted)
    yield from _queue(wanted)
    yield from _gang(wanted)
    yield from unattachable(wanted, engine)
    yield from role_problems(wanted, engine.READ)
    yield from engine.problems(wanted)
    yield from engine.TABLE.argument_problems(wanted.launch.container.args)
    yield from engine.TABLE.variable_problems(variable.name for variable in wanted.launch.container.env)


def _health(wanted: Wanted) -> Iterator[tuple[str, str]]:
    interval = wanted.health.idle_request_interval
    if interval is not None and interval < _LEAST_INTERVAL:
        yield "spec.health.idleRequestInterval", f"`{interval:g}s` is too short: `1m` at least"


def _release(wanted: Wanted, engine: Engine) -> Iterator[tuple[str, str]]:
    version = release_of(wanted, engine.READ)
    if version >= engine.OLDEST:
        return
    said = wanted.launch.container.version is not None
    field = "spec.engine.version" if said else "spec.engine.image"
    value = wanted.launch.container.version if said else image_of(wanted, engine.DEFAULT_IMAGE)
    name, least = wanted.demand.engine.value, dotted(engine.OLDEST)
    yield field, f"`{value}` is {name} {dotted(version)}: {least} or later is needed"


def _paths(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Refuse folders of the nodes that the operator's configuration does not allow."""
    source = wanted.launch.model.source
    if source.kind is SourceKind.HOST_PATH:
        yield from _path(wanted.site, "spec.model.source.hostPath.path", source.location)
    cache = source.cache
    if cache is not None and cache.kind is CacheKind.HOST_PATH:
        yield from _path(wanted.site, "spec.model.source.huggingFace.cache.hostPath.path", cache.location)
    for field, folder in folders(wanted.launch.extras):
        yield from _path(wanted.site, field, folder)
    if ".." in source.path.split("/"):
        yield _path_field(source.kind), f"`{source.path}` leaves the volume: `..` is not allowed"


def _cache_size(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Refuse an emptyDir that the weights do not fit: the kubelet would evict each pod while it fetches them."""
    cache, facts = cache_of(wanted), wanted.demand.model
    bounded = cache.kind is CacheKind.EMPTY_DIR and is_fetched(wanted.launch.model.source)
    if not bounded or cache.size is None or facts.guessed or parse_quantity(cache.size) >= facts.fetched_bytes:
        return
    whose = "" if wanted.launch.model.source.cache is not None else " of `launch.cache` of the operator's configuration"
    field = "spec.model.source.huggingFace.cache.emptyDir.sizeLimit"
    yield field, f"`{cache.size}`{whose} is less than the {gib(facts.fetched_bytes)} of weights that each pod fetches"


def _path(site: LaunchSite, field: str, path: str) -> Iterator[tuple[str, str]]:
    if ".." in path.split("/"):
        yield field, f"`{path}` may point to any folder: `..` is not allowed"
    elif not any(_is_below(path, allowed) for allowed in site.host_paths):
        listed = ", ".join(f"`{folder}`" for folder in site.host_paths) or "no path of the nodes"
        yield field, f"`{path}` is not allowed; `launch.hostPaths` of the operator's configuration lists {listed}"


def _is_below(path: str, folder: str) -> bool:
    inside, above = _parts(path), _parts(folder)
    return inside[: len(above)] == above


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _path_field(kind: SourceKind) -> str:
    return f"spec.model.source.{kind.value}.path"


def _dashes(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Refuse values that begin with a dash: the parsers of all engines read them as options."""
    launch = wanted.launch
    values = (
        ("spec.model.servedName", launch.model.served_name),
        ("spec.model.source.huggingFace.revision", launch.model.source.revision or ""),
    )
    for field, value in values:
        if value.startswith("-"):
            yield field, f"`{value}` would be read as an option: it must not begin with `-`"


def _options(wanted: Wanted) -> Iterator[tuple[str, str]]:
    name = wanted.demand.engine
    if wanted.launch.container.options and name is not EngineName.TENSORRT_LLM:
        yield "spec.engine.options", f"`{name.value}` has no options file; use `spec.engine.args`"


def _servers(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Refuse that every pod serves where only a leader can."""
    if wanted.launch.container.servers is Servers.LEADER:
        return
    field, name = "spec.engine.servers", wanted.demand.engine
    if name is not EngineName.VLLM:
        yield field, f"`everyPod` cannot be used: only the leader of `{name.value}` serves; leave it out, or use `vllm`"
    elif not has_experts(wanted.demand.model):
        yield field, "`everyPod` cannot be used: a model without experts has no data ranks; use `spec.replicas`"


def _queue(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Refuse a queue of a system that the operator does not read."""
    queue = wanted.launch.scheduling.queue
    if queue is not None and queue.system not in wanted.site.queue_systems:
        system = queue.system.value
        field = f"spec.placement.queue.{system}"
        yield (
            field,
            f"`{queue.name}` cannot be used: `launch.queues.{system}` of the operator's configuration is not set",
        )


_WITH_QUEUES: Final = (GangSystem.VOLCANO, GangSystem.KAI)


def _gang(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Refuse a gang scheduler that the operator is not told of, and a queue that nobody would look at."""
    asked, queue = wanted.launch.scheduling.gang, wanted.launch.scheduling.gang_queue
    field = "spec.placement.gang"
    if asked not in (None, GangSystem.NONE):
        if wanted.gang is None:
            told = f"`launch.gangs.{asked.value}` of the operator's configuration is not set"
            yield field, f"`{asked.value}` cannot be used: {told}"
        if wanted.queue is not None:
            admits = f"the queue `{wanted.queue.name}` of Kueue admits the whole replica; use `none`, or no queue"
            yield field, f"`{asked.value}` cannot be used: {admits}"
    if queue is not None and (wanted.gang is None or wanted.gang.system not in _WITH_QUEUES):
        other = "no gang scheduler is used" if wanted.gang is None else f"`{wanted.gang.system.value}` has no queues"
        yield "spec.placement.gangQueue", f"`{queue}` cannot be used: {other}; set `{field}` to `volcano` or `kai`"
    if wanted.gang is not None and wanted.gang.system is GangSystem.KAI and wanted.gang_queue is None:
        remedy = "name a queue, or let the operator's configuration set `launch.gangs.kai.queue`"
        yield "spec.placement.gangQueue", f"KAI schedules no group without a queue; {remedy}"


def _precision(wanted: Wanted, engine: Engine) -> Iterator[tuple[str, str]]:
    """Refuse a precision of the weights that the engine would ignore or refuse for this checkpoint."""
    asked, method, name = wanted.launch.model.quantization, wanted.demand.model.method, wanted.demand.engine
    if asked is None:
        return
    field, said = "spec.model.quantization", f"`{asked}` cannot be used"
    release = f"{name.value} {dotted(release_of(wanted, engine.READ))}"
    if method is not None and method.kind.value != asked:
        stated = f"the checkpoint is in {method.kind.value} (`{method.name}`)"
        yield field, f"{said}: {stated}, and {release} loads it as it is; use `auto`, {_checkpoint_in(asked)}"
    if method is None and asked != Quantization.NONE and not quantises_to(name, Quantization(asked)):
        able = ", ".join(made_on_load(name))
        quantises = f"quantises on load to {able} only" if able else "does not quantise on load"
        offer = f"`{able}` or " if able else ""
        yield field, f"{said}: the checkpoint is not quantised, and {release} {quantises}; use {offer}{_other(asked)}"


def _checkpoint_in(kind: str) -> str:
    return "or an unquantised checkpoint" if kind == Quantization.NONE else f"or a checkpoint in {kind}"


def _other(kind: str) -> str:
    return f"a checkpoint in {kind} with `auto`"
