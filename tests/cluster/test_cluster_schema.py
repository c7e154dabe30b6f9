"""The schema and its CEL rules on a real API server: it refuses what reading refuses, and takes what is right."""

import json
import re
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest
from tests.api.support import RIGHT, changed, wrong_objects
from tests.cluster.installed import MODELS, Installed

from shardwise.api.rules import RULES

Json = dict[str, Any]

WRONG = {name: row for name, row in wrong_objects().items() if row[0] != "apiVersion"}
"""All but another version, which is another path of the API."""


def tried(installed: Installed, body: Json) -> tuple[int, Json]:
    """Create an object on trial, unknown fields refused as kubectl asks for: status and answer."""
    plane = installed.plane
    path = f"/apis/shardwise.dev/v1alpha1/namespaces/{MODELS}/shardedmodels?dryRun=All&fieldValidation=Strict"
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(plane.url + path, json.dumps(body).encode(), headers)  # noqa: S310 - our own
    tls = plane.tls()
    context = tls if isinstance(tls, ssl.SSLContext) else None
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:  # noqa: S310 - our own
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize("name", WRONG)
def test_what_reading_refuses_the_api_server_refuses_and_names(installed: Installed, name: str) -> None:
    """One of the fields, by its schema or by a CEL rule, in the server's own words: it stops at the first kind."""
    path, value, message = WRONG[name]
    fields = [part.partition(":")[0] for part in message.split("; ")]
    status, said = tried(installed, changed(path, value))
    assert status in (400, 422), said
    named = re.sub(r"\[(\d+)\]", r".\1", said["message"])
    rules = [rule.message for rule in RULES if rule.field in fields]
    assert any(one in named for one in (*fields, *rules))


@pytest.mark.parametrize(("path", "value"), RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_taken_and_kept(installed: Installed, path: str, value: object) -> None:
    """No rule is stricter than it reads, and nothing that was written is pruned or changed."""
    given = changed(path, value)
    status, made = tried(installed, given)
    assert status == 201, made
    assert kept(given["spec"], made["spec"])


def test_roles_have_a_target_with_its_rate(installed: Installed) -> None:
    load = {"inputTokens": 2000, "outputTokens": 200, "timePerToken": "40ms"}
    given = changed("spec.roles", [{"name": "prefill"}, {"name": "decode", "replicas": 2}])
    for target, expected in ((load | {"requestsPerSecond": 4}, 201), (load, 422)):
        given["spec"]["target"] = target
        status, said = tried(installed, given)
        assert status == expected, said
        assert status == 201 or "each role is sized by the rate of the requests" in said["message"]


PATHS = {
    "a field of its own": ("plain", ".spec.replicas", True),
    "an entry of a list": ("listed", ".spec.roles[0].replicas", False),
    "an entry of a list by its name": ("named", ".spec.roles[?(@.name=='prefill')].replicas", False),
}


@pytest.mark.parametrize(("name", "path", "reached"), PATHS.values(), ids=PATHS)
def test_no_scaler_can_reach_the_replicas_of_a_role(installed: Installed, name: str, path: str, reached: bool) -> None:
    """A version has one scale subresource. Where its path leads into a list, it has nothing to read or to write."""
    plane, kind = installed.plane, scaled_at(name, path)
    plane.kubectl("apply", "-f", "-", given=kind)
    try:
        plane.established(kind["metadata"]["name"])
        spec = {"replicas": 2, "roles": [{"name": "prefill", "replicas": 2}]}
        made = {"apiVersion": "scales.dev/v1", "kind": name.title(), "metadata": {"name": "one"}, "spec": spec}
        plane.kubectl("apply", "-f", "-", given=made)
        scale = plane.kubectl("get", "--raw", f"/apis/scales.dev/v1/namespaces/default/{name}/one/scale", check=False)
        assert ('"spec":{"replicas":2}' in scale) is reached, scale
    finally:
        plane.kubectl("delete", "crd", kind["metadata"]["name"])


def scaled_at(name: str, path: str) -> Json:
    """Define a kind of any content, whose scale subresource has its number at a path."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"scale": {"specReplicasPath": path, "statusReplicasPath": ".status.replicas"}},
    }
    names = {"plural": name, "singular": name, "kind": name.title(), "listKind": f"{name.title()}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{name}.scales.dev"},
        "spec": {"group": "scales.dev", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def kept(given: object, made: object) -> bool:
    """Tell whether all that was given is there; defaults may have come to it."""
    if isinstance(given, dict) and isinstance(made, dict):
        return all(name in made and kept(one, made[name]) for name, one in given.items())
    if isinstance(given, list) and isinstance(made, list):
        return len(given) == len(made) and all(map(kept, given, made))
    return given == made
