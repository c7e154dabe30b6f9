"""From the object as written to the values the core works on."""

from collections.abc import Mapping
from typing import Final

from shardwise.api.identity import asks_of, content_of
from shardwise.api.model_spec import CacheVolume
from shardwise.api.parse import ShardedModel
from shardwise.api.problems import InvalidObject, Problem
from shardwise.api.spec import EnvVar as WireEnvVar
from shardwise.api.spec import NodeAffinity, NodeRequirement, TolerationSpec
from shardwise.domain.demand import Demand, Objective, Operator, Pins, Requirement, Toleration
from shardwise.domain.engine import EngineName
from shardwise.domain.launch import (
    Cache,
    CacheKind,
    EnvVar,
    Launch,
    LaunchSite,
    Owner,
    RestartPolicy,
    Source,
    SourceKind,
    UpdateStrategy,
    Wanted,
)
from shardwise.domain.model import ModelFacts
from shardwise.domain.units import parse_duration, parse_quantity

PAUSED: Final = "shardwise.dev/paused"
"""Annotation that stops all action on an object while it is ``true``."""

_KV_BYTES: Final = {None: 2, "bfloat16": 2, "fp8": 1}


def to_wanted(obj: ShardedModel, facts: ModelFacts, site: LaunchSite | None = None) -> Wanted:
    """Convert an object and the facts of its model. ``site`` is the operator's configuration of launching.

    Raises :class:`InvalidObject` where the two contradict: a context longer than the model's own maximum; and for a
    pause that is neither true nor false.
    """
    _check_context(obj, facts)
    return Wanted(
        demand=_demand(obj, facts),
        launch=_launch(obj, facts),
        generation=obj.metadata.generation,
        site=site or LaunchSite(),
        paused=_paused(obj),
        restart=_restart(obj),
        update=_update(obj),
        asks=asks_of(obj.spec),
        content=content_of(obj.spec),
    )


def _paused(obj: ShardedModel) -> bool:
    given = obj.metadata.annotations.get(PAUSED, "false")
    if given not in ("true", "false"):
        raise InvalidObject((Problem(f"metadata.annotations.{PAUSED}", f"`{given}` is neither `true` nor `false`"),))
    return given == "true"


def _restart(obj: ShardedModel) -> RestartPolicy:
    policy = obj.spec.restart_policy
    window = parse_duration(policy.window)
    return RestartPolicy(policy.max_restarts, window, policy.keep_failed, policy.smaller_layout)


def _update(obj: ShardedModel) -> UpdateStrategy:
    strategy = obj.spec.update_strategy
    return UpdateStrategy(strategy.type == "Recreate", strategy.max_surge, strategy.max_unavailable)


def _check_context(obj: ShardedModel, facts: ModelFacts) -> None:
    asked = obj.spec.model.context_length
    if asked is not None and asked > facts.context_length:
        message = f"`{asked}` exceeds the {facts.context_length} tokens of `{facts.name}`"
        raise InvalidObject((Problem("spec.model.contextLength", message),))
    least = obj.spec.model.min_context_length
    most = asked or facts.context_length
    if least is not None and least > most:
        message = f"`{least}` exceeds the {most} tokens of `spec.model.contextLength`"
        raise InvalidObject((Problem("spec.model.minContextLength", message),))


def _demand(obj: ShardedModel, facts: ModelFacts) -> Demand:
    spec = obj.spec
    reserve = spec.model.gpu_memory_reserve
    return Demand(
        key=obj.key,
        model=facts,
        gpu_budget=spec.gpu_budget.total,
        context_length=spec.model.context_length or facts.context_length,
        engine=EngineName(spec.engine.name),
        concurrency=spec.model.concurrency,
        kv_bytes=_KV_BYTES.get(_kv_cache_dtype(obj, facts), 2),
        products=tuple(spec.gpu_budget.products),
        replicas=spec.replicas,
        objective=Objective(spec.objective),
        pins=Pins(spec.parallelism.tensor, spec.parallelism.pipeline, spec.parallelism.expert),
        node_selector=_pairs(spec.placement.node_selector),
        tolerations=_tolerations(spec.placement.tolerations),
        within=spec.placement.within,
        node_affinity=_affinity(spec.placement.node_affinity),
        own_image=spec.engine.image is not None,
        reserve=None if reserve is None else parse_quantity(reserve),
        least_context=spec.model.min_context_length,
    )


def _kv_cache_dtype(obj: ShardedModel, facts: ModelFacts) -> str | None:
    """Give the precision of the KV cache: the object's, else the checkpoint's own; ``None`` is the model's."""
    asked = obj.spec.model.kv_cache_dtype
    return facts.kv_cache_dtype if asked == "auto" else asked


def _launch(obj: ShardedModel, facts: ModelFacts) -> Launch:
    spec, template = obj.spec, obj.spec.pod_template
    return Launch(
        owner=Owner(obj.metadata.name, obj.metadata.namespace, obj.metadata.uid),
        model=spec.model.name,
        served_name=spec.model.served_name or spec.model.name,
        source=_source(obj),
        image=spec.engine.image,
        image_pull_policy=spec.engine.image_pull_policy,
        image_pull_secrets=tuple(spec.engine.image_pull_secrets),
        args=tuple(spec.engine.args),
        env=tuple(_env(one) for one in spec.engine.env),
        version=spec.engine.version,
        options=spec.engine.options,
        tolerations=_tolerations(spec.placement.tolerations),
        priority_class=spec.placement.priority_class_name,
        scheduler_name=spec.placement.scheduler_name,
        service_account=spec.placement.service_account_name,
        runtime_class=spec.placement.runtime_class_name,
        port=spec.service.port,
        service_type=spec.service.type,
        labels=_pairs(template.labels),
        annotations=_pairs(template.annotations),
        requests=_pairs(template.requests),
        limits=_pairs(template.limits),
        shared_memory=template.shared_memory,
        trust_remote_code=spec.model.trust_remote_code,
        kv_cache_dtype=_kv_cache_dtype(obj, facts),
        quantization=None if spec.model.quantization == "auto" else spec.model.quantization,
    )


def _source(obj: ShardedModel) -> Source:
    source = obj.spec.model.source
    if source is None:
        return Source()
    if source.persistent_volume_claim is not None:
        claim = source.persistent_volume_claim
        return Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location=claim.claim_name, path=claim.path)
    if source.host_path is not None:
        return Source(SourceKind.HOST_PATH, location=source.host_path.path)
    if source.image is not None:
        return Source(SourceKind.IMAGE, location=source.image.reference, path=source.image.path)
    hub = source.hugging_face
    token = hub.token_secret_ref if hub is not None else None
    return Source(
        revision=hub.revision if hub is not None else None,
        token_secret=token.name if token is not None else None,
        token_key=token.key if token is not None else "token",
        cache=to_cache(hub.cache) if hub is not None and hub.cache is not None else None,
        pre_pull=hub.pre_pull if hub is not None else None,
    )


def to_cache(volume: CacheVolume) -> Cache:
    """Convert a cache that has exactly one of its fields."""
    if volume.persistent_volume_claim is not None:
        return Cache(CacheKind.PERSISTENT_VOLUME_CLAIM, volume.persistent_volume_claim.claim_name)
    if volume.host_path is not None:
        return Cache(CacheKind.HOST_PATH, volume.host_path.path)
    return Cache(size=volume.empty_dir.size_limit if volume.empty_dir is not None else None)


def _env(one: WireEnvVar) -> EnvVar:
    source = one.value_from
    if source is None:
        return EnvVar(one.name, value=one.value)
    if source.secret_key_ref is not None:
        return EnvVar(one.name, secret=(source.secret_key_ref.name, source.secret_key_ref.key))
    reference = source.config_map_key_ref
    return EnvVar(one.name, config_map=None if reference is None else (reference.name, reference.key))


def _tolerations(given: list[TolerationSpec]) -> tuple[Toleration, ...]:
    return tuple(Toleration(one.key, one.operator, one.value, one.effect, one.toleration_seconds) for one in given)


def _affinity(given: NodeAffinity | None) -> tuple[tuple[Requirement, ...], ...]:
    terms = [] if given is None else given.node_selector_terms
    return tuple(tuple(_requirement(one) for one in term.match_expressions) for term in terms)


def _requirement(one: NodeRequirement) -> Requirement:
    return Requirement(one.key, Operator(one.operator), tuple(one.values))


def _pairs(mapping: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(mapping.items()))
