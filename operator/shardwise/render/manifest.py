"""The parts that every manifest has: owner, labels and names."""

from typing import Any, Final

from shardwise.domain.launch import Launch, Owner, Servers
from shardwise.render.names import group_name, label_value

Manifest = dict[str, Any]

MODEL: Final = "shardwise.dev/model"
REPLICA: Final = "shardwise.dev/replica"
ATTEMPT: Final = "shardwise.dev/attempt"
INDEX: Final = "shardwise.dev/index"
ROLE: Final = "shardwise.dev/role"
SERVING_ROLE: Final = "shardwise.dev/serving-role"
"""The label of the groups of an object with roles: prefill or decode."""

ROUTER_ROLE: Final = "llm-d.ai/role"
"""The label by which llm-d's router tells the leaders of prefill from those of decode. Pods without HTTP lack it."""

GROUP: Final = "shardwise.dev/group"
GROUP_SIZE: Final = "shardwise.dev/group-size"
REVISION: Final = "shardwise.dev/revision"
SERVES: Final = "shardwise.dev/serves"
"""The label of the pods that the Service for clients reaches. Its value is ``true``."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
OPERATOR: Final = "shardwise"
_OBJECT: Final = ("shardwise.dev/v1alpha1", "ShardedModel")

LEADER: Final = "leader"
SERVER: Final = "server"
"""The role of a pod besides the leader that serves clients."""

WORKER: Final = "worker"


def common_labels(launch: Launch) -> dict[str, str]:
    """Give the labels of every manifest that belongs to an object.

    ``app.kubernetes.io/instance`` is left to GitOps tools: setting it would make them adopt, and prune, our pods.
    """
    return {
        MANAGED_BY: OPERATOR,
        "app.kubernetes.io/name": label_value(launch.owner.name),
        MODEL: label_value(launch.owner.name),
    }


def group_labels(launch: Launch, replica: int, attempt: int) -> dict[str, str]:
    """Give the labels of every manifest that belongs to an attempt of a replica."""
    labels = common_labels(launch) | {
        GROUP: group_name(launch.owner.name, replica, attempt),
        REPLICA: str(replica),
        ATTEMPT: str(attempt),
    }
    return labels | _role_labels(launch)


def _role_labels(launch: Launch) -> dict[str, str]:
    return {} if launch.role is None else {SERVING_ROLE: launch.role.name.value}


def leader_selector(launch: Launch) -> dict[str, str]:
    """Select the leaders of all replicas of an object, or of the role that stands for it."""
    return {MODEL: label_value(launch.owner.name), ROLE: LEADER} | _role_labels(launch)


def serving_selector(launch: Launch) -> dict[str, str]:
    """Select the pods of groups that serve, for the Service for clients: leaders, or every pod."""
    selected = leader_selector(launch) | {SERVES: "true"}
    if launch.container.servers is Servers.EVERY_POD:
        del selected[ROLE]
    return selected


def scale_target(launch: Launch) -> Manifest:
    """Name an object for a scaler, which finds the scale subresource by this reference."""
    return {"apiVersion": _OBJECT[0], "kind": _OBJECT[1], "name": launch.owner.name}


def metadata(owner: Owner, name: str, labels: dict[str, str]) -> Manifest:
    """Give the metadata of an owned manifest. An owner without uid is on no cluster, so there is no reference to it."""
    found: Manifest = {"name": name, "namespace": owner.namespace, "labels": labels}
    if owner.uid:
        found["ownerReferences"] = [
            {
                "apiVersion": _OBJECT[0],
                "kind": _OBJECT[1],
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return found
