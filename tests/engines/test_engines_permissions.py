"""Values that a user may write into an object and that the operator configuration does not allow, or does."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import VLLM, wants_of

from shardwise.domain.allowed import ANY, SELECTED_LABELS, Allowed, allows
from shardwise.domain.launch import LaunchSite, Owner, Source, SourceKind
from shardwise.engines import problems

LOAD_BALANCER = {"type": "LoadBalancer"}
HERE = "in namespace `default`"
LISTS = "of the operator's configuration lists"


def refused(allowed: Allowed | None = None, **changes: Any) -> tuple[tuple[str, str], ...]:
    """Give the problems of an object in the namespace ``default``."""
    return problems(wants_of(VLLM, site=LaunchSite(allowed=allowed or Allowed()), **changes))


BY_DEFAULT: dict[str, tuple[dict[str, Any], str, str]] = {
    "a LoadBalancer": (
        LOAD_BALANCER,
        "spec.service.type",
        (f"`LoadBalancer` is not allowed {HERE}; `allow.serviceTypes` {LISTS} `ClusterIP`"),
    ),
    "a NodePort": (
        {"type": "NodePort"},
        "spec.service.type",
        (f"`NodePort` is not allowed {HERE}; `allow.serviceTypes` {LISTS} `ClusterIP`"),
    ),
    "a class of the system": (
        {"priority_class_name": "system-node-critical"},
        "spec.placement.priorityClassName",
        (
            f"`system-node-critical` is not allowed {HERE}; "
            f"`allow.priorityClasses` {LISTS} `*`, and `*` does not stand for `system-…`"
        ),
    ),
    "a label that Services select": (
        {"labels": (("team", "a"), ("k8s-app", "dns"))},
        "spec.podTemplate.labels",
        (
            f"`k8s-app` is not allowed {HERE}; "
            f"`allow.podLabels` {LISTS} `*`, and `*` does not stand for labels that Services usually select"
        ),
    ),
    "the name of the API server's Service": (
        {"owner": Owner("kubernetes", "default", "u")},
        "metadata.name",
        (
            f"`kubernetes` is not allowed {HERE}; "
            f"`allow.serviceNames` {LISTS} `*`, and `*` does not stand for the Service of the API server"
        ),
    ),
}


@pytest.mark.parametrize(("changes", "field", "message"), BY_DEFAULT.values(), ids=BY_DEFAULT)
def test_an_object_gets_no_more_than_pods_by_default(changes: dict[str, Any], field: str, message: str) -> None:
    """The message names field, value and what is allowed."""
    assert refused(**changes) == ((field, message),)


USUAL: dict[str, dict[str, Any]] = {
    "nothing of all this": {},
    "any port of a ClusterIP": {"port": 22},
    "a class of the site": {"priority_class_name": "batch"},
    "labels of a team": {
        "labels": (("team", "a"), ("app.kubernetes.io/part-of", "chat"), ("kueue.x-k8s.io/queue", "q"))
    },
    "an image of its own": {"image": "evil.example.com/vllm:v0.33.0"},
    "a ServiceAccount of its namespace": {"service_account_name": "default"},
    "any other name": {"owner": Owner("kubernetes-docs", "default", "u")},
}


@pytest.mark.parametrize("changes", USUAL.values(), ids=USUAL)
def test_what_a_creator_of_pods_may_do_stays_allowed_by_default(changes: dict[str, Any]) -> None:
    assert refused(**changes) == ()


MIRROR = ("mirror.example.com/*", "vllm/vllm-openai:v0.33.0")
NARROWED: dict[str, tuple[Allowed, dict[str, Any], str]] = {
    "a port": (
        Allowed(service_ports=((443, 443), (8000, 8999))),
        {"port": 80},
        (f"spec.service.port: `80` is not allowed {HERE}; `allow.servicePorts` {LISTS} `443`, `8000-8999`"),
    ),
    "a name": (
        Allowed(service_names=("llm-*",)),
        {"owner": Owner("vault", "default", "u")},
        (f"metadata.name: `vault` is not allowed {HERE}; `allow.serviceNames` {LISTS} `llm-*`"),
    ),
    "a class": (
        Allowed(priority_classes=()),
        {"priority_class_name": "high"},
        (f"spec.placement.priorityClassName: `high` is not allowed {HERE}; `allow.priorityClasses` {LISTS} nothing"),
    ),
    "a label": (
        Allowed(pod_labels=("team",)),
        {"labels": (("teams", "a"),)},
        (f"spec.podTemplate.labels: `teams` is not allowed {HERE}; `allow.podLabels` {LISTS} `team`"),
    ),
    "an image": (
        Allowed(images=MIRROR),
        {"image": "vllm/vllm-openai:v0.33.1"},
        (
            f"spec.engine.image: `vllm/vllm-openai:v0.33.1` is not allowed {HERE}; "
            f"`allow.images` {LISTS} `mirror.example.com/*`, `vllm/vllm-openai:v0.33.0`"
        ),
    ),
    "an image with weights": (
        Allowed(images=("mirror.example.com/*",)),
        {"source": Source(SourceKind.IMAGE, location="hub.example.com/weights@sha256:0")},
        (
            f"spec.model.source.image.reference: `hub.example.com/weights@sha256:0` is not allowed {HERE}; "
            f"`allow.images` {LISTS} `mirror.example.com/*`"
        ),
    ),
    "a ServiceAccount": (
        Allowed(service_accounts=("model-*",)),
        {"service_account_name": "deployer"},
        (
            f"spec.placement.serviceAccountName: `deployer` is not allowed {HERE}; "
            f"`allow.serviceAccounts` {LISTS} `model-*`"
        ),
    ),
}


@pytest.mark.parametrize(("allowed", "changes", "line"), NARROWED.values(), ids=NARROWED)
def test_the_configuration_narrows_each_field(allowed: Allowed, changes: dict[str, Any], line: str) -> None:
    assert [f"{field}: {message}" for field, message in refused(allowed, **changes)] == [line]


WIDENED: dict[str, tuple[Allowed, dict[str, Any]]] = {
    "a type": (Allowed(service_types=("ClusterIP", "LoadBalancer")), LOAD_BALANCER),
    "a port of a range": (Allowed(service_ports=((443, 443), (8000, 8999))), {"port": 8999}),
    "a class of the system, by name": (
        Allowed(priority_classes=("system-node-critical",)),
        {"priority_class_name": "system-node-critical"},
    ),
    "classes of the system, by their beginning": (
        Allowed(priority_classes=("system-*",)),
        {"priority_class_name": "system-node-critical"},
    ),
    "a label beside all others": (Allowed(pod_labels=("*", "app")), {"labels": (("app", "a"), ("team", "b"))}),
    "an image below a prefix": (Allowed(images=MIRROR), {"image": "mirror.example.com/vllm:v0.33.0"}),
    "the operator's own image": (Allowed(images=()), {}),
}


@pytest.mark.parametrize(("allowed", "changes"), WIDENED.values(), ids=WIDENED)
def test_the_configuration_allows_what_it_lists(allowed: Allowed, changes: dict[str, Any]) -> None:
    assert refused(allowed, **changes) == ()


def test_the_values_of_a_namespace_are_its_own() -> None:
    """And no other's: the namespace of the object decides, not its name."""
    open_to_all = replace(Allowed(), service_types=("LoadBalancer",))
    site = LaunchSite(allowed_by_namespace=(("production", open_to_all),))
    there, here = Owner("llama", "production", "u"), Owner("production", "default", "u")
    assert problems(wants_of(VLLM, site=site, owner=there, **LOAD_BALANCER)) == ()
    assert [field for field, _ in problems(wants_of(VLLM, site=site, owner=here, **LOAD_BALANCER))] == [
        "spec.service.type"
    ]


def test_all_that_is_wrong_is_told_at_once() -> None:
    changes: dict[str, Any] = LOAD_BALANCER | {
        "priority_class_name": "system-x",
        "labels": (("app", "a"), ("run", "b")),
    }
    assert [field for field, _ in refused(**changes)] == [
        "spec.service.type",
        "spec.placement.priorityClassName",
        "spec.podTemplate.labels",
        "spec.podTemplate.labels",
    ]


@given(st.text(max_size=20), st.lists(st.text(max_size=5), max_size=4))
def test_only_an_entry_of_the_list_allows_a_value(value: str, entries: list[str]) -> None:
    expected = any(value == entry or (entry[-1:] == "*" and value.startswith(entry[:-1])) for entry in entries)
    assert allows(tuple(entries), value) == expected
    assert not allows(ANY, value, reserved=True)


def test_no_label_that_shardwise_leaves_to_others_is_free_for_objects() -> None:
    """GitOps tools and Helm's Services select by it."""
    assert "app.kubernetes.io/instance" in SELECTED_LABELS
