"""Refusals of the API, as the ``Status`` bodies clients know."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from shardwise_sandbox.objects import JsonObject


class Named(Protocol):
    """What an error needs to know of a resource type."""

    @property
    def group(self) -> str:
        """The API group, empty for the core."""

    @property
    def plural(self) -> str:
        """The name in URLs."""

    @property
    def kind(self) -> str:
        """The kind of one object."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason inside a refusal: a field, a machine-readable reason and a sentence."""

    reason: str
    message: str
    field: str = ""

    def body(self) -> JsonObject:
        """Give the ``details.causes`` entry."""
        return {"reason": self.reason, "message": self.message, **({"field": self.field} if self.field else {})}


class ApiError(Exception):
    """A request was refused: an HTTP code, a reason and a message, all in a ``Status`` body."""

    def __init__(self, code: int, reason: str, message: str, details: JsonObject | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> JsonObject:
        """Give the body of the answer."""
        body: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        return {**body, "details": self.details} if self.details else body


def _qualified(resource: Named) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _details(resource: Named, name: str, causes: Sequence[Cause] = ()) -> JsonObject:
    details: JsonObject = {"name": name, "group": resource.group, "kind": resource.plural}
    if causes:
        details["causes"] = [cause.body() for cause in causes]
    return {key: value for key, value in details.items() if value}


def not_found(resource: Named, name: str) -> ApiError:
    """Refuse: no such object."""
    message = f'{_qualified(resource)} "{name}" not found'
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", message, _details(resource, name))


def no_such_path() -> ApiError:
    """Refuse: no such resource type or URL."""
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", "the server could not find the requested resource")


def already_exists(resource: Named, name: str) -> ApiError:
    """Refuse: the name is taken."""
    message = f'{_qualified(resource)} "{name}" already exists'
    return ApiError(HTTPStatus.CONFLICT, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Named, name: str, why: str = "") -> ApiError:
    """Refuse: the object is not the one the writer read."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {_qualified(resource)} "{name}": {why}'
    return ApiError(HTTPStatus.CONFLICT, "Conflict", message, _details(resource, name))


def apply_conflict(causes: Sequence[Cause], message: str) -> ApiError:
    """Refuse an apply: another manager owns the fields."""
    details = {"causes": [cause.body() for cause in causes]}
    return ApiError(HTTPStatus.CONFLICT, "Conflict", message, details)


def invalid(resource: Named, name: str, causes: Sequence[Cause]) -> ApiError:
    """Refuse: the object breaks its schema or a rule; one cause per field."""
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    said = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    told = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = _details(resource, name, causes) | {"kind": resource.kind}
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", f'{kind} "{name}" is invalid: {told}', details)


def unprocessable(message: str) -> ApiError:
    """Refuse: the patch cannot be carried out on the object."""
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message)


def bad_request(message: str) -> ApiError:
    """Refuse: the request itself makes no sense."""
    return ApiError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def forbidden(resource: Named, name: str, why: str) -> ApiError:
    """Refuse: a rule of the cluster forbids it."""
    message = f'{_qualified(resource)} "{name}" is forbidden: {why}'
    return ApiError(HTTPStatus.FORBIDDEN, "Forbidden", message, _details(resource, name))


def method_not_allowed() -> ApiError:
    """Refuse: the resource has no such verb."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", message)


def unsupported_media_type(content_type: str, supported: Sequence[str]) -> ApiError:
    """Refuse: the body is of a kind the server does not read."""
    listed = ", ".join(supported)
    message = (
        f"the body of the request was in an unknown format `{content_type}` - accepted media types include: {listed}"
    )
    return ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)


def expired(message: str) -> ApiError:
    """Refuse: the version asked for is older than the history kept."""
    return ApiError(HTTPStatus.GONE, "Expired", message)


def no_version(given: str, *, of_a_watch: bool) -> ApiError:
    """Refuse: a version is a number. A watch is refused as the server's own failure, as the real server does."""
    message = f'resourceVersion: Invalid value: "{given}": strconv.ParseUint: parsing "{given}": invalid syntax'
    if of_a_watch:
        return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", message)
    return bad_request(f"invalid resource version: {message}")


def version_too_large(asked: int, current: int) -> ApiError:
    """Refuse: the version asked for has not been reached."""
    message = f"Too large resource version: {asked}, current: {current}"
    cause = Cause("ResourceVersionTooLarge", "Too large resource version")
    details = {"causes": [cause.body()], "retryAfterSeconds": 1}
    return ApiError(HTTPStatus.GATEWAY_TIMEOUT, "Timeout", message, details)


def success(resource: Named, name: str, uid: str) -> JsonObject:
    """Give the body that says a deletion is complete."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": _details(resource, name) | {"uid": uid},
    }
