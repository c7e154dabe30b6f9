"""Rules that span fields, as CEL in the CRD and as checks of a parsed object.

The API server refuses an object that breaks a rule of its CRD. The checks here refuse the same objects offline, and
objects that an older CRD accepted.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from shardwise.api.spec import EnvVarSpec, NodeRequirementSpec, Parallelism, ShardedModelSpec
from shardwise.domain.fleet import GPU_PREFIXES

OWN_PREFIX: Final = "shardwise.dev/"
"""How the labels and annotations begin by which the operator knows its pods, and its Services select them."""


@dataclass(frozen=True, slots=True)
class SpanningRule:
    """A rule that spans fields.

    ``at`` is the path of the rule in the schema, ``field`` the path that a message names. ``check`` gives the message
    if an object breaks the rule.
    """

    at: tuple[str, ...]
    field: str
    cel: str
    message: str
    check: Callable[[ShardedModelSpec], str | None]


def spanning_problems(spec: ShardedModelSpec) -> Iterator[tuple[str, str]]:
    """Give ``(field path, message)`` for each broken rule."""
    for rule in RULES:
        message = rule.check(spec)
        if message is not None:
            yield rule.field, message


def _one_source(spec: ShardedModelSpec) -> str | None:
    source = spec.model.source
    given = source.given() if source is not None else ["huggingFace"]
    if len(given) == 1:
        return None
    named = " and ".join(f"`{field}`" for field in given) or "none"
    return f"exactly one source is needed, {named} given"


def _one_cache(spec: ShardedModelSpec) -> str | None:
    source = spec.model.source
    cache = source.hugging_face.cache if source is not None and source.hugging_face is not None else None
    if cache is None or len(cache.given()) == 1:
        return None
    named = " and ".join(f"`{field}`" for field in cache.given()) or "none"
    return f"exactly one volume is needed, {named} given"


def _pins_within_budget(spec: ShardedModelSpec) -> str | None:
    """Bound the GPUs of a replica. The planner bounds the replicas: an autoscaler may ask for more than it gets."""
    pins = spec.parallelism
    tensor, pipeline, data = pins.tensor or 1, pins.pipeline or 1, pins.data or 1
    needed = data * tensor * pipeline
    if needed <= spec.gpu_budget.total:
        return None
    degrees = (f"data {data} x " if data > 1 else "") + f"tensor {tensor} x pipeline {pipeline}"
    return f"{degrees} need {needed} GPUs, `spec.gpuBudget.total` allows {spec.gpu_budget.total}"


def _target_asks_for_something(spec: ShardedModelSpec) -> str | None:
    target = spec.target
    if target is None or any((target.time_to_first_token, target.time_per_token, target.requests_per_second)):
        return None
    return "at least one of `timeToFirstToken`, `timePerToken` and `requestsPerSecond` is needed"


def _one_decides_on_replicas(spec: ShardedModelSpec) -> str | None:
    rate = None if spec.target is None else spec.target.requests_per_second
    if spec.scaling is None or rate is None:
        return None
    return "`requestsPerSecond` and `spec.scaling` would both decide the number of replicas; leave one of them out"


def _roles_are_sized_by_a_rate(spec: ShardedModelSpec) -> str | None:
    if not spec.roles or spec.target is None or spec.target.requests_per_second is not None:
        return None
    return (
        "with roles, `requestsPerSecond` is needed: both roles serve the same requests, and each is sized by their rate"
    )


def _roles_are_both(spec: ShardedModelSpec) -> str | None:
    named = sorted(role.name for role in spec.roles)
    if not named or named == ["decode", "prefill"]:
        return None
    return f"{' and '.join(f'`{name}`' for name in named)} given: `prefill` and `decode` are needed, each once"


def _roles_have_the_degrees(spec: ShardedModelSpec) -> str | None:
    if not spec.roles or (spec.replicas == 1 and spec.parallelism == Parallelism()):
        return None
    field = "parallelism" if spec.replicas == 1 else "replicas"
    return f"with roles, each role has its own: use `spec.roles[].{field}` instead of `spec.{field}`"


def _transfer_has_roles(spec: ShardedModelSpec) -> str | None:
    return None if spec.roles or spec.transfer is None else "only roles move KV caches: `spec.roles` is empty"


def _env_has_one_origin(spec: ShardedModelSpec) -> str | None:
    wrong = next((variable.name for variable in spec.engine.env if not _one_origin(variable)), None)
    return None if wrong is None else f"`{wrong}` needs exactly one of `value` and `valueFrom`"


def _one_origin(env: EnvVarSpec) -> bool:
    return (env.value is None) != (env.value_from is None)


def _env_source_is_one(spec: ShardedModelSpec) -> str | None:
    sources = ((variable.name, variable.value_from) for variable in spec.engine.env if variable.value_from is not None)
    wrong = next(
        (name for name, source in sources if (source.secret_key_ref is None) == (source.config_map_key_ref is None)),
        None,
    )
    return None if wrong is None else f"`{wrong}` needs exactly one of `secretKeyRef` and `configMapKeyRef`"


def _no_gpus_in_template(spec: ShardedModelSpec) -> str | None:
    named = next((key for key in (*spec.pod_template.requests, *spec.pod_template.limits) if _is_gpu(key)), None)
    return None if named is None else f"`{named}` is set by the plan; limit it with `spec.gpuBudget.total`"


def _is_gpu(resource: str) -> bool:
    return resource.startswith(GPU_PREFIXES)


def _no_own_keys_in_template(spec: ShardedModelSpec) -> str | None:
    template = spec.pod_template
    named = next((key for key in (*template.labels, *template.annotations) if key.startswith(OWN_PREFIX)), None)
    return None if named is None else f"`{named}` is set by the operator alone; use a key of your own"


def _tolerations_name_a_key(spec: ShardedModelSpec) -> str | None:
    wrong = any(not toleration.key and toleration.operator == "Equal" for toleration in spec.placement.tolerations)
    return "a toleration without `key` needs `operator: Exists`" if wrong else None


def _tolerations_of_every_value_have_none(spec: ShardedModelSpec) -> str | None:
    wrong = next((given for given in spec.placement.tolerations if given.operator == "Exists" and given.value), None)
    return None if wrong is None else f"`operator: Exists` matches every value, so `value: {wrong.value}` must go"


def _requirements_have_their_values(spec: ShardedModelSpec) -> str | None:
    affinity = spec.placement.node_affinity
    terms = [] if affinity is None else affinity.node_selector_terms
    requirements = (requirement for term in terms for requirement in term.match_expressions)
    wrong = next((requirement for requirement in requirements if not _values_suit(requirement)), None)
    return None if wrong is None else f"`{wrong.key}` {wrong.operator} needs {_VALUES_OF[wrong.operator]}"


def _values_suit(requirement: NodeRequirementSpec) -> bool:
    if requirement.operator in ("In", "NotIn"):
        return bool(requirement.values)
    if requirement.operator in ("Gt", "Lt"):
        return len(requirement.values) == 1 and re.fullmatch("-?[0-9]{1,18}", requirement.values[0]) is not None
    return not requirement.values


_VALUES_OF: Final = {
    "In": "at least one of `values`",
    "NotIn": "at least one of `values`",
    "Gt": "one whole number in `values`",
    "Lt": "one whole number in `values`",
    "Exists": "no `values`",
    "DoesNotExist": "no `values`",
}


def _picker_with_pool(spec: ShardedModelSpec) -> str | None:
    pooled, picked = spec.endpoint.kind == "inferencePool", spec.endpoint.picker is not None
    if pooled and not picked:
        return "is required with `kind: inferencePool`: name the Service of an endpoint picker"
    return "only an InferencePool has a picker; set `spec.endpoint.kind: inferencePool`" if picked > pooled else None


def _port_with_pool(spec: ShardedModelSpec) -> str | None:
    if spec.endpoint.target_port is None or spec.endpoint.kind == "inferencePool":
        return None
    return "only an InferencePool has a target port; set `spec.endpoint.kind: inferencePool`"


def _scaling_in_order(spec: ShardedModelSpec) -> str | None:
    scaling = spec.scaling
    if scaling is None or scaling.min <= scaling.max:
        return None
    return f"`{scaling.min}` exceeds the {scaling.max} replicas of `spec.scaling.max`"


def _scaling_within_budget(spec: ShardedModelSpec) -> str | None:
    least, total = (spec.scaling.min if spec.scaling is not None else 0), spec.gpu_budget.total
    if least <= total:
        return None
    return f"{least} replicas need {least} GPUs at least, `spec.gpuBudget.total` allows {total}"


def _share_of_cache(spec: ShardedModelSpec) -> str | None:
    scaling = spec.scaling
    if scaling is None or scaling.signal != "kvCache" or scaling.target <= _PERCENT:
        return None
    return f"`{scaling.target}` percent is more than the whole KV cache; use at most {_PERCENT}"


def _scaling_without_roles(spec: ShardedModelSpec) -> str | None:
    if not spec.roles or spec.scaling is None:
        return None
    return (
        "a scaler sets the one number of the scale subresource, which cannot be that of a role in a list; leave the "
        "field out and state `spec.target`, whose rate sizes both roles, or `spec.roles[].replicas`; or leave "
        "`spec.roles` out"
    )


_PERCENT: Final = 100
_GPU_TEST: Final = " || ".join(f"k.startsWith('{prefix}')" for prefix in GPU_PREFIXES)

RULES: Final = (
    SpanningRule(
        ("spec", "model", "source"),
        "spec.model.source",
        "[has(self.huggingFace), has(self.persistentVolumeClaim), has(self.hostPath), has(self.image)]"
        ".filter(given, given).size() == 1",
        "exactly one of huggingFace, persistentVolumeClaim, hostPath and image is needed",
        _one_source,
    ),
    SpanningRule(
        ("spec", "model", "source", "huggingFace", "cache"),
        "spec.model.source.huggingFace.cache",
        "[has(self.emptyDir), has(self.persistentVolumeClaim), has(self.hostPath)].filter(given, given).size() == 1",
        "exactly one of emptyDir, persistentVolumeClaim and hostPath is needed",
        _one_cache,
    ),
    SpanningRule(
        ("spec",),
        "spec.parallelism",
        "(has(self.parallelism) && has(self.parallelism.tensor) ? self.parallelism.tensor : 1)"
        " * (has(self.parallelism) && has(self.parallelism.pipeline) ? self.parallelism.pipeline : 1)"
        " * (has(self.parallelism) && has(self.parallelism.data) ? self.parallelism.data : 1)"
        " <= self.gpuBudget.total",
        "parallelism.data x parallelism.tensor x parallelism.pipeline must be at most gpuBudget.total",
        _pins_within_budget,
    ),
    SpanningRule(
        ("spec", "target"),
        "spec.target",
        "has(self.timeToFirstToken) || has(self.timePerToken) || has(self.requestsPerSecond)",
        "at least one of timeToFirstToken, timePerToken and requestsPerSecond is needed",
        _target_asks_for_something,
    ),
    SpanningRule(
        ("spec", "target"),
        "spec.target.requestsPerSecond",
        "!has(self.requestsPerSecond) || self.requestsPerSecond >= 0.001",
        "requestsPerSecond must be at least 0.001",
        lambda _: None,  # reading refuses it by the bound of the field, which the API server drops for whole numbers
    ),
    SpanningRule(
        ("spec",),
        "spec.target.requestsPerSecond",
        "!has(self.scaling) || !has(self.target) || !has(self.target.requestsPerSecond)",
        "target.requestsPerSecond and scaling would both decide the number of replicas",
        _one_decides_on_replicas,
    ),
    SpanningRule(
        ("spec",),
        "spec.target.requestsPerSecond",
        "!has(self.target) || has(self.target.requestsPerSecond) || !has(self.roles) || self.roles.size() == 0",
        "with roles, target needs requestsPerSecond: each role is sized by the rate of the requests",
        _roles_are_sized_by_a_rate,
    ),
    SpanningRule(
        ("spec",),
        "spec.roles",
        "!has(self.roles) || self.roles.size() == 0 || (self.roles.size() == 2 && self.roles.exists(r, r.name == "
        "'prefill') && self.roles.exists(r, r.name == 'decode'))",
        "roles are prefill and decode, each once",
        _roles_are_both,
    ),
    SpanningRule(
        ("spec",),
        "spec.roles",
        "!has(self.roles) || self.roles.size() == 0 || ((!has(self.replicas) || self.replicas == 1) && "
        "(!has(self.parallelism) || !(has(self.parallelism.tensor) || has(self.parallelism.pipeline) || "
        "has(self.parallelism.expert) || has(self.parallelism.data) || has(self.parallelism.context))))",
        "with roles, each role has its own replicas and parallelism",
        _roles_have_the_degrees,
    ),
    SpanningRule(
        ("spec",),
        "spec.transfer",
        "!has(self.transfer) || (has(self.roles) && self.roles.size() > 0)",
        "transfer needs roles",
        _transfer_has_roles,
    ),
    SpanningRule(
        ("spec", "engine", "env", "items"),
        "spec.engine.env",
        "has(self.value) != has(self.valueFrom)",
        "exactly one of value and valueFrom is needed",
        _env_has_one_origin,
    ),
    SpanningRule(
        ("spec", "engine", "env", "items", "valueFrom"),
        "spec.engine.env",
        "has(self.secretKeyRef) != has(self.configMapKeyRef)",
        "exactly one of secretKeyRef and configMapKeyRef is needed",
        _env_source_is_one,
    ),
    SpanningRule(
        ("spec", "podTemplate"),
        "spec.podTemplate",
        f"(!has(self.requests) || !self.requests.exists(k, {_GPU_TEST}))"
        f" && (!has(self.limits) || !self.limits.exists(k, {_GPU_TEST}))",
        "the plan sets the GPUs; limit them with gpuBudget.total",
        _no_gpus_in_template,
    ),
    SpanningRule(
        ("spec", "podTemplate"),
        "spec.podTemplate",
        f"(!has(self.labels) || !self.labels.exists(k, k.startsWith('{OWN_PREFIX}')))"
        f" && (!has(self.annotations) || !self.annotations.exists(k, k.startsWith('{OWN_PREFIX}')))",
        f"labels and annotations that begin with {OWN_PREFIX} are set by the operator alone",
        _no_own_keys_in_template,
    ),
    SpanningRule(
        ("spec", "placement", "tolerations", "items"),
        "spec.placement.tolerations",
        "(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')",
        "a toleration without key needs operator Exists",
        _tolerations_name_a_key,
    ),
    SpanningRule(
        ("spec", "placement", "tolerations", "items"),
        "spec.placement.tolerations",
        "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
        "a toleration with operator Exists has no value",
        _tolerations_of_every_value_have_none,
    ),
    SpanningRule(
        ("spec", "placement", "nodeAffinity", "nodeSelectorTerms", "items", "matchExpressions", "items"),
        "spec.placement.nodeAffinity",
        "self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : "
        "self.operator in ['Gt', 'Lt'] ? has(self.values) && self.values.size() == 1"
        " && self.values[0].matches('^-?[0-9]{1,18}$') : !has(self.values) || self.values.size() == 0",
        "In and NotIn need values, Gt and Lt one whole number, Exists and DoesNotExist none",
        _requirements_have_their_values,
    ),
    SpanningRule(
        ("spec", "endpoint"),
        "spec.endpoint.picker",
        "(has(self.kind) && self.kind == 'inferencePool') == has(self.picker)",
        "an inferencePool needs a picker, and a service has none",
        _picker_with_pool,
    ),
    SpanningRule(
        ("spec", "endpoint"),
        "spec.endpoint.targetPort",
        "!has(self.targetPort) || (has(self.kind) && self.kind == 'inferencePool')",
        "only an inferencePool has a target port",
        _port_with_pool,
    ),
    SpanningRule(
        ("spec", "scaling"),
        "spec.scaling.min",
        "!has(self.min) || self.min <= self.max",
        "min must be at most max",
        _scaling_in_order,
    ),
    SpanningRule(
        ("spec",),
        "spec.scaling.min",
        "!has(self.scaling) || !has(self.scaling.min) || self.scaling.min <= self.gpuBudget.total",
        "scaling.min must be at most gpuBudget.total: each replica has a GPU",
        _scaling_within_budget,
    ),
    SpanningRule(
        ("spec",),
        "spec.scaling",
        "!has(self.scaling) || !has(self.roles) || self.roles.size() == 0",
        "a scaler sets the one number of the scale subresource, not that of a role: set target or roles[].replicas",
        _scaling_without_roles,
    ),
    SpanningRule(
        ("spec", "scaling"),
        "spec.scaling.target",
        "self.signal != 'kvCache' || self.target <= 100",
        "target is a percentage for kvCache, at most 100",
        _share_of_cache,
    ),
)
"""Every rule. The schema bounds each list and map that a rule walks, so that the rules stay cheap."""
