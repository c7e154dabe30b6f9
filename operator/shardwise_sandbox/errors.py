"""The errors of the API, with the ``Status`` bodies that clients expect."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from shardwise_sandbox.objects import JsonObject


class NamedResource(Protocol):
    """The names of a resource type, for an error message."""

    @property
    def group(self) -> str:
        """The API group, empty for the core."""

    @property
    def plural(self) -> str:
        """The name of the kind in URLs."""

    @property
    def kind(self) -> str:
        """The kind of an object."""


@dataclass(frozen=True, slots=True)
class StatusCause:
    """A cause of a refusal: a field, a machine-readable reason and a sentence."""

    reason: str
    message: str
    field: str = ""

    def body(self) -> JsonObject:
        """Return the entry of ``details.causes``."""
        return {"reason": self.reason, "message": self.message, **({"field": self.field} if self.field else {})}


class ApiError(Exception):
    """A refused request: an HTTP code, a reason and a message in a ``Status`` body."""

    def __init__(self, code: int, reason: str, message: str, details: JsonObject | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> JsonObject:
        """Return the body of the response."""
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


def _qualified(resource: NamedResource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _details(resource: NamedResource, name: str, causes: Sequence[StatusCause] = ()) -> JsonObject:
    details: JsonObject = {"name": name, "group": resource.group, "kind": resource.plural}
    if causes:
        details["causes"] = [cause.body() for cause in causes]
    return {key: value for key, value in details.items() if value}


def not_found(resource: NamedResource, name: str) -> ApiError:
    """Refuse: the object does not exist."""
    message = f'{_qualified(resource)} "{name}" not found'
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", message, _details(resource, name))


def no_such_path() -> ApiError:
    """Refuse: the server does not serve the resource type or URL."""
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", "the server could not find the requested resource")


def already_exists(resource: NamedResource, name: str) -> ApiError:
    """Refuse: an object of that name exists."""
    message = f'{_qualified(resource)} "{name}" already exists'
    return ApiError(HTTPStatus.CONFLICT, "AlreadyExists", message, _details(resource, name))


def conflict(resource: NamedResource, name: str, why: str = "") -> ApiError:
    """Refuse: the object has changed since the writer read it."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {_qualified(resource)} "{name}": {why}'
    return ApiError(HTTPStatus.CONFLICT, "Conflict", message, _details(resource, name))


def apply_conflict(causes: Sequence[StatusCause], message: str) -> ApiError:
    """Refuse an apply: another manager owns the fields."""
    details = {"causes": [cause.body() for cause in causes]}
    return ApiError(HTTPStatus.CONFLICT, "Conflict", message, details)


def invalid(resource: NamedResource, name: str, causes: Sequence[StatusCause]) -> ApiError:
    """Refuse: the object breaks its schema or a rule. Each field has its own cause."""
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    said = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    told = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = _details(resource, name, causes) | {"kind": resource.kind}
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", f'{kind} "{name}" is invalid: {told}', details)


def unprocessable(message: str) -> ApiError:
    """Refuse: the patch cannot be carried out on the object."""
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message)


def bad_request(message: str) -> ApiError:
    """Refuse: the request is malformed."""
    return ApiError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def forbidden(resource: NamedResource, name: str, why: str) -> ApiError:
    """Refuse: a rule of the cluster forbids it."""
    message = f'{_qualified(resource)} "{name}" is forbidden: {why}'
    return ApiError(HTTPStatus.FORBIDDEN, "Forbidden", message, _details(resource, name))


def method_not_allowed() -> ApiError:
    """Refuse: the resource does not support the method."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", message)


def unsupported_media_type(content_type: str, supported: Sequence[str]) -> ApiError:
    """Refuse: the server does not read bodies of that media type."""
    listed = ", ".join(supported)
    message = (
        f"the body of the request was in an unknown format `{content_type}` - accepted media types include: {listed}"
    )
    return ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)


def expired(message: str) -> ApiError:
    """Refuse: the history does not reach back to the requested version."""
    return ApiError(HTTPStatus.GONE, "Expired", message)


def no_version(given: str, *, of_a_watch: bool) -> ApiError:
    """Refuse a version that is not a number. A watch gets an internal error, as from the real server."""
    message = f'resourceVersion: Invalid value: "{given}": strconv.ParseUint: parsing "{given}": invalid syntax'
    if of_a_watch:
        return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", message)
    return bad_request(f"invalid resource version: {message}")


def version_too_large(asked: int, current: int) -> ApiError:
    """Refuse: the requested version lies in the future."""
    message = f"Too large resource version: {asked}, current: {current}"
    cause = StatusCause("ResourceVersionTooLarge", "Too large resource version")
    details = {"causes": [cause.body()], "retryAfterSeconds": 1}
    return ApiError(HTTPStatus.GATEWAY_TIMEOUT, "Timeout", message, details)


def success(resource: NamedResource, name: str, uid: str) -> JsonObject:
    """Return the body that confirms a deletion."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": _details(resource, name) | {"uid": uid},
    }
