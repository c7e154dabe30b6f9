"""kopf's watches: which kinds, and where their events go."""

from typing import Any

import kopf
import pytest
from pytest_mock import MockerFixture
from tests.support.add_ons import a_site

from shardwise.controller.watches import _handler, register, system_kinds
from shardwise.domain.launch import GangSystem, LaunchSite, QueueSystem
from shardwise.observe import Store
from shardwise.operate import Changes, Queue


@pytest.mark.parametrize(("kind", "deleted"), [("ADDED", False), ("MODIFIED", False), (None, False), ("DELETED", True)])
async def test_an_event_of_kopf_is_its_object_and_whether_that_is_gone(
    mocker: MockerFixture, kind: str | None, deleted: bool
) -> None:
    """``None`` is what kopf says of an object it found in a list."""
    take = mocker.Mock()
    await _handler(take)(event={"type": kind, "object": {"a": 1}}, logger=None, patch={})
    take.assert_called_once_with({"a": 1}, deleted)


def test_kopf_watches_seven_kinds_and_puts_nothing_on_any_object(mocker: MockerFixture) -> None:
    """No finalizer: an object can be deleted while no operator runs. Of Services, only our own."""
    registry = kopf.OperatorRegistry()
    register(registry, Changes(Store(), mocker.create_autospec(Queue, instance=True)))
    handlers: list[Any] = list(registry._watching.get_all_handlers())
    assert sorted(handler.id for handler in handlers) == [
        "node",
        "pod",
        "poddisruptionbudget",
        "priorityclass",
        "resourcequota",
        "service",
        "shardedmodel",
    ]
    assert {handler.id: handler.labels for handler in handlers if handler.labels} == {
        name: {"app.kubernetes.io/managed-by": "shardwise"} for name in ("poddisruptionbudget", "service")
    }
    assert not list(registry._changing.get_all_handlers())
    assert not list(registry._spawning.get_all_handlers())


def test_quotas_that_may_not_be_watched_are_not(mocker: MockerFixture) -> None:
    """They would be asked for again and again."""
    registry = kopf.OperatorRegistry()
    register(registry, Changes(Store(), mocker.create_autospec(Queue, instance=True)), quotas=False)
    handlers: list[Any] = list(registry._watching.get_all_handlers())
    assert len(handlers) == 6
    assert "resourcequota" not in {handler.id for handler in handlers}


def test_devices_are_watched_only_where_they_are_served_and_may_be_read(mocker: MockerFixture) -> None:
    registry = kopf.OperatorRegistry()
    register(registry, Changes(Store(), mocker.create_autospec(Queue, instance=True)), devices=True)
    handlers: list[Any] = list(registry._watching.get_all_handlers())
    assert len(handlers) == 10
    assert {"resourceslice", "resourceclaim", "deviceclass"} <= {handler.id for handler in handlers}


def test_the_kinds_of_configured_systems_are_watched_and_of_groups_only_our_own(mocker: MockerFixture) -> None:
    """An add-on may be installed later; PodGroups of Kubernetes that are not served do not come by themselves."""
    registry = kopf.OperatorRegistry()
    gangs = {GangSystem.NATIVE: "", GangSystem.VOLCANO: "", GangSystem.KAI: "scheduling.run.ai/v2alpha2"}
    kinds = tuple(system_kinds(LaunchSite(queue_systems=(QueueSystem.KUEUE,)), gangs))
    register(registry, Changes(Store(), mocker.create_autospec(Queue, instance=True)), systems=kinds)
    handlers: list[Any] = list(registry._watching.get_all_handlers())
    assert len(handlers) == 7 + 4 + 2
    groups = {handler.id: handler.labels for handler in handlers if handler.id.startswith("podgroup.")}
    ours = {"app.kubernetes.io/managed-by": "shardwise"}
    assert groups == {"podgroup.scheduling.volcano.sh": ours, "podgroup.scheduling.run.ai": ours}
    served = {GangSystem.NATIVE: "scheduling.k8s.io/v1alpha2"}
    assert [kind.api_version for kind in system_kinds(LaunchSite(), served)] == ["scheduling.k8s.io/v1alpha2"]


def test_of_the_kinds_that_connect_models_only_those_configured_are_watched_and_only_our_own(
    mocker: MockerFixture,
) -> None:
    """Teams have routes and scalers of their own."""
    registry = kopf.OperatorRegistry()
    kinds = tuple(system_kinds(a_site(), {}))
    register(registry, Changes(Store(), mocker.create_autospec(Queue, instance=True)), systems=kinds)
    handlers: list[Any] = list(registry._watching.get_all_handlers())
    assert len(handlers) == 7 + 3
    ours = {"app.kubernetes.io/managed-by": "shardwise"}
    found = {handler.id.partition(".")[0]: handler.labels for handler in handlers[7:]}
    assert found == dict.fromkeys(("inferencepool", "httproute", "scaledobject"), ours)
