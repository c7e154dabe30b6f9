"""``spec.podTemplate``: additions to the pods. ``shardwise.engines.additions`` refuses those that reach too far."""

from typing import Annotated, Any, Literal

from pydantic import Field

from shardwise.api.base import ByteQuantity, DnsName, LabelKey, OwnLabelValue, Path, ShortText, Wire

GroupId = Annotated[int, Field(ge=0, le=2**31 - 1)]
VolumeName = Annotated[str, Field(min_length=1, max_length=63)]


class EnvFromReference(Wire):
    """A Secret or a ConfigMap whose keys become variables."""

    name: DnsName = Field(description="Name of the Secret or the ConfigMap in the object's namespace.")
    optional: bool = Field(default=False, description="Whether the pods start without it.")


class EnvFromSpec(Wire):
    """A source of environment variables: exactly one of the two references."""

    prefix: Annotated[str, Field(max_length=253)] = Field(
        default="", description="Text before the name of each variable."
    )
    secret_ref: EnvFromReference | None = Field(default=None, description="A Secret, whose keys become variables.")
    config_map_ref: EnvFromReference | None = Field(
        default=None, description="A ConfigMap, whose keys become variables."
    )


class VolumeMountSpec(Wire):
    """A mount of a volume in the engine's container."""

    name: VolumeName = Field(description="Name of a volume of spec.podTemplate.volumes.")
    mount_path: Path = Field(description="Absolute path in the container.")
    sub_path: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="Path inside the volume. Default: the volume's root."
    )
    read_only: bool = Field(default=False, description="Whether the mount is read-only.")


class SecurityContextSpec(Wire):
    """Users and groups of all containers of a pod, as in a pod's securityContext."""

    run_as_user: GroupId | None = Field(default=None, description="Number of the user. Default: the image's user.")
    run_as_group: GroupId | None = Field(default=None, description="Number of the group. Default: the image's group.")
    run_as_non_root: bool = Field(
        default=False,
        description="Whether the kubelet refuses to run as root. If true, all containers also drop all capabilities, "
        "as the Pod Security Standard restricted asks.",
    )
    fs_group: GroupId | None = Field(
        default=None, description="Number of the group that owns the volumes. Default: volumes keep their group."
    )
    fs_group_change_policy: Literal["Always", "OnRootMismatch"] | None = Field(
        default=None, description="When the kubelet changes the group of a volume. Default: Always."
    )
    supplemental_groups: list[GroupId] = Field(
        default=[], max_length=32, description="Numbers of further groups of the containers' processes."
    )


class PodTemplate(Wire):
    """Additions to the pods."""

    labels: dict[LabelKey, OwnLabelValue] = Field(default={}, max_length=32, description="Extra labels of the pods.")
    annotations: dict[LabelKey, Annotated[str, Field(max_length=4096)]] = Field(
        default={}, max_length=32, description="Extra annotations of the pods."
    )
    requests: dict[LabelKey, ShortText] = Field(
        default={},
        max_length=16,
        description="Extra resource requests of the engine's container, such as cpu and memory. The plan sets the "
        "GPUs.",
    )
    limits: dict[LabelKey, ShortText] = Field(
        default={},
        max_length=16,
        description="Extra resource limits of the engine's container, such as memory or RDMA devices. The plan sets "
        "the GPUs.",
    )
    shared_memory: ByteQuantity | None = Field(
        default=None,
        description="Size limit of /dev/shm, in bytes. Default: the size in the operator's configuration, which is "
        "16Gi if not set.",
    )
    volumes: list[dict[str, Any]] = Field(
        default=[],
        max_length=32,
        description="Extra volumes, as in a pod: configMap, csi, downwardAPI, emptyDir, ephemeral, hostPath, image, "
        "persistentVolumeClaim, projected or secret. A hostPath needs launch.hostPaths in the operator's "
        "configuration.",
    )
    volume_mounts: list[VolumeMountSpec] = Field(
        default=[], max_length=32, description="Mounts of extra volumes in the engine's container."
    )
    env_from: list[EnvFromSpec] = Field(
        default=[],
        max_length=32,
        description="Secrets and ConfigMaps whose keys become variables of the engine's container. Variables of the "
        "plan and of spec.engine.env win.",
    )
    sidecars: list[dict[str, Any]] = Field(
        default=[],
        max_length=8,
        description="Containers that run beside the engine, as in a pod. They start before the engine, start again if "
        "they end, and end after the engine.",
    )
    init_containers: list[dict[str, Any]] = Field(
        default=[], max_length=8, description="Containers that run and end before the engine starts, as in a pod."
    )
    security_context: SecurityContextSpec | None = Field(
        default=None, description="Users and groups of all containers. Default: those of the images."
    )
    host_network: bool = Field(
        default=False,
        description="Whether the pods use the network of their nodes. It needs allow.hostNetwork in the operator's "
        "configuration. Each node then runs at most one such pod.",
    )
    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default"] | None = Field(
        default=None,
        description="How the pods resolve names, as in a pod. Default: ClusterFirst, with hostNetwork "
        "ClusterFirstWithHostNet. Ranks of several pods meet by names of the cluster.",
    )
    scheduling_gates: list[ShortText] = Field(
        default=[],
        max_length=8,
        description="Scheduling gates of the pods, which another controller takes away. The GPUs of the plan are held "
        "meanwhile, so each gate needs allow.schedulingGates in the operator's configuration.",
    )
