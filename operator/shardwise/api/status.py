"""``status``: what the operator reports. Written by the operator alone."""

from typing import Literal

from pydantic import Field

from shardwise.api.base import Reported


class Condition(Reported):
    """A condition, as Kubernetes' metav1.Condition."""

    type: str = Field(description="Ready, Reconciling, Stalled, Planned, Launched or Degraded.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="Stable CamelCase reason.")
    message: str = Field(default="", description="One line for people.")
    last_transition_time: str = Field(
        description="When the status last changed.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: int | None = Field(default=None, description="Generation the condition is about.")


class MemoryReport(Reported):
    """Bytes on the fullest GPU."""

    weights: int = Field(description="Weights.")
    kv_cache: int = Field(description="KV cache of the asked-for sequences.")
    activations: int = Field(description="Peak activations, an estimate.")
    reserve: int = Field(description="Kept for the runtime.")
    needed: int = Field(description="Sum of the above.")
    budget: int = Field(description="What the engine may use.")
    slack: int = Field(description="budget - needed.")


class EstimateReport(Reported):
    """Roofline estimates."""

    microseconds_per_token: int = Field(description="One sequence, one output token.")
    tokens_per_second_per_gpu: int = Field(description="At a serving batch.")


class AlternativeReport(Reported):
    """A layout that lost."""

    tensor: int = Field(description="Tensor degree.")
    pipeline: int = Field(description="Pipeline degree.")
    expert: bool = Field(default=False, description="Experts dealt out whole.")
    product: str = Field(description="GPU product.")
    verdict: str = Field(description="fits or refused.")
    reason: str = Field(description="Why it lost.")


class PlanReport(Reported):
    """The plan in force."""

    demand: str | None = Field(default=None, description="Fingerprint of the demand the plan answers.")
    made_at: str | None = Field(
        default=None, description="When the plan was made.", json_schema_extra={"format": "date-time"}
    )
    tensor: int = Field(description="GPUs that share each layer.")
    pipeline: int = Field(description="Stages.")
    expert: bool = Field(description="Whether experts are dealt out whole.")
    gpus_per_replica: int = Field(description="GPUs a group holds.")
    world_size: int = Field(description="tensor x pipeline.")
    product: str = Field(description="GPU product.")
    rule: str = Field(description="Rule that decided.")
    because: str = Field(default="", description="That rule in words.")
    engine: str = Field(description="Engine.")
    context_length: int = Field(description="Tokens per sequence.")
    concurrency: int = Field(description="Sequences the KV cache holds.")
    tight: bool = Field(description="Whether under 5 % of the budget is left.")
    memory: MemoryReport = Field(description="Memory of the fullest GPU.")
    estimate: EstimateReport = Field(description="Estimated speed.")
    alternatives: list[AlternativeReport] = Field(default=[], description="Layouts that lost, and why.")
    alternatives_total: int = Field(default=0, description="How many lost in all.")
    notes: list[str] = Field(default=[], description="What to know besides.")
    resource: str | None = Field(default=None, description="Extended resource of a GPU; default: nvidia.com/gpu.")


class GroupReport(Reported):
    """One replica as it is."""

    replica: int = Field(description="Number of the replica.")
    attempt: int = Field(description="How often it was started again.")
    state: str = Field(description="Waiting, Pending, Starting, Ready, Unready, Backoff or Held.")
    since: str = Field(description="When this state began.", json_schema_extra={"format": "date-time"})
    failures: int = Field(default=0, description="Failures in a row.")
    served: str | None = Field(
        default=None, description="When this attempt was first Ready.", json_schema_extra={"format": "date-time"}
    )
    retry_at: str | None = Field(
        default=None, description="When the next attempt begins.", json_schema_extra={"format": "date-time"}
    )
    ready_pods: int = Field(default=0, description="Pods that are Ready.")
    pods: int = Field(default=0, description="Pods it has.")
    loaded_pods: int | None = Field(
        default=None, description="Pods that have all weights, where these are fetched before the ranks start."
    )
    nodes: list[str] = Field(default=[], description="Nodes of its pods, in rank order.")
    gpus_per_pod: int = Field(default=0, description="GPUs each pod holds; pod 0 runs the first ranks, and so on.")
    content: str = Field(default="", description="Name of what its pods were made from.")
    message: str = Field(default="", description="What it waits for, or how it failed.")


class ShunnedReport(Reported):
    """A node that is left out for a while."""

    node: str = Field(description="The node.")
    why: str = Field(description="Failed: groups failed there; Unschedulable: it took no pod.")
    times: int = Field(description="How often.")
    until: str = Field(description="When that is forgotten.", json_schema_extra={"format": "date-time"})


class ShardedModelStatus(Reported):
    """The object as the operator last saw it."""

    observed_generation: int = Field(default=-1, description="Generation this status is about; -1: not seen yet.")
    conditions: list[Condition] = Field(
        default=[], description="Ready, Reconciling, Stalled, Planned, Launched, Degraded."
    )
    message: str = Field(default="", description="The one line to read.")
    replicas: int = Field(default=0, description="Groups that exist.")
    ready_replicas: int = Field(default=0, description="Groups that serve.")
    selector: str = Field(default="", description="Label selector of the leaders, for the scale subresource.")
    endpoint: str = Field(default="", description="URL of the OpenAI-compatible API inside the cluster.")
    restarts: int = Field(default=0, description="Restarts of groups, all told.")
    plan: PlanReport | None = Field(default=None, description="The plan in force.")
    groups: list[GroupReport] = Field(default=[], description="The replicas.")
    shunned_nodes: list[ShunnedReport] = Field(default=[], description="Nodes left out after failures, for a while.")
    waiting_since: str | None = Field(
        default=None, description="Since when it waits for GPUs.", json_schema_extra={"format": "date-time"}
    )
