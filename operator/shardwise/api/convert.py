"""The conversion of an object as written to the values that the core works on."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final, TypeVar, cast

from shardwise.api.attachment_spec import EndpointSpec, ScalingSpec
from shardwise.api.base import Wire
from shardwise.api.identity import asks_of, content_of
from shardwise.api.model_spec import CacheVolumeSpec
from shardwise.api.parse import ShardedModel
from shardwise.api.pod_template import PodTemplate
from shardwise.api.problems import InvalidObject, Problem, escaped
from shardwise.api.spec import (
    EngineSpec,
    EnvVarSpec,
    NodeAffinitySpec,
    NodeRequirementSpec,
    QueueSpec,
    RoleSpec,
    TolerationSpec,
    TransferSpec,
)
from shardwise.api.target_spec import TargetSpec
from shardwise.domain.adapters import (
    adapters_of,
    all_to_all_of,
    expert_slots,
    redundant_experts,
    sequences_of,
    uncounted,
    uncounted_options,
)
from shardwise.domain.attachments import Endpoint, EndpointKind, EndpointPicker, Gateway, Scaling, Signal
from shardwise.domain.demand import Demand, Objective, Operator, Pins, Requirement, Toleration
from shardwise.domain.engine import EngineName
from shardwise.domain.launch import (
    PAUSED,
    CacheKind,
    ClientService,
    ClusterQueue,
    EngineContainer,
    EnvVar,
    GangSystem,
    HealthPolicy,
    Launch,
    LaunchSite,
    Owner,
    PlacedBy,
    PodExtras,
    QueueSystem,
    RestartPolicy,
    Scheduling,
    ServedModel,
    Servers,
    Source,
    SourceKind,
    UpdateStrategy,
    Wanted,
    WeightCache,
)
from shardwise.domain.model import ModelFacts, expert_count
from shardwise.domain.release import is_published, named_image, named_release
from shardwise.domain.requests import needs_of
from shardwise.domain.roles import Connector, Half, Role, RoleName
from shardwise.domain.target import Target
from shardwise.domain.towers import tower_use
from shardwise.domain.units import parse_duration, parse_latency, parse_quantity

_KV_BYTES: Final = {None: 2, "bfloat16": 2, "fp8": 1}

Value = TypeVar("Value")


def to_wanted(obj: ShardedModel, facts: ModelFacts, site: LaunchSite | None = None) -> Wanted:
    """Convert an object and the facts of its model. ``site`` is the launch part of the operator's configuration.

    Raises :class:`InvalidObject` if the object asks for a context longer than the model's own maximum, and if its
    pause annotation is neither true nor false.
    """
    _check_context(obj, facts)
    if len(obj.spec.roles) > 1:
        return _of_roles(obj, facts, site)
    policy, strategy = obj.spec.restart_policy, obj.spec.update_strategy
    interval = obj.spec.health.idle_request_interval
    site = site or LaunchSite()
    launch = _launch(obj, facts)
    return Wanted(
        demand=_demand(obj, facts, launch, site),
        launch=launch,
        generation=obj.metadata.generation,
        site=site,
        paused=_paused(obj),
        restart=_converted(RestartPolicy, policy, window=parse_duration(policy.window)),
        health=HealthPolicy(None if interval is None else parse_duration(interval)),
        update=_converted(UpdateStrategy, strategy, recreate=strategy.type == "Recreate"),
        asks=asks_of(obj),
        content=content_of(obj),
    )


def _of_roles(obj: ShardedModel, facts: ModelFacts, site: LaunchSite | None) -> Wanted:
    """Convert an object with roles: each role is an object of its own, and decode stands for the whole object."""
    ordered = sorted(obj.spec.roles, key=lambda role: RoleName(role.name) is not RoleName.DECODE)
    wanted = tuple(to_wanted(_of_role(obj, role), facts, site) for role in ordered)
    products = [part.demand.products for part in wanted]
    either = () if () in products else tuple(dict.fromkeys(name for listed in products for name in listed))
    return replace(wanted[0], demand=replace(wanted[0].demand, products=either), roles=wanted)


def _of_role(obj: ShardedModel, role: RoleSpec) -> ShardedModel:
    """Give the object that has the groups of a role alone, as its user would write it."""
    spec = obj.spec
    budget = spec.gpu_budget.model_copy(update={"products": role.products or spec.gpu_budget.products})
    own = {
        "roles": [role],
        "replicas": 1 if role.replicas is None else role.replicas,
        "objective": role.objective or spec.objective,
        "parallelism": role.parallelism,
        "gpu_budget": budget,
    }
    return obj.model_copy(update={"spec": spec.model_copy(update=own)})


def _half(obj: ShardedModel) -> Half | None:
    """Give the role of the object. A target decides the number of its replicas, where there is one."""
    role = _role(obj)
    counted = obj.spec.target is None and bool(obj.spec.roles) and obj.spec.roles[0].replicas is None
    return None if role is None else Half(role, counted=counted)


def _role(obj: ShardedModel) -> Role | None:
    if not obj.spec.roles:
        return None
    transfer = obj.spec.transfer or TransferSpec()
    return Role(RoleName(obj.spec.roles[0].name), Connector(transfer.connector), transfer.within)


def _paused(obj: ShardedModel) -> bool:
    given = obj.metadata.annotations.get(PAUSED, "false")
    if given not in ("true", "false"):
        message = f"`{escaped(given)}` is neither `true` nor `false`"
        raise InvalidObject((Problem(f"metadata.annotations.{PAUSED}", message),))
    return given == "true"


def _converted(kind: type[Value], written: Wire, **other: object) -> Value:
    """Make a value of ``kind`` from the fields that have the same name on both sides.

    ``other`` gives the fields that have another name or another form. So a field that both sides name alike needs no
    line here.
    """
    known = {field.name for field in fields(cast("Any", kind))}
    same = {name: _frozen(getattr(written, name)) for name in type(written).model_fields if name in known}
    return kind(**(same | other))


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


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
    _check_target(obj.spec.target, "contextLength" if least is None else "minContextLength", least or most)


def _check_target(target: TargetSpec | None, field: str, tokens: int) -> None:
    """Refuse requests that are longer than the shortest context that a plan may have."""
    asked = 0 if target is None else target.input_tokens + target.output_tokens
    if asked > tokens:
        message = f"`inputTokens` and `outputTokens` are {asked}, more than the {tokens} tokens of `spec.model.{field}`"
        raise InvalidObject((Problem("spec.target", message),))


def _demand(obj: ShardedModel, facts: ModelFacts, launch: Launch, site: LaunchSite) -> Demand:
    spec, container = obj.spec, launch.container
    engine = EngineName(spec.engine.name)
    reserve = spec.model.gpu_memory_reserve
    return Demand(
        key=obj.key,
        model=facts,
        gpu_budget=spec.gpu_budget.total,
        context_length=spec.model.context_length or facts.context_length,
        engine=engine,
        concurrency=spec.model.concurrency,
        kv_bytes=_KV_BYTES.get(_kv_cache_dtype(obj, facts), 2),
        products=tuple(spec.gpu_budget.products),
        replicas=spec.replicas,
        objective=Objective(spec.objective),
        pins=_converted(Pins, spec.parallelism),
        node_selector=_pairs(spec.placement.node_selector),
        tolerations=_tolerations(spec.placement.tolerations),
        within=spec.placement.within,
        node_affinity=_affinity(spec.placement.node_affinity),
        own_image=spec.engine.image is not None,
        reserve=None if reserve is None else parse_quantity(reserve),
        least_context=spec.model.min_context_length,
        release=named_release(container, site, engine),
        remote_code=spec.model.trust_remote_code,
        published=is_published(named_image(container, site, engine), engine),
        towers=tower_use(engine, container.args),
        kv_cache_dtype=_kv_cache_dtype(obj, facts),
        adapters=adapters_of(EngineName(spec.engine.name), spec.engine.args),
        uncounted=(*uncounted(EngineName(spec.engine.name), spec.engine.args), *uncounted_options(spec.engine.options)),
        redundant_experts=_redundant_experts(engine, spec.engine, facts),
        all_to_all=all_to_all_of(engine, spec.engine.args),
        sequences=sequences_of(EngineName(spec.engine.name), spec.engine.args),
        needs=needs_of(launch, site, facts),
        target=_target(spec.target),
        half=_half(obj),
    )


def _target(given: TargetSpec | None) -> Target | None:
    if given is None:
        return None
    first, token = given.time_to_first_token, given.time_per_token
    return Target(
        input_tokens=given.input_tokens,
        output_tokens=given.output_tokens,
        first_token=None if first is None else parse_latency(first),
        per_token=None if token is None else parse_latency(token),
        rate=given.requests_per_second,
    )


def _redundant_experts(engine: EngineName, spec: EngineSpec, facts: ModelFacts) -> int:
    """Count the redundant experts that the arguments or, for TensorRT-LLM, the options ask for."""
    slots = expert_slots(spec.options) if engine is EngineName.TENSORRT_LLM else None
    return redundant_experts(engine, spec.args) if slots is None else max(0, slots - expert_count(facts))


def _kv_cache_dtype(obj: ShardedModel, facts: ModelFacts) -> str | None:
    """Give the precision of the KV cache: the object's, else the checkpoint's own; ``None`` is the model's."""
    asked = obj.spec.model.kv_cache_dtype
    return facts.kv_cache_dtype if asked == "auto" else asked


def _launch(obj: ShardedModel, facts: ModelFacts) -> Launch:
    spec = obj.spec
    return Launch(
        owner=Owner(obj.metadata.name, obj.metadata.namespace, obj.metadata.uid),
        model=_served_model(obj, facts),
        container=_converted(
            EngineContainer,
            spec.engine,
            env=tuple(_env(variable) for variable in spec.engine.env),
            servers=Servers(spec.engine.servers),
        ),
        scheduling=_converted(
            Scheduling,
            spec.placement,
            tolerations=_tolerations(spec.placement.tolerations),
            queue=_queue(spec.placement.queue),
            gang=None if spec.placement.gang is None else GangSystem(spec.placement.gang),
            placed_by=PlacedBy(spec.placement.owner),
        ),
        service=_converted(ClientService, spec.service),
        endpoint=_endpoint(spec.endpoint),
        scaling=_scaling(spec.scaling),
        extras=_extras(spec.pod_template),
        role=_role(obj),
    )


def _endpoint(given: EndpointSpec) -> Endpoint:
    picker, gateway = given.picker, given.gateway
    return Endpoint(
        EndpointKind(given.kind),
        None if picker is None else _converted(EndpointPicker, picker, name=picker.service),
        None if gateway is None else _converted(Gateway, gateway, namespace=gateway.namespace or ""),
        given.target_port,
    )


def _scaling(given: ScalingSpec | None) -> Scaling | None:
    return None if given is None else Scaling(given.min, given.max, Signal(given.signal), given.target)


def _extras(template: PodTemplate) -> PodExtras:
    context = template.security_context
    return _converted(
        PodExtras,
        template,
        labels=_pairs(template.labels),
        annotations=_pairs(template.annotations),
        requests=_pairs(template.requests),
        limits=_pairs(template.limits),
        volume_mounts=tuple(map(_as_in_a_pod, template.volume_mounts)),
        env_from=tuple(map(_as_in_a_pod, template.env_from)),
        security_context={} if context is None else _as_in_a_pod(context),
    )


def _as_in_a_pod(written: Wire) -> Mapping[str, Any]:
    """Give a part as Kubernetes writes it; a field with its default value is left out."""
    return written.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _served_model(obj: ShardedModel, facts: ModelFacts) -> ServedModel:
    model = obj.spec.model
    return _converted(
        ServedModel,
        model,
        served_name=model.served_name or model.name,
        source=_source(obj),
        kv_cache_dtype=_kv_cache_dtype(obj, facts),
        quantization=None if model.quantization == "auto" else model.quantization,
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


def to_cache(volume: CacheVolumeSpec) -> WeightCache:
    """Convert a cache that has exactly one of its fields."""
    if volume.persistent_volume_claim is not None:
        return WeightCache(CacheKind.PERSISTENT_VOLUME_CLAIM, volume.persistent_volume_claim.claim_name)
    if volume.host_path is not None:
        return WeightCache(CacheKind.HOST_PATH, volume.host_path.path)
    return WeightCache(size=volume.empty_dir.size_limit if volume.empty_dir is not None else None)


def _queue(given: QueueSpec | None) -> ClusterQueue | None:
    return None if given is None else ClusterQueue(QueueSystem.KUEUE, given.kueue.local_queue)


def _env(variable: EnvVarSpec) -> EnvVar:
    source = variable.value_from
    if source is None:
        return EnvVar(variable.name, value=variable.value)
    if source.secret_key_ref is not None:
        return EnvVar(variable.name, secret=(source.secret_key_ref.name, source.secret_key_ref.key))
    reference = source.config_map_key_ref
    return EnvVar(variable.name, config_map=None if reference is None else (reference.name, reference.key))


def _tolerations(given: list[TolerationSpec]) -> tuple[Toleration, ...]:
    return tuple(_converted(Toleration, toleration, seconds=toleration.toleration_seconds) for toleration in given)


def _affinity(given: NodeAffinitySpec | None) -> tuple[tuple[Requirement, ...], ...]:
    terms = [] if given is None else given.node_selector_terms
    return tuple(tuple(_requirement(wanted) for wanted in term.match_expressions) for term in terms)


def _requirement(given: NodeRequirementSpec) -> Requirement:
    return Requirement(given.key, Operator(given.operator), tuple(given.values))


def _pairs(mapping: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(mapping.items()))
