"""The base of all wire models: camelCase names, no unknown fields, no change after parsing."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from shardwise.domain.units import DURATION_PATTERN, LATENCY_PATTERN, QUANTITY_PATTERN
from shardwise.domain.version import VERSION_PATTERN

GROUP = "shardwise.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ShardedModel"
PLURAL = "shardedmodels"

OBJECT_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
MODEL_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"
ABSOLUTE_PATTERN: Final = r"^/"
DNS_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
HOST_PATTERN: Final = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
GATEWAY_PATTERN: Final = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?/[-a-z0-9.]*\*?|\*)$"
URL_PATTERN: Final = r"^https?://[^\s/?#]+(/[^\s?#]*)?$"
ENV_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
FAULT_PATTERN: Final = r"^[A-Za-z0-9._/-]+(=(True|False|Unknown))?$"
PORTS_PATTERN: Final = r"^[0-9]{1,5}(-[0-9]{1,5})?$"
CPU_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?m?$"
IMAGE_PATTERN: Final = r"^[^ ]+$"
LABEL_VALUE_PATTERN: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
INTERFACE_PATTERN: Final = r"^[^\s/]+$"
SIZE_PATTERN: Final = r"^(0*[1-9][0-9]*(\.[0-9]+)?|0+\.0*[1-9][0-9]*)(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
COUNT_PATTERN: Final = r"^[1-9][0-9]{0,8}$"
CAPABILITY_PATTERN: Final = r"^[0-9]{1,2}\.[0-9]$"

SHAPES: Final[Mapping[str, str]] = {
    OBJECT_PATTERN: "is not a valid object name: use lower-case letters and digits, with `-` between them",
    MODEL_PATTERN: "is not a model id such as `meta-llama/Llama-3.1-8B`",
    ABSOLUTE_PATTERN: "is not an absolute path: it must begin with `/`",
    DNS_PATTERN: "is not a valid Kubernetes name: use lower-case letters and digits, with `-` and `.` between them",
    HOST_PATTERN: "is not a hostname such as `models.example.com` or `*.example.com`",
    GATEWAY_PATTERN: "is not a Gateway such as `gateways/models`, `gateways/*` or `*`",
    ENV_PATTERN: "is not a valid variable name: use letters, digits and `_`, and begin with a letter or `_`",
    FAULT_PATTERN: "is not a condition such as `GpuBroken` or `GpuReady=False`",
    PORTS_PATTERN: "is neither a port nor a range such as `8000-8999`",
    CPU_PATTERN: "is not a count of cores such as `2` or `500m`",
    IMAGE_PATTERN: "is not an image such as `registry.example.com/vllm:v1`",
    LABEL_VALUE_PATTERN: "is not a valid label value: use letters and digits, with `-`, `_` and `.` between them",
    INTERFACE_PATTERN: "is not a network interface such as `eth0`",
    SIZE_PATTERN: "is not a size above zero such as `500Mi` or `2Gi`",
    COUNT_PATTERN: "is not a count such as `1` or `8`",
    CAPABILITY_PATTERN: "is not a compute capability such as `9.0`",
    URL_PATTERN: "is not an address such as `https://hub.example.com`",
    VERSION_PATTERN: "is not a release such as `0.33.0`",
    LATENCY_PATTERN: "is not a time above zero such as `50ms` or `1.5s`",
    DURATION_PATTERN: "is not a duration such as `90s`, `15m` or `1h30m`",
    QUANTITY_PATTERN: "is not a quantity such as `500Mi` or `2Gi`",
}
"""The message for a text that does not match a pattern."""


class Wire(BaseModel):
    """A part of the object as users write it. It is as strict as the API server: ``"16"`` is not a number."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True, defer_build=True)


class Reported(BaseModel):
    """A part of the status. Unknown fields are ignored, because a newer version may have written them."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, defer_build=True)


ByteQuantity = Annotated[
    str,
    Field(pattern=QUANTITY_PATTERN, max_length=32, examples=["810Gi"]),
]
"""A count of bytes with a unit, such as ``810Gi``."""

ByteSize = Annotated[str, Field(pattern=SIZE_PATTERN, max_length=32, examples=["810Gi"])]
"""A count of bytes above zero."""

CpuQuantity = Annotated[str, Field(pattern=CPU_PATTERN, max_length=32, examples=["500m"])]
"""A count of cores, such as ``2`` or ``500m``."""

Duration = Annotated[str, Field(pattern=DURATION_PATTERN, min_length=2, max_length=32, examples=["1h30m"])]
"""A time such as ``90s`` or ``1h30m``."""

Latency = Annotated[str, Field(pattern=LATENCY_PATTERN, min_length=2, max_length=16, examples=["500ms"])]
"""A short time such as ``50ms`` or ``1.5s``."""

ShortText = Annotated[str, Field(min_length=1, max_length=253)]
Path = Annotated[str, Field(min_length=1, max_length=1024)]
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]
OwnLabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE_PATTERN)]
"""The value of a label that the operator writes."""

Image = Annotated[str, Field(min_length=1, max_length=1024, pattern=IMAGE_PATTERN)]
DnsName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_PATTERN)]
EnvName = Annotated[str, Field(min_length=1, max_length=253, pattern=ENV_PATTERN)]
