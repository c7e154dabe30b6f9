"""The facts of an object's model: from its own config, else from the catalog, else from the Hub."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from shardwise.api import InvalidObject, Problem, ShardedModel
from shardwise.checkpoint import ConfigError, catalog, from_config
from shardwise.domain.model import ModelFacts
from shardwise.domain.site import HubSite
from shardwise.domain.units import parse_quantity
from shardwise.hub.answers import HubError, HubFacts, HubQuestion


class FactsUnavailable(Exception):
    """The facts of a model are not there yet. The message says why, and how to do without the Hub.

    ``retry_after`` is in seconds; ``None`` means that the Hub is being asked.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def model_facts(obj: ShardedModel, site: HubSite | None = None) -> ModelFacts:
    """Find the facts of an object's model. Blocks on the network if only the Hub knows the model.

    Raises :class:`InvalidObject` if the config is wrong or the Hub refuses, and :class:`FactsUnavailable` if the Hub
    cannot be reached.
    """
    site = site or HubSite()
    known = known_facts(obj, site)
    if isinstance(known, ModelFacts):
        return known
    try:
        return facts_from(obj, ask_hub(known, site))
    except HubError as error:
        raise told(error) from error


def known_facts(obj: ShardedModel, site: HubSite) -> ModelFacts | HubQuestion:
    """Find the facts of an object's model without the network, or give the question that only the Hub can answer.

    Raises :class:`InvalidObject` if the config is wrong, or if only the Hub knows the model and may not be asked.
    """
    model = obj.spec.model
    if model.config is not None:
        return _read(obj, partial(from_config, model.config, origin="spec.model.config"), "spec.model.config")
    if catalog.lookup(model.name) is not None:
        return _read(obj, _of_catalog, "spec.model.name")
    if not site.enabled:
        message = (
            f"`{model.name}` is not in the catalog, and the operator configuration turns the Hub off "
            "(`hub.enabled`); set `spec.model.config` to the model's config.json"
        )
        raise InvalidObject((Problem("spec.model.name", message),))
    source = model.source.hugging_face if model.source is not None else None
    return HubQuestion(model.name, source.revision if source is not None else None)


def ask_hub(question: HubQuestion, site: HubSite) -> HubFacts:
    """Ask the Hub. Blocks on the network. Raises :class:`HubError`."""
    from shardwise.hub.fetch import fetch_config  # noqa: PLC0415 - few models need the Hub; its client loads slowly

    return fetch_config(question, site)


def facts_from(obj: ShardedModel, found: HubFacts) -> ModelFacts:
    """Read the facts of an object's model off the Hub's answer. Raises :class:`InvalidObject` for a wrong config."""
    forced = obj.spec.model.quantization != "auto"
    read = partial(from_config, found.config, origin="hub")
    return _read(obj, read, "spec.model.name", None if forced else found.weight_bytes)


def told(error: HubError, retry_after: float | None = None) -> FactsUnavailable | InvalidObject:
    """Give the error that an object is told after the Hub gave no config. ``retry_after`` is in seconds."""
    if error.retryable:
        message = f"{error}; `spec.model.config` with the model's config.json needs no network"
        return FactsUnavailable(message, retry_after)
    message = f"{error}; `spec.model.config` may hold the model's config.json instead"
    return InvalidObject((Problem("spec.model.name", message),))


def _read(
    obj: ShardedModel, read: Callable[..., ModelFacts], field: str, weight_bytes: int | None = None
) -> ModelFacts:
    """Read the facts of an object's model by ``from_config``, or by its like for a config of the catalog."""
    model = obj.spec.model
    stated = parse_quantity(model.weight_bytes) if model.weight_bytes is not None else weight_bytes
    try:
        return read(name=model.name, quantization=model.quantization, checkpoint_bytes=stated)
    except ConfigError as error:
        raise InvalidObject((Problem(field, str(error)),)) from error


_KEPT: Final = 256
"""Models of the catalog whose facts are kept, each with its quantisation and its size."""


@lru_cache(maxsize=_KEPT)
def _of_catalog(*, name: str, quantization: str, checkpoint_bytes: int | None) -> ModelFacts:
    """Read the facts of a model of the catalog: once, however many objects have the model."""
    config = catalog.configs()[name]
    return from_config(
        config, name=name, origin="catalog", quantization=quantization, checkpoint_bytes=checkpoint_bytes
    )
