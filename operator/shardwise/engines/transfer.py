"""The part of a pod's launch that moves KV caches between prefill and decode, and what routers look for on pods.

Sources: vllm 0.33.0 (config/kv_transfer.py, distributed/kv_transfer/kv_connector/v1/nixl and mooncake, envs.py), sglang
0.5.23 (srt/disaggregation, srt/arg_groups/fields), NVIDIA/TensorRT-LLM@0434b982 (docs/source/features/
disagg-serving.md).
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import Wanted
from shardwise.domain.release import release_of
from shardwise.domain.roles import Connector, Role, RoleName
from shardwise.domain.version import Version, dotted
from shardwise.engines.context import PodContext
from shardwise.engines.figures import keeps_states
from shardwise.planner.transfer_support import moves_since, transfers_of

ROLES: Final = "spec.roles"
"""The field of the options that say which role an engine has."""

TRANSFER: Final = "spec.transfer.connector"
"""The field of the options that say how caches move."""

SIDE_CHANNEL: Final = 5600
"""vLLM's port where decode asks prefill for the addresses of a cache; data rank ``n`` has the port ``n`` higher."""

BOOTSTRAP: Final = 8998
"""The port of prefill where decode looks up the ranks: of SGLang, and of Mooncake in vLLM. The default of both."""

KEEP_ALIVE: Final = "120"
"""Seconds for which vLLM keeps an idle connection. Its own 5 seconds are fewer than those of llm-d's sidecar."""

_VLLM_CONNECTORS: Final = {Connector.NIXL: "NixlConnector", Connector.MOONCAKE: "MooncakeConnector"}
_VLLM_ROLES: Final = {RoleName.PREFILL: "kv_producer", RoleName.DECODE: "kv_consumer"}
_OR_NO_ROLES: Final = "or leave `spec.roles` out, so that each replica does both"
_TENSORRT_LLM_ROLES: Final = {RoleName.PREFILL: "CONTEXT", RoleName.DECODE: "GENERATION"}

Value = TypeVar("Value")


def of_role(
    value: Callable[[PodContext, Role], Value | None],
    name: RoleName | None = None,
    connector: Connector | None = None,
) -> Callable[[PodContext], Value | None]:
    """Emit a value only in pods of a role: of any role, or of the named role, with any or the named connector."""

    def emitted(pod: PodContext) -> Value | None:
        role = pod.wanted.launch.role
        if role is None or (name or role.name) is not role.name or (connector or role.connector) is not role.connector:
            return None
        return value(pod, role)

    return emitted


def _mooncake_protocol(wanted: Wanted) -> str:
    """Give the protocol of Mooncake: TCP where the operator's configuration gives pods no RDMA devices."""
    return "rdma" if wanted.site.rdma else "tcp"


def vllm_transfer(pod: PodContext, role: Role) -> str:
    """Give vLLM's configuration of the transfer.

    A decode engine whose prefill is gone, or of another release, works on the prompt itself.
    """
    found: dict[str, Any] = {"kv_connector": _VLLM_CONNECTORS[role.connector], "kv_role": _VLLM_ROLES[role.name]}
    if role.name is RoleName.DECODE:
        found["kv_load_failure_policy"] = "recompute"
    if role.connector is Connector.MOONCAKE:
        found["kv_connector_extra_config"] = {"mooncake_protocol": _mooncake_protocol(pod.wanted)}
    return json.dumps(found, separators=(",", ":"))


def state_layout(pod: PodContext, _: Role) -> str | None:
    """Give the layout of convolution states that vLLM can move: ranks hold whole channels."""
    return "DS" if keeps_states(pod.wanted.demand.model) else None


def vllm_ports(pod: PodContext) -> tuple[tuple[str, int], ...]:
    """Name the ports where the groups of the other role ask a vLLM group for caches."""
    role = pod.wanted.launch.role
    if role is None:
        return ()
    if role.connector is Connector.NIXL:
        return tuple((f"transfer-{rank}", SIDE_CHANNEL + rank) for rank in range(pod.layout.data))
    return (("bootstrap", BOOTSTRAP),) if role.name is RoleName.PREFILL else ()


def sglang_backend(pod: PodContext, role: Role) -> str:
    """Give SGLang's name of the connector."""
    if role.connector is Connector.NIXL:
        return "nixl"
    return "mooncake" if _mooncake_protocol(pod.wanted) == "rdma" else "mooncake_tcp"


def sglang_ports(pod: PodContext) -> tuple[tuple[str, int], ...]:
    """Name the port where decode finds the ranks of a prefill group of SGLang."""
    role = pod.wanted.launch.role
    return (("bootstrap", BOOTSTRAP),) if role is not None and role.name is RoleName.PREFILL else ()


def sglang_annotations(pod: PodContext) -> tuple[tuple[str, str], ...]:
    """Give the annotation of a prefill leader from which SGLang's router reads the bootstrap port."""
    return tuple(("sglang.ai/bootstrap-port", str(port)) for _, port in sglang_ports(pod))


def tensorrt_llm_role(_: PodContext, role: Role) -> str:
    """Give TensorRT-LLM's name of the role."""
    return _TENSORRT_LLM_ROLES[role.name]


def serves_clients(wanted: Wanted) -> bool:
    """Tell whether clients may reach the leaders by a plain Service: requests need no router to pair two engines."""
    role = wanted.launch.role
    return role is None or (role.name is RoleName.DECODE and transfers_of(wanted.demand.engine).serves_alone)


def role_problems(wanted: Wanted, read: Version) -> Iterator[tuple[str, str]]:
    """Give ``(field path, message)`` for what keeps an engine from having roles. ``read`` is the release we read."""
    role = wanted.launch.role
    if role is not None:
        yield from _connector_problems(wanted, role.connector, read)
        yield from _not_with_roles(wanted)
        yield from _own_transfer(wanted)


def _connector_problems(wanted: Wanted, connector: Connector, read: Version) -> Iterator[tuple[str, str]]:
    engine, runs = wanted.demand.engine, release_of(wanted, read)
    since = moves_since(engine, connector)
    if since is None:
        able = " and ".join(f"`{name}`" for name in transfers_of(engine).connectors)
        yield TRANSFER, f"`{connector.value}` cannot be used: {engine.value} moves KV caches by {able}"
    elif runs < since:
        message = f"{engine.value} {dotted(since)} or later is needed to move KV caches by `{connector.value}`"
        yield ROLES, f"`{engine.value}` is {dotted(runs)}: {message}"


def _not_with_roles(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Refuse the fields that act on the replicas of an object as a whole."""
    if wanted.queue is not None:
        half = "a queue admits each replica by itself, and could admit one role without the other"
        yield "spec.placement.queue", f"{half}; leave the field out, {_OR_NO_ROLES}"
    if wanted.left_open:
        half = "the scheduler picks the nodes of each replica by itself, and could place one role without the other"
        yield "spec.placement.owner", f"{half}; use `shardwise`, {_OR_NO_ROLES}"


def _own_transfer(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Refuse a transfer in the arguments of vLLM; those of the other engines are in their tables."""
    words = [word.partition("=")[0].replace("_", "-") for word in wanted.launch.container.args]
    for index, word in enumerate(words):
        if wanted.demand.engine is EngineName.VLLM and word.partition(".")[0] == "--kv-transfer-config":
            yield f"spec.engine.args.{index}", f"`{word}` would contradict the roles; use `spec.transfer`"
