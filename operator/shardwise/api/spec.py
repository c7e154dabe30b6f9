"""``spec``: the wishes of a user. Every field is honoured, or the object is refused with the reason."""

from typing import Annotated, Any, Literal

from pydantic import Field

from shardwise.api.attachment_spec import EndpointSpec, ScalingSpec
from shardwise.api.base import (
    DnsName,
    Duration,
    EnvName,
    Image,
    LabelKey,
    LabelValue,
    ShortText,
    Wire,
)
from shardwise.api.model_spec import ModelSpec, SecretKey
from shardwise.api.pod_template import PodTemplate
from shardwise.api.target_spec import TargetSpec
from shardwise.domain.version import VERSION_PATTERN


class GpuBudget(Wire):
    """The number of GPUs that the object may hold, and their products."""

    total: int = Field(
        ge=1,
        le=10_000,
        description="The most GPUs that this object may hold at any time, over all replicas. It has no default: the "
        "number is the user's promise about cost.",
        examples=["8"],
    )
    products: list[ShortText] = Field(
        default=[],
        max_length=32,
        description="GPU products that the planner may use, by the value of the node label nvidia.com/gpu.product. "
        "Empty: every product.",
    )


class Parallelism(Wire):
    """Parts of the layout that the user fixes. A pin wins over the planner and is still checked."""

    tensor: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Tensor degree: the number of GPUs that share each layer. Default: the planner chooses it.",
    )
    pipeline: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Pipeline degree: the number of stages, which hold the layers in turn. Default: the planner "
        "chooses it.",
    )
    expert: bool | None = Field(
        default=None,
        description="Whether each GPU holds whole experts of a mixture instead of a slice of every expert. Default: "
        "the planner chooses.",
    )
    data: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Data degree: the number of tensor groups that hold the same layers, each with the attention of "
        "sequences of its own, and together the experts of a mixture. Only for models with experts; spec.replicas "
        "serves other models. Default: the planner chooses it; 1 if both tensor and pipeline are given.",
    )
    context: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Context degree: the number of GPUs of a tensor group that divide the tokens of a sequence's KV "
        "cache. It adds no GPUs. Default: 1.",
    )


class EnvSource(Wire):
    """The origin of an environment variable's value: exactly one of the fields."""

    secret_key_ref: SecretKey | None = Field(default=None, description="The key of a Secret that holds the value.")
    config_map_key_ref: SecretKey | None = Field(
        default=None, description="The key of a ConfigMap that holds the value."
    )


class EnvVarSpec(Wire):
    """An environment variable of the engine's container."""

    name: EnvName = Field(description="Name of the environment variable.")
    value: Annotated[str, Field(max_length=32768)] | None = Field(
        default=None, description="Plain value of the variable. Give either value or valueFrom."
    )
    value_from: EnvSource | None = Field(
        default=None, description="Reference to the value of the variable. Give either value or valueFrom."
    )


class EngineSpec(Wire):
    """The inference engine."""

    name: Literal["vllm", "sglang", "tensorrt-llm"] = Field(
        default="vllm", description="The inference engine that serves the model: vllm, sglang or tensorrt-llm."
    )
    image: Image | None = Field(
        default=None,
        description="Container image of the engine. Default: the image of the operator's configuration, or else the "
        "image of the release that Shardwise was written for.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None,
        description="When the kubelet pulls the images, as imagePullPolicy in a pod. Default: as Kubernetes decides.",
    )
    image_pull_secrets: list[DnsName] = Field(
        default=[],
        max_length=16,
        description="Names of the Secrets in the object's namespace that the kubelet pulls the images with.",
    )
    version: Annotated[str, Field(min_length=1, max_length=64, pattern=VERSION_PATTERN)] | None = Field(
        default=None,
        description="Release of the engine. Needed only if the image's tag does not name the release.",
        examples=["0.33.0"],
    )
    args: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(
        default=[],
        max_length=128,
        description="Extra arguments of the engine, appended word by word. An argument that contradicts the plan is "
        "refused.",
    )
    env: list[EnvVarSpec] = Field(
        default=[],
        max_length=128,
        description="Extra environment variables of the engine's container. A variable that the plan or the "
        "launch decides is refused.",
    )
    servers: Literal["leader", "everyPod"] = Field(
        default="leader",
        description="The pods of a replica that clients reach: leader, which gives requests to all data ranks, or "
        "everyPod, where each pod serves for its own data ranks and the Service divides requests among pods. everyPod "
        "needs vllm, and counts only where the pods of a replica hold whole data ranks; elsewhere the leader serves.",
    )
    options: dict[str, Any] = Field(
        default={},
        max_length=128,
        description="Entries for the options file of TensorRT-LLM (extra_llm_api_options). An entry that contradicts "
        "the plan is refused, and so is the field with another engine.",
    )


class TolerationSpec(Wire):
    """A toleration, as in a pod."""

    key: str = Field(
        default="", max_length=317, description="Key of the taint. Empty: the toleration matches every key."
    )
    operator: Literal["Exists", "Equal"] = Field(
        default="Equal",
        description="How the value is compared: Exists matches every value, Equal only the given value.",
    )
    value: LabelValue = Field(default="", description="Value of the taint.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="", description="Effect of the taint. Empty: the toleration matches every effect."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, description="Seconds for which the pod tolerates a NoExecute taint. Default: for ever."
    )


class NodeRequirementSpec(Wire):
    """A requirement on a node label, as in a pod's node affinity."""

    key: LabelKey = Field(description="Key of the node label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How the label is compared with values, as in a pod's node affinity."
    )
    values: list[LabelValue] = Field(
        default=[],
        max_length=32,
        description="Values to compare with: at least one for In and NotIn, one whole number for Gt and Lt, none for "
        "Exists and DoesNotExist.",
    )


class NodeTermSpec(Wire):
    """Requirements that a node must meet together."""

    match_expressions: list[NodeRequirementSpec] = Field(
        min_length=1, max_length=16, description="Requirements on node labels. A node must meet all of them."
    )


class NodeAffinitySpec(Wire):
    """The required part of a pod's node affinity. Preferences are left to the planner."""

    node_selector_terms: list[NodeTermSpec] = Field(
        min_length=1, max_length=16, description="Terms of the affinity. A node must meet at least one of them."
    )


class KueueQueueSpec(Wire):
    """A queue of Kueue."""

    local_queue: DnsName = Field(
        description="Name of the LocalQueue in the object's namespace. It cannot be changed on pods that exist: a "
        "change replaces the replicas."
    )


class QueueSpec(Wire):
    """The queue of the cluster that admits the replicas."""

    kueue: KueueQueueSpec = Field(
        description="A queue of Kueue. Each attempt of a replica is a group of pods that Kueue admits together."
    )


class Placement(Wire):
    """The nodes that the pods may run on."""

    node_selector: dict[LabelKey, LabelValue] = Field(
        default={}, max_length=32, description="Labels that every node must have, as in a pod."
    )
    node_affinity: NodeAffinitySpec | None = Field(
        default=None,
        description="Requirements on the labels of every node, as in a pod's "
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.",
    )
    tolerations: list[TolerationSpec] = Field(
        default=[], max_length=32, description="Taints that the pods tolerate, as in a pod."
    )
    within: LabelKey | None = Field(
        default=None,
        description="Part of the cluster that must hold all nodes of a replica: node, domain (the NVLink domain), a "
        "level that the operator's configuration names, such as rack or zone, or the key of any node "
        "label.",
    )
    owner: Literal["shardwise", "scheduler"] = Field(
        default="shardwise",
        description="Who picks the nodes of the pods. shardwise: each pod names the node that the plan gives it. "
        "scheduler: the plan fixes the layout, the GPU product, the NVLink domain and the place of within, and the "
        "scheduler of the pods picks the nodes.",
    )
    gang: Literal["none", "native", "volcano", "kai", "coscheduling"] | None = Field(
        default=None,
        description="Gang scheduler, which binds all pods of a replica or none. native: Kubernetes' own PodGroups. "
        "none: the pods are bound one by one. It must be named in launch.gangs of the operator's configuration. "
        "Default: that of the operator's configuration, or else none.",
    )
    gang_queue: DnsName | None = Field(
        default=None,
        description="Queue of Volcano or KAI that the replicas count against. Default: that of the operator's "
        "configuration.",
    )
    queue: QueueSpec | None = Field(
        default=None,
        description="Queue of the cluster that admits the replicas. Its system must be named in launch.queues of the "
        "operator's configuration. Default: the queue of the operator's configuration, or else none.",
    )
    priority_class_name: DnsName | None = Field(default=None, description="Name of the PriorityClass of the pods.")
    scheduler_name: DnsName | None = Field(
        default=None, description="Name of the scheduler of the pods. Default: the cluster's default scheduler."
    )
    service_account_name: DnsName | None = Field(
        default=None,
        description="Name of the ServiceAccount of the pods. Default: no token of the Kubernetes API is mounted.",
    )
    runtime_class_name: DnsName | None = Field(default=None, description="Name of the RuntimeClass of the pods.")


class RestartPolicySpec(Wire):
    """How the operator reacts to a replica that fails."""

    max_restarts: int = Field(
        default=10,
        ge=0,
        le=1000,
        description="Number of failures in a row after which the replica starts again. The next failure holds the "
        "replica until the object is edited.",
    )
    window: Duration = Field(
        default="1h",
        description="How long a replica must serve before the count of its failures starts at zero again, such as 90s "
        "or 1h30m.",
    )
    keep_failed: bool = Field(
        default=True,
        description="Whether the pods of a failed attempt stay, with their GPUs, until the next attempt begins, so "
        "that their logs can be read. The pods of a held replica stay until the object is edited.",
    )
    smaller_layout: bool = Field(
        default=False,
        description="Whether a model that lost its nodes may come back with fewer GPUs per replica than its plan had.",
    )


class HealthSpec(Wire):
    """How the operator finds replicas that hang."""

    idle_request_interval: Duration | None = Field(
        default=None,
        description="Interval at which a replica that serves and has nothing to do is asked for one token, such as "
        "10m; at least 1m. A replica that does not answer is started again. Only for vLLM without an API key. Default: "
        "replicas are not asked, so that a rank that hangs is noticed when a client asks.",
    )


class UpdateStrategySpec(Wire):
    """How replicas are replaced when the content of their pods changes; docs/updates.md says what each field does."""

    type: Literal["Rolling", "Recreate"] = Field(
        default="Rolling",
        description="Rolling replaces the replicas step by step, Recreate replaces all of them at once.",
    )
    max_surge: int = Field(
        default=1,
        ge=0,
        le=100,
        description="Number of new replicas that may start at a time beside the old replicas, if free GPUs and the GPU"
        " budget allow it.",
    )
    max_unavailable: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Number of replicas that may be down at a time if no new replica can start beside the old "
        "replicas.",
    )


class ServiceSpec(Wire):
    """The Service by which clients reach the replicas."""

    port: int = Field(default=8000, ge=1, le=65535, description="Port of the Service, which clients connect to.")
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP",
        description="Type of the Service, as in a Kubernetes Service. Other types than ClusterIP need "
        "allow.serviceTypes in the operator's configuration.",
    )


class RoleSpec(Wire):
    """A role: the groups that work on the same part of every request. Fields that are left out are the object's."""

    name: Literal["prefill", "decode"] = Field(
        description="The part of a request that the groups of the role work on: prefill the prompt, decode the answer."
    )
    replicas: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Number of replicas of the role. With spec.target, the least number; 0 still asks for none. "
        "Default: from the estimated speeds of both roles, as few as keep the ratio; 1 with spec.target.",
    )
    objective: Literal["fewest-gpus", "latency", "throughput", "cheapest"] | None = Field(
        default=None,
        description="Goal by which the planner chooses among the layouts that fit. Default: spec.objective.",
    )
    products: list[ShortText] = Field(
        default=[],
        max_length=32,
        description="GPU products that the role may use, as in spec.gpuBudget.products. Default: those.",
    )
    parallelism: Parallelism = Field(
        default=Parallelism(), description="Parts of the layout of the role that you fix yourself."
    )


class TransferSpec(Wire):
    """How KV caches travel from prefill to decode."""

    connector: Literal["nixl", "mooncake"] = Field(
        default="nixl",
        description="Library by which the engine moves KV caches: nixl or mooncake. The image must contain it.",
    )
    within: LabelKey | None = Field(
        default=None,
        description="Part of the cluster that must hold all replicas of both roles, such as an NVLink domain or an "
        "island of RDMA: node, domain, a level that the operator's configuration names, or the key of any node label. "
        "Default: the whole cluster.",
    )


class ShardedModelSpec(Wire):
    """A model to serve, with its GPU budget and every wish about its launch."""

    model: ModelSpec = Field(description="The model to serve.", examples=["{name: meta-llama/Llama-3.1-8B-Instruct}"])
    gpu_budget: GpuBudget = Field(
        description="The number of GPUs that this object may hold, and their products.", examples=["{total: 8}"]
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Number of replicas. Each replica is a group of pods that holds a whole copy of the model. With "
        "spec.target.requestsPerSecond, the least number; 0 still asks for none.",
    )
    objective: Literal["fewest-gpus", "latency", "throughput", "cheapest"] = Field(
        default="fewest-gpus",
        description="Goal by which the planner chooses among the layouts that fit and meet the target: the fewest GPUs,"
        " the lowest latency for one sequence, the highest throughput per GPU, or the lowest price by the prices of the"
        " operator's configuration.",
    )
    target: TargetSpec | None = Field(
        default=None,
        description="Load of the object and speed that its clients want. The planner chooses layout, product and "
        "number of replicas by estimates so that they are met, of each role if there are roles. Default: every layout "
        "that fits will do.",
    )
    parallelism: Parallelism = Field(default=Parallelism(), description="Parts of the layout that you fix yourself.")
    roles: Annotated[list[RoleSpec], Field(max_length=2)] = Field(
        default=[],
        description="Prefill and decode as groups of their own: both roles, each once. They share the GPU budget. Not "
        "with spec.replicas or spec.parallelism, which the roles have themselves. Default: each replica does both.",
    )
    transfer: TransferSpec | None = Field(
        default=None, description="How KV caches travel from prefill to decode. Only with spec.roles."
    )
    engine: EngineSpec = Field(
        default=EngineSpec(), description="The inference engine, its image and its extra arguments."
    )
    placement: Placement = Field(default=Placement(), description="The nodes that the pods may run on.")
    restart_policy: RestartPolicySpec = Field(
        default=RestartPolicySpec(), description="How the operator reacts to a replica that fails."
    )
    update_strategy: UpdateStrategySpec = Field(
        default=UpdateStrategySpec(), description="How replicas are replaced when the content of their pods changes."
    )
    health: HealthSpec = Field(default=HealthSpec(), description="How the operator finds replicas that hang.")
    pod_template: PodTemplate = Field(
        default=PodTemplate(), description="Additions to the pods: labels, resources, volumes, containers."
    )
    service: ServiceSpec = Field(default=ServiceSpec(), description="The Service by which clients reach the replicas.")
    endpoint: EndpointSpec = Field(
        default=EndpointSpec(),
        description="How clients reach the replicas: by the Service alone, or also by a gateway.",
    )
    scaling: ScalingSpec | None = Field(
        default=None,
        description="Bounds and goal of a scaler that sets spec.replicas. Leave spec.replicas out of the file then. "
        "Default: nobody but users sets spec.replicas.",
    )
