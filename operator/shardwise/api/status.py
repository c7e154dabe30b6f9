"""``status``: the report of the operator, which alone writes it."""

from typing import Literal

from pydantic import Field

from shardwise.api.base import Reported


class ConditionReport(Reported):
    """A condition of the object, in the form of Kubernetes' metav1.Condition."""

    type: str = Field(description="The condition: Ready, Reconciling, Stalled, Planned, Launched or Degraded.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    reason: str = Field(
        description="The reason for this status, in CamelCase. Reasons are stable: scripts may compare them."
    )
    message: str = Field(default="", description="The reason in one sentence, for people. Its words may change.")
    last_transition_time: str = Field(
        description="When the status of the condition last changed.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: int | None = Field(
        default=None, description="The metadata.generation that the condition describes."
    )


class MemoryReport(Reported):
    """Memory use of the GPU that holds the most, in bytes."""

    weights: int = Field(description="Bytes of the weights.")
    kv_cache: int = Field(description="Bytes of the KV cache for the requested number of sequences.")
    activations: int = Field(description="Bytes of the activations at their peak; an estimate.")
    reserve: int = Field(description="Bytes kept free for the runtime.")
    needed: int = Field(description="Bytes needed: the sum of weights, kvCache, activations and reserve.")
    budget: int = Field(description="Bytes that the engine may use.")
    slack: int = Field(description="Bytes left over: budget minus needed.")
    left_free: int | None = Field(
        default=None, description="Bytes of the GPU that the engine leaves to others, as the object asks. Default: 0."
    )


class EstimateReport(Reported):
    """Estimated speed of a replica, by the roofline model."""

    microseconds_per_token: int = Field(
        description="Microseconds for one output token when the engine serves one sequence."
    )
    tokens_per_second_per_gpu: int = Field(
        description="Output tokens per second and GPU when the engine serves a full batch."
    )


class AskedReport(Reported):
    """The target that the plan was sized for, as spec.target asks."""

    input_tokens: int = Field(description="Tokens of a prompt, as a mean.")
    output_tokens: int = Field(description="Tokens that a request gets, as a mean.")
    microseconds_to_first_token: int | None = Field(
        default=None, description="Longest time from a request to its first token, in microseconds. Default: any time."
    )
    microseconds_per_token: int | None = Field(
        default=None, description="Longest time from a token to the next token, in microseconds. Default: any time."
    )
    requests_per_second: float | None = Field(
        default=None, description="Requests per second that all replicas serve together. Default: no rate is asked for."
    )


class SizingReport(Reported):
    """How the replicas meet the target. All figures besides the target are estimates for the planned load."""

    asked: AskedReport = Field(description="The target that the plan was sized for.")
    replicas: int = Field(description="Least number of replicas that meets the target.")
    microseconds_to_first_token: int | None = Field(
        default=None, description="Microseconds from a request to its first token. Absent for the role decode."
    )
    microseconds_of_first_token: int | None = Field(
        default=None,
        description="Microseconds of the time to the first token that pass in decode. Only for the role decode.",
    )
    microseconds_per_token: int | None = Field(
        default=None,
        description="Microseconds from a token of a request to the next token. Absent for the role prefill.",
    )
    sequences: int = Field(description="Requests that a replica works on at once.")
    requests_per_second_per_replica: float = Field(
        description="Most requests per second that a replica serves within the target."
    )
    binds: str = Field(
        description="Why a replica serves no more: first-token or per-token (the times of the target), cache (the room "
        "of its KV cache), sequences (the most requests that the engine works on at once) or prompts (prefill works "
        "nearly all the time)."
    )


class AlternativeReport(Reported):
    """A layout that was considered and not chosen."""

    tensor: int = Field(description="Tensor degree of the layout: the GPUs that share each layer.")
    pipeline: int = Field(description="Pipeline degree of the layout: the number of stages.")
    expert: bool = Field(
        default=False, description="Whether each GPU holds whole experts instead of a slice of every expert."
    )
    data: int | None = Field(
        default=None, description="Data degree of the layout: its tensor groups on the same layers. Default: 1."
    )
    context: int | None = Field(
        default=None, description="Context degree of the layout: the GPUs that divide a sequence's cache. Default: 1."
    )
    product: str = Field(description="GPU product that the layout was tried on.")
    verdict: str = Field(description="Either fits or refused.")
    reason: str = Field(description="Why another layout was chosen, or why this layout cannot be used.")


class PlanReport(Reported):
    """The plan that the replicas are started from."""

    demand: str | None = Field(default=None, description="Fingerprint of the demand that the plan was made for.")
    made_at: str | None = Field(
        default=None, description="When the plan was made.", json_schema_extra={"format": "date-time"}
    )
    tensor: int = Field(description="Tensor degree: the GPUs that share each layer.")
    pipeline: int = Field(description="Pipeline degree: the number of stages, which hold the layers in turn.")
    expert: bool = Field(description="Whether each GPU holds whole experts instead of a slice of every expert.")
    data: int | None = Field(
        default=None,
        description="Data degree: the tensor groups that hold the same layers, each with sequences of its own. "
        "Default: 1.",
    )
    context: int | None = Field(
        default=None,
        description="Context degree: the GPUs of a tensor group that divide a sequence's cache. Default: 1.",
    )
    gpus_per_replica: int = Field(description="GPUs that each replica holds.")
    world_size: int = Field(description="Number of ranks of each replica: data times tensor times pipeline.")
    product: str = Field(description="GPU product that the replicas run on.")
    rule: str = Field(description="The rule that chose this layout among the layouts that fit.")
    because: str = Field(default="", description="The rule in words, with the numbers that decided.")
    engine: str = Field(description="Inference engine that the plan was made for.")
    context_length: int = Field(description="Tokens of a sequence that the KV cache is planned for.")
    concurrency: int = Field(description="Sequences that the KV cache holds at once.")
    tight: bool = Field(description="Whether less than 5 % of the memory budget is left.")
    memory: MemoryReport = Field(description="Memory use of the GPU that holds the most.")
    estimate: EstimateReport = Field(description="Estimated speed of each replica.")
    alternatives: list[AlternativeReport] = Field(
        default=[], description="The most useful layouts that were not chosen, and why."
    )
    alternatives_total: int = Field(default=0, description="Number of layouts that were not chosen, listed or not.")
    notes: list[str] = Field(default=[], description="Further remarks on the plan, each in one sentence.")
    ipv6: bool | None = Field(
        default=None, description="Whether the first address of the pods is of IPv6. Default: false."
    )
    joined: bool | None = Field(
        default=None,
        description="Whether tensor groups cross nodes without NVLink, as spec.parallelism asks. Default: false.",
    )
    linked: bool | None = Field(
        default=None, description="Whether data ranks use NVLink between the nodes of a replica. Default: false."
    )
    states: int | None = Field(
        default=None,
        description="States of sequences (Mamba, linear attention) that each GPU has room for. Present for models that "
        "keep states, on vLLM and SGLang.",
    )
    target: SizingReport | None = Field(
        default=None, description="How the replicas meet spec.target. Present with a target."
    )
    gpu_price_per_hour: float | None = Field(
        default=None,
        description="Money that a GPU costs in an hour, by the operator's configuration. Present if a price is stated.",
    )
    resource: str | None = Field(
        default=None, description="Extended resource by which the pods request GPUs. Default: nvidia.com/gpu."
    )


class CacheTokensReport(Reported):
    """The tokens that the KV cache of one replica holds."""

    planned: int = Field(description="Tokens that the plan has room for, in sequences of the planned context.")
    measured: int = Field(description="Tokens that the engine itself reports.")


class GroupReport(Reported):
    """The state of one replica."""

    replica: int = Field(description="Number of the replica, from 0.")
    role: str = Field(default="", description="Role of the replica, in an object with roles: prefill or decode.")
    attempt: int = Field(
        description="Number of the current attempt, from 0. Every restart of the replica begins a new attempt."
    )
    state: str = Field(
        description="State of the replica: Waiting, Pending, Queued, Starting, Ready, Unready, Backoff, Refused or "
        "Held."
    )
    since: str = Field(description="When the replica entered this state.", json_schema_extra={"format": "date-time"})
    failures: int = Field(
        default=0,
        description="Failures in a row since the replica last served for the time that spec.restartPolicy.window says.",
    )
    served: str | None = Field(
        default=None, description="When the current attempt was first Ready.", json_schema_extra={"format": "date-time"}
    )
    retry_at: str | None = Field(
        default=None,
        description="When the next attempt begins, after a failure or a refusal of pods.",
        json_schema_extra={"format": "date-time"},
    )
    refused: int = Field(
        default=0,
        description="Refused tries of the model in a row, up to the last try of this replica. 0: its pods are not "
        "refused.",
    )
    ready_pods: int = Field(default=0, description="Number of the replica's pods that are Ready.")
    pods: int = Field(default=0, description="Number of pods the replica has.")
    loaded_pods: int | None = Field(
        default=None,
        description="Number of pods that have all weights. Present if they are fetched before the engine starts.",
    )
    nodes: list[str] = Field(default=[], description="Nodes of the replica's pods, in the order of their ranks.")
    planned_nodes: list[str] = Field(
        default=[],
        description="Nodes that the plan had in mind, if the scheduler picks the nodes (spec.placement.owner). The "
        "replica holds GPUs there only if they are in nodes, too.",
    )
    gpus_per_pod: int = Field(
        default=0, description="GPUs that each pod holds. Pod 0 runs the first ranks, pod 1 the next ranks, and so on."
    )
    content: str = Field(
        default="", description="Fingerprint of the fields of the spec that the replica's pods were made from."
    )
    failure: str = Field(
        default="",
        description=(
            "Kind of the last failure, while the replica is in Backoff or Held: GpuMemory, HostMemory, Evicted, "
            "UnknownArgument, FilesDenied, TokenRefused, Hung or Other."
        ),
    )
    no_restart: bool = Field(
        default=False,
        description="True while the replica is in Backoff, if its next attempt counts as no restart: the last attempt "
        "never ran, or a queue of the cluster took it away.",
    )
    kv_cache_tokens: CacheTokensReport | None = Field(
        default=None,
        description="Tokens that the KV cache holds, as planned and as the engine reports it. Present when the replica "
        "serves and its engine has reported it.",
    )
    message: str = Field(
        default="",
        description="What the replica waits for, how it failed, or how its KV cache differs from the plan.",
    )


class ShunnedReport(Reported):
    """A node that the model does not use for a while."""

    node: str = Field(description="Name of the node.")
    why: str = Field(
        description="Failed: replicas failed on the node. Unschedulable: the scheduler did not bind a pod to the node."
    )
    times: int = Field(description="How often that happened.")
    until: str = Field(description="Until when the node is left out.", json_schema_extra={"format": "date-time"})


class RoleReport(Reported):
    """The state of a role of the object."""

    name: str = Field(description="The role: prefill or decode.")
    wanted_replicas: int = Field(
        default=0, description="Number of replicas that the role shall have, by the object or by the estimates."
    )
    replicas: int = Field(default=0, description="Number of replicas that exist.")
    ready_replicas: int = Field(default=0, description="Number of replicas that serve requests.")
    plan: PlanReport | None = Field(default=None, description="The plan that the replicas are started from.")


class ShardedModelStatus(Reported):
    """The object as the operator last saw it."""

    observed_generation: int = Field(
        default=-1,
        description="The metadata.generation that this status describes. -1: the operator has not seen the object yet.",
    )
    conditions: list[ConditionReport] = Field(
        default=[], description="The conditions Ready, Reconciling, Stalled, Planned, Launched and Degraded."
    )
    message: str = Field(default="", description="The state of the model in one sentence.")
    replicas: int = Field(default=0, description="Number of replicas that exist.")
    ready_replicas: int = Field(default=0, description="Number of replicas that serve requests.")
    selector: str = Field(default="", description="Label selector of the leader pods, for the scale subresource.")
    endpoint: str = Field(default="", description="URL of the OpenAI-compatible API inside the cluster.")
    restarts: int = Field(default=0, description="Number of restarts of all replicas together.")
    plan: PlanReport | None = Field(default=None, description="The plan that the replicas are started from.")
    roles: list[RoleReport] = Field(
        default=[], description="The roles of an object with roles, each with its plan. Then the object has no plan."
    )
    groups: list[GroupReport] = Field(default=[], description="The state of each replica.")
    shunned_nodes: list[ShunnedReport] = Field(
        default=[], description="Nodes that this model does not use for a while, after failures there."
    )
    waiting_since: str | None = Field(
        default=None, description="Since when the model waits for free GPUs.", json_schema_extra={"format": "date-time"}
    )
