"""Parse a manifest. Every wrong field gets a clear message with its path, its value and the remedy."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from shardwise.api.base import API_VERSION, KIND, OBJECT_PATTERN, Reported
from shardwise.api.problems import InvalidObject, Problem, escaped, problems
from shardwise.api.rules import spanning_problems
from shardwise.api.spec import ShardedModelSpec
from shardwise.api.texts import text_problems


class Metadata(Reported):
    """The metadata of an object that Shardwise uses."""

    name: str = Field(min_length=1, max_length=63, pattern=OBJECT_PATTERN)
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    annotations: dict[str, str] = Field(default_factory=dict)


class ShardedModel(Reported):
    """The whole object but its status."""

    metadata: Metadata
    spec: ShardedModelSpec

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.metadata.namespace}/{self.metadata.name}"


def parse(manifest: Mapping[str, Any]) -> ShardedModel:
    """Read a manifest. Raises :class:`InvalidObject` with all problems, in the order of the fields."""
    _check_kind(manifest)
    try:
        found = ShardedModel.model_validate({key: manifest.get(key) for key in ("metadata", "spec")})
    except ValidationError as error:
        raise InvalidObject(tuple(problems(error, ShardedModel))) from error
    if texts := tuple(text_problems(manifest["spec"])):
        raise InvalidObject(texts)
    spanning = tuple(Problem(field, message) for field, message in spanning_problems(found.spec))
    if spanning:
        raise InvalidObject(spanning)
    return found


def _check_kind(manifest: Mapping[str, Any]) -> None:
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if manifest.get(field) != wanted:
            raise InvalidObject((Problem(field, f"`{escaped(str(manifest.get(field)))}` is not `{wanted}`"),))
