"""The handlers of requests: from a parsed request to the body of the response."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import yaml

from shardwise_sandbox import discovery, patching, tables
from shardwise_sandbox.admission import WriteOptions
from shardwise_sandbox.api import Api
from shardwise_sandbox.conversion import present, stored_form
from shardwise_sandbox.deletion import read_options
from shardwise_sandbox.errors import (
    bad_request,
    method_not_allowed,
    no_such_path,
    no_version,
    success,
    unsupported_media_type,
)
from shardwise_sandbox.faults import RequestInfo
from shardwise_sandbox.objects import Json, JsonObject, meta, name_of, uid_of
from shardwise_sandbox.resources import ResourceType
from shardwise_sandbox.routes import Route, route
from shardwise_sandbox.selectors import Selection, parse_fields, parse_labels
from shardwise_sandbox.store import Ref
from shardwise_sandbox.streaming import WatchRequest
from shardwise_sandbox.subresources import scale_of, set_scale
from shardwise_sandbox.writes import Target, patched_copy

_JSON: Final = frozenset({"application/json", "", patching.MERGE, patching.JSON, patching.STRATEGIC, "text/plain"})
_YAML: Final = frozenset({"application/yaml", patching.APPLY})


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """The body and the code of a response. A text, if there is any, replaces the body."""

    body: JsonObject
    code: int = 200
    text: str = ""


def read_body(content_type: str, raw: bytes) -> Json:
    """Decode the body of a request. Raises ``ApiError`` 415 or 400 if the body cannot be read."""
    if not raw:
        return None
    if content_type not in _JSON | _YAML:
        raise unsupported_media_type(content_type, sorted(filter(None, _JSON | _YAML)))
    try:
        return json.loads(raw)
    except ValueError as error:
        if content_type not in _YAML:
            raise bad_request(f"the body of the request cannot be read as JSON: {error}") from error
    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise bad_request(f"the body of the request cannot be read as YAML: {error}") from error


class Handlers:
    """Carries out requests on the API."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._methods: Mapping[str, Callable[[Route, RequestInfo], ApiResponse]] = {
            "POST": self._create,
            "PUT": self._replace,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }

    def handle(self, info: RequestInfo, accept: str) -> ApiResponse | WatchRequest:
        """Carry out a request. For a watch, return only its description."""
        about = route(self._api.store.registry, info.path)
        if about is None:
            healthy = info.method == "GET" and info.path in _HEALTH
            return ApiResponse({}, text="ok") if healthy else ApiResponse(self._document(info))
        if info.method == "GET":
            return self._read(about, info, as_table="as=Table" in accept)
        if info.method not in self._methods:
            raise method_not_allowed()
        answer = self._methods[info.method](about, info)
        return replace(answer, body=_shown(about, answer.body))

    def _document(self, info: RequestInfo) -> JsonObject:
        if info.method != "GET":
            raise method_not_allowed()
        registry = self._api.store.registry
        fixed: Mapping[str, Callable[[], JsonObject]] = {
            "version": lambda: discovery.VERSION,
            "api": lambda: discovery.API_VERSIONS,
            "apis": lambda: discovery.group_list(registry),
            "openapi/v3": lambda: discovery.openapi_index(registry),
        }
        path = info.path.strip("/")
        if path in fixed:
            return fixed[path]()
        if path.startswith("openapi/v3/"):
            return discovery.openapi(registry, path.removeprefix("openapi/v3/"))
        return self._group_document(path.split("/"))

    def _group_document(self, parts: list[str]) -> JsonObject:
        registry = self._api.store.registry
        match parts:
            case ["api", version]:
                return discovery.resource_list(registry, "", version)
            case ["apis", group]:
                return discovery.group(registry, group)
            case ["apis", group, version]:
                return discovery.resource_list(registry, group, version)
            case _:
                raise no_such_path()

    def _read(self, about: Route, info: RequestInfo, *, as_table: bool) -> ApiResponse | WatchRequest:
        if info.is_watch:
            return self._watch(about, info, as_table=as_table)
        if not about.name:
            return self._list(about, info, as_table=as_table)
        obj = self._api.store.get(about.resource, _ref(about))
        if about.subresource == "scale" and about.resource.scale:
            return ApiResponse(scale_of(about.resource, obj))
        if about.subresource not in {"", "status"}:
            raise no_such_path()
        if as_table:
            list_meta = {"resourceVersion": meta(obj)["resourceVersion"]}
            return ApiResponse(tables.table(about.resource, [obj], list_meta, self._api.now()))
        return ApiResponse(present(about.resource, obj))

    def _selection(self, about: Route, query: Mapping[str, str]) -> Selection:
        fields = query.get("fieldSelector", "")
        if about.name:
            fields = f"metadata.name={about.name}"
        found = parse_fields(fields, about.resource.selects)
        if about.resource.stored_as:
            found = tuple(replace(requirement, path=_stored_path(requirement.path)) for requirement in found)
        return Selection(about.namespace, parse_labels(query.get("labelSelector", "")), found)

    def _list(self, about: Route, info: RequestInfo, *, as_table: bool) -> ApiResponse:
        query = info.query
        self._check_version(query)
        limit = int(query.get("limit") or 0)
        page = self._api.reader.page(about.resource, self._selection(about, query), limit, query.get("continue", ""))
        body = page.body(about.resource)
        if as_table:
            return ApiResponse(tables.table(about.resource, page.items, body["metadata"], self._api.now()))
        return ApiResponse(body)

    def _check_version(self, query: Mapping[str, str]) -> None:
        asked = _version(query, of_a_watch=False)
        if asked > self._api.store.version:
            # The event log raises the error: a list from a future version is the same mistake as a watch from it.
            self._api.store.log.since(("", ""), asked)

    def _watch(self, about: Route, info: RequestInfo, *, as_table: bool) -> WatchRequest:
        query = info.query
        _version(query, of_a_watch=True)
        initial = query.get("sendInitialEvents")
        return WatchRequest(
            resource=about.resource,
            selection=self._selection(about, query),
            version=query.get("resourceVersion", ""),
            bookmarks=query.get("allowWatchBookmarks", "").lower() in {"1", "true"},
            initial_events=None if initial is None else initial.lower() in {"1", "true"},
            timeout=float(query.get("timeoutSeconds") or 3600),
            as_table=as_table,
        )

    def _create(self, about: Route, info: RequestInfo) -> ApiResponse:
        body = _object(info)
        if about.subresource == "binding":
            self._api.pods.bind(_ref(about), str((body.get("target") or {}).get("name", "")))
            return ApiResponse(_DONE, 201)
        if about.subresource == "eviction":
            self._api.pods.evict(_ref(about), body)
            return ApiResponse(_DONE, 201)
        if about.name:
            raise method_not_allowed()
        form = stored_form(about.resource, body)
        return ApiResponse(self._api.writer.create(self._stored(about), about.namespace, form, _options(info)), 201)

    def _stored(self, about: Route) -> ResourceType:
        return self._api.store.registry.at("", "v1", "events") if about.resource.stored_as else about.resource

    def _target(self, about: Route) -> Target:
        if not about.name:
            raise method_not_allowed()
        if about.subresource and about.subresource not in about.resource.subresources:
            raise no_such_path()
        return Target(self._stored(about), _ref(about), about.subresource)

    def _replace(self, about: Route, info: RequestInfo) -> ApiResponse:
        target = self._target(about)
        if target.subresource == "scale":
            obj = set_scale(self._api.writer, target, _object(info), _options(info))
            return ApiResponse(scale_of(target.resource, obj))
        return ApiResponse(self._api.writer.replace(target, stored_form(about.resource, _object(info)), _options(info)))

    def _patch(self, about: Route, info: RequestInfo) -> ApiResponse:
        target, kind = self._target(about), info.content_type
        if target.subresource == "scale":
            return self._patch_scale(target, info)
        if kind == patching.APPLY:
            obj, created = self._api.writer.apply(target, stored_form(about.resource, _object(info)), _options(info))
            return ApiResponse(obj, 201 if created else 200)
        patch = info.body if kind == patching.JSON else stored_form(about.resource, _object(info))
        return ApiResponse(self._api.writer.patch(target, kind, patch, _options(info)))

    def _patch_scale(self, target: Target, info: RequestInfo) -> ApiResponse:
        obj = self._api.store.get(target.resource, target.ref)
        scale = patched_copy(_SCALE, scale_of(target.resource, obj), info.content_type, info.body)
        return ApiResponse(scale_of(target.resource, set_scale(self._api.writer, target, scale, _options(info))))

    def _delete(self, about: Route, info: RequestInfo) -> ApiResponse:
        if about.subresource:
            raise method_not_allowed()
        options = read_options(_object(info), info.query)
        if not about.name:
            chosen = self._api.reader.select(about.resource, self._selection(about, info.query))
            deleted = self._api.deleter.delete_collection(about.resource, chosen, options)
            body = {"kind": f"{about.resource.kind}List", "apiVersion": about.resource.api_version}
            return ApiResponse(
                {**body, "metadata": {"resourceVersion": str(self._api.store.version)}, "items": deleted}
            )
        obj, gone = self._api.deleter.delete(about.resource, _ref(about), options)
        # A deleted pod comes back in its last state. For other kinds the response only confirms the deletion.
        confirmed = gone and about.resource.kind != "Pod"
        return ApiResponse(success(about.resource, name_of(obj), uid_of(obj)) if confirmed else obj)


_HEALTH: Final = frozenset({"/healthz", "/readyz", "/livez"})
_DONE: Final[JsonObject] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_SCALE: Final = ResourceType(group="autoscaling", plural="scales", singular="scale", kind="Scale")


def _ref(about: Route) -> Ref:
    return about.namespace, about.name


def _stored_path(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the path that the stored form of an Event has for a path of the newer API."""
    return ("involvedObject", *path[1:]) if path[0] == "regarding" else path


def _version(query: Mapping[str, str], *, of_a_watch: bool) -> int:
    given = query.get("resourceVersion") or "0"
    if not (given.isascii() and given.isdigit()):
        raise no_version(given, of_a_watch=of_a_watch)
    return int(given)


def _object(info: RequestInfo) -> JsonObject:
    if info.body is None:
        return {}
    if not isinstance(info.body, dict):
        raise bad_request("the body of the request is not a JSON object")
    return info.body


def _options(info: RequestInfo) -> WriteOptions:
    # An apply must name its field manager. Other writes take the user agent.
    unnamed = "" if info.content_type == patching.APPLY else info.field_manager
    return WriteOptions(
        manager=info.query.get("fieldManager", unnamed),
        dry_run="dryRun" in info.query,
        validation=info.query.get("fieldValidation", "Warn"),
        force=info.query.get("force", "").lower() in {"1", "true"},
    )


def _shown(about: Route, body: JsonObject) -> JsonObject:
    return present(about.resource, body) if body.get("kind") == about.resource.kind else body
