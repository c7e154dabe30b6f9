"""The Hub's part of the operator configuration: whether and how models are looked up in the Hugging Face Hub."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from shardwise.api.base import ABSOLUTE_PATTERN, URL_PATTERN, Path, Wire
from shardwise.api.problems import Problem
from shardwise.domain.site import HubSite

Url = Annotated[str, Field(min_length=1, max_length=1024, pattern=URL_PATTERN)]
File = Annotated[Path, Field(pattern=ABSOLUTE_PATTERN)]


class HubConfiguration(Wire):
    """How the operator looks up models that are neither in the object nor in the catalog."""

    enabled: bool = Field(
        default=True,
        description="Whether the operator asks the Hub. If false, such a model needs spec.model.config.",
    )
    endpoint: Url | None = Field(
        default=None, description="Address of a mirror. Default: the variable HF_ENDPOINT, else https://huggingface.co."
    )
    proxy: Url | None = Field(
        default=None,
        description="Address of a proxy for look-ups alone. Default: the variables HTTPS_PROXY and NO_PROXY.",
    )
    ca_file: File | None = Field(
        default=None,
        description="File with the certificates to trust, in PEM form. Default: the certificates of the image.",
    )
    token_file: File | None = Field(
        default=None,
        description="File with the operator's own token for the Hub. It is read at each look-up. Default: no token.",
    )


def hub_problems(given: HubConfiguration) -> Iterator[Problem]:
    """Give the problems that span fields."""
    if given.token_file is not None and (given.endpoint or "").startswith("http:"):
        yield Problem("hub.endpoint", f"`{given.endpoint}` must begin with `https://`, because `hub.tokenFile` is set")


def hub_site(given: HubConfiguration) -> HubSite:
    """Convert a configuration in which :func:`hub_problems` finds no problem."""
    return HubSite(
        enabled=given.enabled,
        endpoint=given.endpoint.rstrip("/") if given.endpoint is not None else None,
        proxy=given.proxy,
        ca_file=given.ca_file,
        token_file=given.token_file,
    )
