"""The facts of an object's model: from its own config, else from the catalog, else from the Hub."""

from collections.abc import Mapping

from shardwise.api import InvalidObject, Problem, ShardedModel
from shardwise.checkpoint import ConfigError, catalog, from_config
from shardwise.domain.model import ModelFacts
from shardwise.domain.units import parse_quantity


class FactsUnavailable(Exception):
    """The Hub cannot be reached now; a later try may succeed. The message says how to do without the Hub."""


def model_facts(obj: ShardedModel) -> ModelFacts:
    """Find the facts of an object's model. Blocks on the network if only the Hub knows the model.

    Raises :class:`InvalidObject` if the config is wrong or the Hub's answer will not change, and
    :class:`FactsUnavailable` if the Hub cannot be reached.
    """
    model = obj.spec.model
    if model.config is not None:
        return _read(obj, model.config, "spec.model.config", "spec.model.config")
    known = catalog.lookup(model.name)
    if known is not None:
        return _read(obj, known, "catalog", "spec.model.name")
    return _from_hub(obj)


def _read(
    obj: ShardedModel, config: Mapping[str, object], origin: str, field: str, weight_bytes: int | None = None
) -> ModelFacts:
    model = obj.spec.model
    stated = parse_quantity(model.weight_bytes) if model.weight_bytes is not None else weight_bytes
    try:
        return from_config(
            config,
            name=model.name,
            origin=origin,
            quantization=model.quantization,
            checkpoint_bytes=stated,
        )
    except ConfigError as error:
        raise InvalidObject((Problem(field, str(error)),)) from error


def _from_hub(obj: ShardedModel) -> ModelFacts:
    from shardwise.hub.fetch import HubError, fetch_config  # noqa: PLC0415 - few models need the Hub; its client loads slowly

    model = obj.spec.model
    source = model.source.hugging_face if model.source is not None else None
    try:
        found = fetch_config(model.name, source.revision if source is not None else None)
    except HubError as error:
        if error.retryable:
            raise FactsUnavailable(
                f"{error}; `spec.model.config` with the model's config.json needs no network"
            ) from error
        message = f"{error}; `spec.model.config` may hold the model's config.json instead"
        raise InvalidObject((Problem("spec.model.name", message),)) from error
    forced = model.quantization != "auto"
    return _read(obj, found.config, "hub", "spec.model.name", None if forced else found.weight_bytes)
