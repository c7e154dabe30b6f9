"""``spec``: what a user asks for. Every field is honoured, or the object is refused with the reason."""

from typing import Annotated, Any, Literal

from pydantic import Field

from shardwise.api.base import ByteQuantity, DnsName, Duration, EnvName, LabelKey, LabelValue, ShortText, Wire
from shardwise.api.model_spec import ModelSpec, SecretKey
from shardwise.domain.version import VERSION_PATTERN


class GpuBudget(Wire):
    """How many GPUs, and of which products."""

    total: int = Field(ge=1, le=10_000, description="The most GPUs this object may ever hold, over all replicas.")
    products: list[ShortText] = Field(
        default=[],
        max_length=32,
        description="Values of the node label nvidia.com/gpu.product that may be used; empty: any.",
    )


class Parallelism(Wire):
    """Pins for users who know; each wins over the planner, and is still checked."""

    tensor: int | None = Field(default=None, ge=1, le=1024, description="GPUs that share each layer.")
    pipeline: int | None = Field(default=None, ge=1, le=1024, description="Stages that hold the layers in turn.")
    expert: bool | None = Field(
        default=None, description="Whether the experts of a mixture are dealt out whole instead of split."
    )


class EnvSource(Wire):
    """Where an environment variable's value comes from: exactly one of the fields."""

    secret_key_ref: SecretKey | None = Field(default=None, description="A key of a Secret.")
    config_map_key_ref: SecretKey | None = Field(default=None, description="A key of a ConfigMap.")


class EnvVarSpec(Wire):
    """An environment variable of the engine."""

    name: EnvName = Field(description="Name of the variable.")
    value: Annotated[str, Field(max_length=32768)] | None = Field(default=None, description="Plain value.")
    value_from: EnvSource | None = Field(default=None, description="Reference to a value; not together with value.")


class EngineSpec(Wire):
    """The inference engine."""

    name: Literal["vllm", "sglang", "tensorrt-llm"] = Field(default="vllm", description="Which engine serves.")
    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="Container image; default: the engine's own release."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="As in a pod."
    )
    image_pull_secrets: list[DnsName] = Field(default=[], max_length=16, description="Names of pull Secrets.")
    version: Annotated[str, Field(min_length=1, max_length=64, pattern=VERSION_PATTERN)] | None = Field(
        default=None, description="The engine's release, where the image's tag does not say it.", examples=["0.33.0"]
    )
    args: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(
        default=[],
        max_length=128,
        description="Extra arguments, appended item by item. What contradicts the plan is refused.",
    )
    env: list[EnvVarSpec] = Field(default=[], max_length=128, description="Extra environment variables.")
    options: dict[str, Any] = Field(
        default={},
        max_length=128,
        description="TensorRT-LLM only: entries of its options file (extra_llm_api_options). "
        "What contradicts the plan is refused.",
    )


class TolerationSpec(Wire):
    """A toleration, as in a pod."""

    key: str = Field(default="", max_length=317, description="Taint key; empty matches every key.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="Exists matches every value.")
    value: LabelValue = Field(default="", description="Taint value.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="", description="Taint effect; empty matches every effect."
    )
    toleration_seconds: int | None = Field(default=None, ge=0, description="How long a NoExecute taint is borne.")


class NodeRequirementSpec(Wire):
    """What a node label must be, as in a pod's node affinity."""

    key: LabelKey = Field(description="Node label key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(description="As in Kubernetes.")
    values: list[LabelValue] = Field(
        default=[],
        max_length=32,
        description="For In and NotIn at least one, for Gt and Lt one whole number, else none.",
    )


class NodeTermSpec(Wire):
    """Requirements that must all hold."""

    match_expressions: list[NodeRequirementSpec] = Field(min_length=1, max_length=16, description="All must hold.")


class NodeAffinitySpec(Wire):
    """The part of a pod's node affinity that is required; preferences are the planner's own."""

    node_selector_terms: list[NodeTermSpec] = Field(min_length=1, max_length=16, description="One must hold.")


class Placement(Wire):
    """Where the pods may run."""

    node_selector: dict[LabelKey, LabelValue] = Field(
        default={}, max_length=32, description="Labels every node of the group must have."
    )
    node_affinity: NodeAffinitySpec | None = Field(
        default=None,
        description="What nodes' labels must be, as in a pod's "
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.",
    )
    tolerations: list[TolerationSpec] = Field(default=[], max_length=32, description="Taints the pods tolerate.")
    within: LabelKey | None = Field(
        default=None,
        description="What a whole group must stay inside: node, domain (the NVLink domain), a level that the operator "
        "configuration names, such as rack or zone, or any node label key.",
    )
    gang: Literal["none"] = Field(
        default="none", description="Gang scheduler to hand groups to; this version binds pods one by one."
    )
    priority_class_name: DnsName | None = Field(default=None, description="PriorityClass of the pods.")
    scheduler_name: DnsName | None = Field(default=None, description="Scheduler of the pods; default: the cluster's.")
    service_account_name: DnsName | None = Field(default=None, description="ServiceAccount of the pods.")
    runtime_class_name: DnsName | None = Field(default=None, description="RuntimeClass of the pods.")


class RestartPolicySpec(Wire):
    """What happens when a group fails."""

    max_restarts: int = Field(
        default=10, ge=0, le=1000, description="Failures in a row that are answered by a restart; the next one holds."
    )
    window: Duration = Field(
        default="1h",
        description="How long a group has to serve before its failures are forgotten, such as 90s or 1h30m.",
    )
    keep_failed: bool = Field(
        default=True,
        description="Whether the pods of a failed attempt, with their GPUs, are left to be looked at until the next "
        "attempt begins, and those of a held group until it is edited.",
    )
    smaller_layout: bool = Field(
        default=False,
        description="Whether a model that lost its nodes may come back on fewer GPUs a replica than its plan had.",
    )


class UpdateStrategySpec(Wire):
    """How replicas are replaced when other content is wanted; docs/updates.md says which field does what."""

    type: Literal["Rolling", "Recreate"] = Field(
        default="Rolling", description="Rolling replaces replica by replica, Recreate all at once."
    )
    max_surge: int = Field(
        default=1,
        ge=0,
        le=100,
        description="New replicas started beside the old ones at a time, where free GPUs and the budget allow.",
    )
    max_unavailable: int = Field(
        default=1, ge=1, le=100, description="Replicas that may be down at a time where none can be started beside."
    )


class PodTemplate(Wire):
    """Extras for the pods."""

    labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=32, description="Extra pod labels.")
    annotations: dict[LabelKey, Annotated[str, Field(max_length=4096)]] = Field(
        default={}, max_length=32, description="Extra pod annotations."
    )
    requests: dict[LabelKey, ShortText] = Field(
        default={}, max_length=16, description="Extra container requests, such as cpu and memory; no GPUs."
    )
    limits: dict[LabelKey, ShortText] = Field(
        default={}, max_length=16, description="Extra container limits, such as memory or RDMA devices; no GPUs."
    )
    shared_memory: ByteQuantity | None = Field(
        default=None, description="Size limit of /dev/shm; default: as the operator's configuration says, 16Gi."
    )


class ServiceSpec(Wire):
    """The Service clients reach the leaders through."""

    port: int = Field(default=8000, ge=1, le=65535, description="Port of the Service.")
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(default="ClusterIP", description="As in a Service.")


class ShardedModelSpec(Wire):
    """A model to serve, and what it may take."""

    model: ModelSpec = Field(description="The model to serve.")
    gpu_budget: GpuBudget = Field(description="How many GPUs this object may hold, and of which products.")
    replicas: int = Field(default=1, ge=0, le=1000, description="Independent groups, each a whole copy of the model.")
    objective: Literal["fewest-gpus", "latency", "throughput"] = Field(
        default="fewest-gpus", description="What to prefer among the layouts that fit."
    )
    parallelism: Parallelism = Field(default=Parallelism(), description="Pins of the layout.")
    engine: EngineSpec = Field(default=EngineSpec(), description="The inference engine.")
    placement: Placement = Field(default=Placement(), description="Where the pods may run.")
    restart_policy: RestartPolicySpec = Field(
        default=RestartPolicySpec(), description="What happens when a group fails."
    )
    update_strategy: UpdateStrategySpec = Field(
        default=UpdateStrategySpec(), description="How replicas are replaced when other content is wanted."
    )
    pod_template: PodTemplate = Field(default=PodTemplate(), description="Extras for the pods.")
    service: ServiceSpec = Field(default=ServiceSpec(), description="The Service to the leaders.")
