"""``spec.model``: the model to serve, the origin of its weights, and its load."""

from typing import Annotated, Any, Literal

from pydantic import Field

from shardwise.api.base import (
    ABSOLUTE_PATTERN,
    MODEL_PATTERN,
    ByteQuantity,
    ByteSize,
    DnsName,
    Path,
    ShortText,
    Wire,
)


class SecretKey(Wire):
    """A key of a Secret or ConfigMap in the object's namespace."""

    name: DnsName = Field(description="Name of the Secret or ConfigMap in the object's namespace.")
    key: ShortText = Field(default="token", description="Key inside the Secret or ConfigMap.")


class EmptyCache(Wire):
    """A cache that lives as long as its pod."""

    size_limit: ByteQuantity | None = Field(
        default=None, description="Size limit of the cache, in bytes. Default: no limit but the node's disk."
    )


class ClaimCache(Wire):
    """A cache on a PersistentVolumeClaim in the object's namespace, written by every pod."""

    claim_name: DnsName = Field(
        description="Name of the PersistentVolumeClaim. Its access mode must be ReadWriteMany if the pods run on "
        "several nodes.",
    )


class HostPathCache(Wire):
    """A cache in a folder of each node. The kubelet makes a missing folder."""

    path: Path = Field(pattern=ABSOLUTE_PATTERN, description="Absolute path of the folder on the nodes.")


class CacheVolumeSpec(Wire):
    """The volume for fetched weights and compiled code: exactly one of the fields."""

    empty_dir: EmptyCache | None = Field(
        default=None, description="A cache on the node's disk that lives as long as its pod."
    )
    persistent_volume_claim: ClaimCache | None = Field(
        default=None, description="A cache on a PersistentVolumeClaim that all pods share."
    )
    host_path: HostPathCache | None = Field(default=None, description="A cache in a folder of each node.")

    def given(self) -> list[str]:
        """Name the fields that are set, as the object spells them."""
        fields = type(self).model_fields
        return [str(field.alias or name) for name, field in fields.items() if getattr(self, name) is not None]


class HuggingFaceSource(Wire):
    """Weights from the Hugging Face Hub, fetched by each pod."""

    revision: ShortText | None = Field(
        default=None, description="Branch, tag or commit of the model's repository. Default: the main branch."
    )
    token_secret_ref: SecretKey | None = Field(
        default=None,
        description="Secret key with the access token for a private or gated model. The pods get the token as "
        "HF_TOKEN.",
    )
    cache: CacheVolumeSpec | None = Field(
        default=None, description="Volume for the fetched weights. Default: the cache of the operator's configuration."
    )
    pre_pull: bool | None = Field(
        default=None,
        description="Whether each pod fetches all weights into the cache before any rank starts. Default: as the "
        "operator's configuration says.",
    )


class ClaimSource(Wire):
    """Weights on a PersistentVolumeClaim in the object's namespace, mounted read-only by every pod."""

    claim_name: DnsName = Field(description="Name of the PersistentVolumeClaim that holds the weights.")
    path: str = Field(
        default="",
        max_length=1024,
        description="Folder of the checkpoint inside the claim. Default: the root of the volume.",
    )


class HostPathSource(Wire):
    """Weights in a folder that every planned node holds, mounted read-only."""

    path: Path = Field(pattern=ABSOLUTE_PATTERN, description="Absolute path of the checkpoint's folder on the nodes.")


class ImageSource(Wire):
    """Weights in an OCI image, mounted as a read-only volume (Kubernetes 1.31 or later)."""

    reference: ShortText = Field(
        description="Reference of the image. Use a digest to keep the weights from changing under the same tag."
    )
    path: str = Field(
        default="",
        max_length=1024,
        description="Folder of the checkpoint inside the image. Default: the root of the image.",
    )


class SourceSpec(Wire):
    """The origin of the weights: exactly one of the fields."""

    hugging_face: HuggingFaceSource | None = Field(
        default=None, description="Weights from the Hugging Face Hub, which is the default source."
    )
    persistent_volume_claim: ClaimSource | None = Field(default=None, description="Weights on a PersistentVolumeClaim.")
    host_path: HostPathSource | None = Field(
        default=None, description="Weights in a folder that every planned node holds."
    )
    image: ImageSource | None = Field(default=None, description="Weights in an OCI image that is mounted as a volume.")

    def given(self) -> list[str]:
        """Name the fields that are set, as the object spells them."""
        fields = type(self).model_fields
        return [str(field.alias or name) for name, field in fields.items() if getattr(self, name) is not None]


QuantizationChoice = Literal["auto", "none", "fp8", "int4", "mxfp4", "nvfp4"]


class ModelSpec(Wire):
    """The model to serve."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=MODEL_PATTERN)] = Field(
        description="Hugging Face id of the model. Clients use it as the model's name unless servedName names another.",
        examples=["meta-llama/Llama-3.1-405B-Instruct"],
    )
    served_name: ShortText | None = Field(
        default=None, description="Name by which clients ask for the model. Default: the id in name."
    )
    source: SourceSpec | None = Field(default=None, description="Origin of the weights. Default: the Hugging Face Hub.")
    config: dict[str, Any] | None = Field(
        default=None, description="Content of the model's config.json. It wins over the built-in catalog and the Hub."
    )
    weight_bytes: ByteSize | None = Field(
        default=None, description="Size of the checkpoint's weights, in bytes. Default: counted from the config."
    )
    context_length: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Tokens of a sequence, prompt and answer together. Default: the model's own maximum.",
    )
    min_context_length: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Fewest tokens of a sequence that are acceptable. If no plan fits, contextLength is lowered to no "
        "less than this. Default: contextLength is never lowered.",
    )
    concurrency: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="Number of sequences of contextLength that the KV cache must hold at once.",
    )
    quantization: QuantizationChoice = Field(
        default="auto",
        description="Precision of the weights. auto: the precision that the checkpoint's config names. none: the plain"
        " dtype of the config.",
    )
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8"] = Field(
        default="auto",
        description="Precision of the KV cache. auto: the precision that the checkpoint names, or else two bytes per "
        "element.",
    )
    trust_remote_code: bool = Field(
        default=False, description="Whether the engine may run Python code from the checkpoint."
    )
    gpu_memory_reserve: ByteQuantity | None = Field(
        default=None,
        description="Memory per GPU, in bytes, that is kept free beside weights, KV cache and activations. The runtime "
        "takes its part, and the engine leaves the rest to others. Default: the part of the runtime, 0.6Gi, and 0.5Gi "
        "to 0.6Gi more for each group of GPUs that a rank belongs to.",
    )
