"""``spec.model``: which model, from where, and for what load."""

from typing import Annotated, Any, Literal

from pydantic import Field

from shardwise.api.base import ABSOLUTE_PATTERN, MODEL_PATTERN, ByteQuantity, DnsName, Path, ShortText, Wire


class SecretKey(Wire):
    """A key of a Secret in the object's namespace."""

    name: DnsName = Field(description="Name of the Secret.")
    key: ShortText = Field(default="token", description="Key inside the Secret.")


class EmptyCache(Wire):
    """A cache that lives as long as its pod."""

    size_limit: ByteQuantity | None = Field(default=None, description="Most it may hold; default: the node's disk.")


class ClaimCache(Wire):
    """A cache on a PersistentVolumeClaim in the object's namespace, written by every pod."""

    claim_name: DnsName = Field(description="Name of the PersistentVolumeClaim; ReadWriteMany for several nodes.")


class HostPathCache(Wire):
    """A cache in a folder of each node, made where it is missing."""

    path: Path = Field(pattern=ABSOLUTE_PATTERN, description="Absolute path of the folder on the nodes.")


class CacheVolumeSpec(Wire):
    """Where fetched weights and compiled code are kept: exactly one of the fields."""

    empty_dir: EmptyCache | None = Field(default=None, description="Until the pod ends.")
    persistent_volume_claim: ClaimCache | None = Field(default=None, description="A claim all pods share.")
    host_path: HostPathCache | None = Field(default=None, description="A folder on the nodes.")

    def given(self) -> list[str]:
        """Name the fields that are set, as the object spells them."""
        fields = type(self).model_fields
        return [str(field.alias or name) for name, field in fields.items() if getattr(self, name) is not None]


class HuggingFaceSource(Wire):
    """Weights from the Hugging Face Hub, fetched by each pod."""

    revision: ShortText | None = Field(default=None, description="Branch, tag or commit; default: the main branch.")
    token_secret_ref: SecretKey | None = Field(
        default=None, description="Access token for a private or gated model, given to the pods as HF_TOKEN."
    )
    cache: CacheVolumeSpec | None = Field(
        default=None, description="Where fetched weights are kept; default: as the operator's configuration says."
    )
    pre_pull: bool | None = Field(
        default=None,
        description="Whether all weights are fetched into the cache before any rank starts; "
        "default: as the operator's configuration says.",
    )


class ClaimSource(Wire):
    """Weights on a PersistentVolumeClaim in the object's namespace, mounted read-only by every pod."""

    claim_name: DnsName = Field(description="Name of the PersistentVolumeClaim.")
    path: str = Field(default="", max_length=1024, description="Folder of the checkpoint inside the claim.")


class HostPathSource(Wire):
    """Weights in a folder that every planned node holds, mounted read-only."""

    path: Path = Field(pattern=ABSOLUTE_PATTERN, description="Absolute path of the checkpoint's folder on the nodes.")


class ImageSource(Wire):
    """Weights in an OCI image, mounted as a read-only volume (Kubernetes 1.31 or later)."""

    reference: ShortText = Field(description="Image reference, by digest where it should not move.")
    path: str = Field(default="", max_length=1024, description="Folder of the checkpoint inside the image.")


class SourceSpec(Wire):
    """Where the weights come from: exactly one of the fields."""

    hugging_face: HuggingFaceSource | None = Field(default=None, description="The Hugging Face Hub (the default).")
    persistent_volume_claim: ClaimSource | None = Field(default=None, description="A claim that holds the weights.")
    host_path: HostPathSource | None = Field(default=None, description="A folder on the nodes.")
    image: ImageSource | None = Field(default=None, description="An OCI image volume.")

    def given(self) -> list[str]:
        """Name the fields that are set, as the object spells them."""
        fields = type(self).model_fields
        return [str(field.alias or name) for name, field in fields.items() if getattr(self, name) is not None]


QuantizationChoice = Literal["auto", "none", "fp8", "int4", "mxfp4", "nvfp4"]


class ModelSpec(Wire):
    """The model to serve."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=MODEL_PATTERN)] = Field(
        description="Hugging Face id, and the served name unless servedName says otherwise.",
        examples=["meta-llama/Llama-3.1-405B-Instruct"],
    )
    served_name: ShortText | None = Field(default=None, description="Name clients ask for; default: name.")
    source: SourceSpec | None = Field(default=None, description="Where the weights come from; default: the Hub.")
    config: dict[str, Any] | None = Field(
        default=None, description="The model's config.json, verbatim. Wins over the catalog and the Hub."
    )
    weight_bytes: ByteQuantity | None = Field(
        default=None, description="Size of the checkpoint's weights, where it is known; else counted from the config."
    )
    context_length: int | None = Field(
        default=None, ge=1, le=100_000_000, description="Tokens per sequence; default: the model's own maximum."
    )
    min_context_length: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Tokens per sequence that will do: contextLength is lowered, to no less than this, where no plan "
        "fits otherwise; default: it is never lowered.",
    )
    concurrency: int = Field(
        default=1, ge=1, le=100_000, description="Sequences of contextLength the KV cache must hold at once."
    )
    quantization: QuantizationChoice = Field(
        default="auto",
        description="auto: what the checkpoint's config says; none: the config's plain dtype; "
        "else the precision of the weights.",
    )
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8"] = Field(
        default="auto",
        description="Precision of the KV cache; auto: what the checkpoint says, else two bytes an element.",
    )
    trust_remote_code: bool = Field(
        default=False, description="Whether the engine may run Python code that the checkpoint brings."
    )
    gpu_memory_reserve: ByteQuantity | None = Field(
        default=None,
        description="Memory per GPU kept for the runtime besides weights, KV cache and activations; "
        "default: 0.6Gi, and 0.5Gi to 0.6Gi more for each group of GPUs that a rank belongs to.",
    )
