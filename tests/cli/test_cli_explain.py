"""``shardwise explain``: an object of a cluster or of files, where it stands, and how it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.support import Json, Ran, a_list, a_model, a_pod, changed, renamed, shardwise, write
from tests.support.operating import Operating, a_large_model, operating
from tests.support.operating import a_model as a_small_model

from shardwise.cluster import Refused, Retryable
from shardwise.observe.kinds import NODE, POD, SHARDED_MODEL, Kind
from shardwise_sandbox import Sandbox, sample_fleet
from shardwise_sandbox.demo import fleet_documents

ROLES: list[Json] = [{"name": "prefill"}, {"name": "decode"}]
WIDE = a_model("llama-405b")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Operating]:
    """Give a cluster with a running operator."""
    async with operating(tmp_path) as running:
        yield running


async def explain(cluster: Operating, *args: str | Path) -> Ran:
    return await asyncio.to_thread(shardwise, "explain", *args, "--kubeconfig", cluster.kubeconfig)


async def dump(cluster: Operating, path: Path) -> Path:
    """Write what `kubectl get nodes,pods,shardedmodels,priorityclasses -A -o yaml` would print."""
    kinds = ("nodes", "pods", "shardedmodels", "priorityclasses")
    return write(path, a_list([one for kind in kinds for one in cluster.cluster.list(kind)]))


async def test_a_running_object_is_explained(cluster: Operating) -> None:
    """Its plan with the rule, when it was made, that it stays, and its groups."""
    cluster.cluster.create(a_large_model())
    await cluster.ready("large")
    ran = await explain(cluster, "large")
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "✓ `large`: TP8×PP2 on 16 NVIDIA-H100-80GB-HBM3 (h100-1, h100-2)"
    assert lines[1].startswith("  chosen   rule 3: ")
    assert "  planned  2027-01-15T08:00:00Z" in lines
    assert "  today    the same would be planned" in lines
    assert "  groups   replica 0: Ready since 2027-01-15T08:00:00Z, attempt 0, 2 of 2 pods ready" in lines


async def test_an_object_that_waits_is_explained_as_a_derivation(cluster: Operating) -> None:
    """Others hold the GPUs, by pods and by plans; status 1, as for a plan that does not fit."""
    cluster.cluster.create(a_large_model())
    await cluster.ready("large")
    cluster.cluster.create(a_large_model("second"))
    await cluster.condition("second", "Planned", "False")
    ran = await explain(cluster, "second")
    assert (ran.status, ran.err) == (1, "")
    assert ran.out.startswith(
        "× no placement for `second`: waiting for GPUs: no layout fits on 0 free GPUs\n╰─▶ Because"
    )
    assert "    So no layout fits\n" in ran.out


async def test_gpus_of_plans_whose_pods_are_not_bound_are_taken(cluster: Operating, tmp_path: Path) -> None:
    """As they are for the operator: planning live and on files agrees with it."""
    cluster.cluster.create(a_large_model())
    await cluster.ready("large")
    await cluster.stop()
    for pod in cluster.pods("large"):
        cluster.cluster.delete("Pod", "default", pod["metadata"]["name"])
    await cluster.until(lambda: not cluster.pods("large"), "pods gone")
    second = write(tmp_path / "second.yaml", a_large_model("second"))
    live = await asyncio.to_thread(shardwise, "plan", "-f", second, "--kubeconfig", cluster.kubeconfig)
    files = await asyncio.to_thread(
        shardwise, "plan", "-f", second, "--fleet", await dump(cluster, tmp_path / "f.yaml")
    )
    assert (live.status, files.status) == (1, 1)
    assert live.out == files.out
    assert "no NVIDIA-H100-80GB-HBM3 is free" in live.out


async def test_live_and_on_files_the_answer_is_the_same(cluster: Operating, tmp_path: Path) -> None:
    """In text and as data; by name and by manifest."""
    cluster.cluster.create(a_large_model())
    status = await cluster.ready("large")
    fleet = await dump(cluster, tmp_path / "fleet.yaml")
    manifest = write(tmp_path / "large.yaml", a_large_model())
    answers = [
        await explain(cluster, "large", "-o", "json"),
        await explain(cluster, "-f", manifest, "-o", "json"),
        await asyncio.to_thread(shardwise, "explain", "large", "--fleet", fleet, "-o", "json"),
        await asyncio.to_thread(shardwise, "explain", "-f", manifest, "--fleet", fleet, "-o", "json"),
    ]
    assert [answer.status for answer in answers] == [0] * 4
    named, given = ([answer.data[0] for answer in answers[::2]], [answer.data[0] for answer in answers[1::2]])
    assert named[0] == named[1]
    assert given[0] == given[1]
    assert given[0] | {"generation": 1} == named[0], "a manifest has no generation"
    assert named[0]["planned"]["because"] == status["plan"]["because"]
    assert named[0]["verdict"] == "placed"


async def test_yaml_holds_the_same_data_as_json(cluster: Operating) -> None:
    cluster.cluster.create(a_small_model())
    await cluster.ready("llama")
    as_yaml, as_json = [await explain(cluster, "llama", "-o", form) for form in ("yaml", "json")]
    assert yaml.safe_load(as_yaml.out) == as_json.data


async def test_an_edit_is_explained_before_it_is_applied(cluster: Operating, tmp_path: Path) -> None:
    """The manifest as edited, beside what the cluster runs."""
    cluster.cluster.create(a_small_model(gpus=4))
    await cluster.ready("llama")
    edited = write(tmp_path / "edited.yaml", a_small_model(gpus=4, parallelism={"tensor": 4}))
    ran = await explain(cluster, "-f", edited)
    assert ran.status == 0
    assert "  next     the object has changed: TP4×PP1 on 4 " in ran.out


async def test_a_node_that_is_gone_is_explained(cluster: Operating) -> None:
    """While the operator is down."""
    cluster.cluster.create(a_large_model())
    await cluster.ready("large")
    await cluster.stop()
    cluster.cluster.delete("Node", "", "h100-2")
    ran = await explain(cluster, "large")
    assert ran.status == 1
    assert "  next     h100-2 is gone, and no other plan takes its place\n" in ran.out


async def test_a_wrong_object_is_told_by_its_fields(cluster: Operating) -> None:
    """On standard error, with status 2."""
    cluster.cluster.create(a_small_model(engine={"args": ["--tensor-parallel-size=4"]}))
    ran = await explain(cluster, "llama")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: default/llama: spec.engine.args.0: ")


async def test_the_namespace_is_the_contexts_or_the_one_said(cluster: Operating) -> None:
    cluster.cluster.create(a_small_model())
    await cluster.ready("llama")
    other = await explain(cluster, "llama", "-n", "other")
    assert (other.status, other.out) == (2, "")
    assert other.err == "error: no ShardedModel `llama` in namespace `other`; there is one in `default`\n"
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = "elsewhere"
    cluster.kubeconfig.write_text(yaml.safe_dump(config))
    assert "in namespace `elsewhere`" in (await explain(cluster, "llama")).err


async def test_a_cluster_without_the_crd_says_what_to_install(tmp_path: Path) -> None:
    """And still plans: it has nodes and pods."""
    kubeconfig, objects = tmp_path / "kubeconfig", write(tmp_path / "o.yaml", a_small_model())
    async with Sandbox(objects=sample_fleet()) as cluster:
        cluster.write_kubeconfig(kubeconfig)
        explained = await asyncio.to_thread(shardwise, "explain", "llama", "--kubeconfig", kubeconfig)
        planned = await asyncio.to_thread(shardwise, "plan", "-f", objects, "--kubeconfig", kubeconfig)
    assert (explained.status, explained.out) == (2, "")
    assert explained.err == "error: the cluster does not know ShardedModels: install the chart, or apply `crds/`\n"
    assert planned.status == 0


async def test_render_reads_a_cluster_too(cluster: Operating, tmp_path: Path) -> None:
    objects = write(tmp_path / "o.yaml", a_small_model())
    ran = await asyncio.to_thread(shardwise, "render", "-f", objects, "--kubeconfig", cluster.kubeconfig)
    assert ran.status == 0
    assert {one["kind"] for one in yaml.safe_load_all(ran.out)} == {"Pod", "Service"}


class Answering:
    """An API server that answers one kind with an error."""

    def __init__(self, kind: Kind, error: Exception) -> None:
        self.kind, self.error, self.closed = kind, error, False

    async def list(self, kind: Kind, selector: str | None = None, **_: object) -> tuple[list[Json], str]:
        if kind is self.kind:
            raise self.error
        return [], "1"

    async def close(self) -> None:
        self.closed = True


ERRORS: dict[str, tuple[Kind, Exception]] = {
    "nodes forbidden": (NODE, Refused('cannot list nodes: nodes is forbidden: User "eve" cannot list', 403)),
    "pods forbidden": (POD, Refused('cannot list pods: pods is forbidden: User "eve" cannot list', 403)),
    "models forbidden": (SHARDED_MODEL, Refused("cannot list shardedmodels: forbidden", 403)),
    "no answer": (NODE, Retryable("cannot list nodes: no answer from the API server (TimeoutError)")),
}


@pytest.mark.parametrize(("kind", "error"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("command", ["plan", "explain", "render"])
def test_what_the_api_server_says_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, kind: Kind, error: Exception
) -> None:
    """Status 2; and the connection is closed all the same."""
    answering = Answering(kind, error)

    async def connected(*_: object) -> None: ...

    monkeypatch.setattr("shardwise.cli.live.connect", connected)
    monkeypatch.setattr("shardwise.cli.live.Cluster", lambda _: answering)
    objects = write(tmp_path / "o.yaml", a_model())
    ran = shardwise(command, "-f", objects)
    assert (ran.status, ran.out, ran.err) == (2, "", f"error: {error}\n")
    assert answering.closed


@pytest.mark.parametrize("args", [["explain", "llama"], ["plan", "-f", "o.yaml"], ["render", "-f", "o.yaml"]])
def test_no_kubeconfig_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]) -> None:
    """With the places that were looked at."""
    write(tmp_path / "o.yaml", a_model())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "nowhere/config")
    ran = shardwise(*args)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == "error: no cluster to talk to: no kubeconfig at nowhere/config\n"


@pytest.mark.parametrize(
    "args", [["explain"], ["explain", "llama", "-f", "o.yaml"], ["explain", "llama", "-n"], ["explain", "a", "b"]]
)
def test_explain_wants_a_name_or_files(args: list[str]) -> None:
    ran = shardwise(*args)
    assert (ran.status, ran.out) == (2, "")
    assert "Error: " in ran.err


def test_objects_of_files_are_explained_without_a_cluster(scene: Path, fleet: Path) -> None:
    """No operator has seen them; each is planned as if it were alone."""
    ran = shardwise("explain", "-f", scene, "--fleet", fleet)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.count("  status   no operator has seen this object yet") == 4
    assert ran.out.count("✓ `") == 4


def test_a_name_that_the_files_do_not_hold_is_told(fleet: Path) -> None:
    ran = shardwise("explain", "llama", "--fleet", fleet)
    assert (ran.status, ran.out, ran.err) == (2, "", "error: no ShardedModel `llama` in namespace `default`\n")


def test_a_refusal_on_files_ends_with_status_one(tmp_path: Path, fleet: Path) -> None:
    objects = write(tmp_path / "o.yaml", changed(WIDE, spec__gpuBudget__total=8), a_model())
    ran = shardwise("explain", "-f", objects, "--fleet", fleet, "-o", "json")
    assert ran.status == 1
    assert [answer["verdict"] for answer in ran.data] == ["refused", "placed"]
    assert ran.data[0]["next"]["refusal"]["reason"] == "BudgetShort"


def test_an_invalid_object_is_data_too(tmp_path: Path, fleet: Path) -> None:
    """Its problems stand in the data and on standard error."""
    objects = write(tmp_path / "o.yaml", changed(a_model(), spec__gpuBudget__total=0))
    ran = shardwise("explain", "-f", objects, "--fleet", fleet, "-o", "json")
    assert ran.status == 2
    (answer,) = json.loads(ran.out)
    assert answer["verdict"] == "invalid"
    assert answer["problems"] == ["spec.gpuBudget.total: `0` must be at least 1"]
    assert ran.err == "error: default/llama-8b: spec.gpuBudget.total: `0` must be at least 1\n"


def status_of(*nodes: str) -> Json:
    group = {"replica": 0, "attempt": 0, "state": "Ready", "nodes": list(nodes), "gpusPerPod": 8}
    return {"groups": [group]}


@pytest.mark.parametrize(
    ("model", "fits"),
    [
        (renamed(WIDE, "other") | {"status": status_of("h100-1", "h100-2")}, False),
        (WIDE | {"status": status_of("h100-1", "h100-2")}, True),
        (renamed(WIDE, "other") | {"status": {}}, True),
        (renamed(WIDE, "other") | {"status": {"plan": None, "groups": None}}, True),
    ],
    ids=["another's plan", "its own plan", "another without a plan", "another that lost its plan"],
)
def test_plans_in_the_files_hold_their_gpus(tmp_path: Path, model: Json, fits: bool) -> None:
    """Whether or not their pods are bound yet."""
    fleet = write(tmp_path / "f.yaml", a_list([*fleet_documents(), model]))
    ran = shardwise("plan", "-f", write(tmp_path / "o.yaml", WIDE), "--fleet", fleet, "-o", "json")
    assert [answer["fits"] for answer in ran.data] == [fits]


def test_a_plan_and_its_pods_hold_their_gpus_once(tmp_path: Path) -> None:
    """Eight of each node, not sixteen."""
    model = renamed(WIDE, "other") | {"status": status_of("h100-1")}
    pod = a_pod("other-0-0-0", "h100-1", 8, owner="other")
    fleet = write(tmp_path / "f.yaml", a_list([*fleet_documents(), model, pod]))
    small = changed(a_model(), spec__gpuBudget={"total": 8, "products": ["NVIDIA-H100-80GB-HBM3"]})
    wide = changed(small, spec__parallelism={"tensor": 8, "pipeline": 1})
    ran = shardwise("plan", "-f", write(tmp_path / "o.yaml", wide), "--fleet", fleet, "-o", "json")
    assert [answer["plan"]["groups"][0]["pods"][0]["node"] for answer in ran.data] == ["h100-2"]


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({"plan": []}, "status.plan: `[]` is not an object"),
        ({"groups": {}}, "status.groups: `{}` is not a list"),
        ({"groups": [{"nodes": [1]}]}, "status.groups.0.nodes.0: `1` is not a string"),
        ({"groups": [{"gpusPerPod": "8"}]}, "status.groups.0.gpusPerPod: `8` is not a whole number"),
    ],
)
def test_a_status_no_operator_would_write_is_refused_by_field(tmp_path: Path, status: Any, problem: str) -> None:
    fleet = write(tmp_path / "f.yaml", a_list([*fleet_documents(), WIDE | {"status": status}]))
    ran = shardwise("plan", "-f", write(tmp_path / "o.yaml", a_model()), "--fleet", fleet)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"error: {fleet}: ShardedModel `llama-405b`: {problem}\n"


def test_a_group_that_cannot_be_read_holds_nothing(tmp_path: Path) -> None:
    """Written by hand, or by another version."""
    group = {"replica": 0, "attempt": 0, "state": "Elsewhere", "nodes": ["h100-1"], "gpusPerPod": 8}
    broken = renamed(WIDE, "other") | {"status": {"groups": [group]}}
    fleet = write(tmp_path / "f.yaml", a_list([*fleet_documents(), broken]))
    ran = shardwise("plan", "-f", write(tmp_path / "o.yaml", WIDE), "--fleet", fleet, "-o", "json")
    assert [answer["fits"] for answer in ran.data] == [True]


def test_the_notes_of_a_pair_are_told_as_by_plan(tmp_path: Path) -> None:
    """A role planned alone knows nothing of how its caches travel, and of the numbers of replicas."""
    model = write(tmp_path / "roles.yaml", a_model("llama-8b", spec__gpuBudget__total=8, spec__roles=ROLES))
    fleet = write(tmp_path / "fleet.yaml", *fleet_documents())
    told = [shardwise(command, "-f", model, "--fleet", fleet).out.splitlines() for command in ("plan", "explain")]
    notes = [[line for line in lines if line.startswith("  note ")] for lines in told]
    assert notes[0] == notes[1]
    assert len(notes[0]) == 2


def test_the_hint_of_a_pair_is_told_as_by_plan(tmp_path: Path) -> None:
    """It is a budget for both roles."""
    roles = [{"name": "prefill", "parallelism": {"tensor": 2}}, {"name": "decode", "replicas": 2}]
    model = write(tmp_path / "roles.yaml", a_model("llama-8b", spec__gpuBudget__total=2, spec__roles=roles))
    fleet = write(tmp_path / "fleet.yaml", *fleet_documents())
    for command in ("plan", "explain"):
        lines = shardwise(command, "-f", model, "--fleet", fleet).out.splitlines()
        hints = {line for line in lines if line.startswith("hint: ")}
        assert hints == {"hint: with `spec.gpuBudget.total: 4`, TP1×PP1 fits on 2 NVIDIA-L40S"}


WITHOUT_PLAN: dict[str, tuple[int, list[Json], str, str]] = {
    "decode is refused": (
        2,
        [{"name": "prefill", "parallelism": {"tensor": 2}}, {"name": "decode"}],
        "decode",
        "prefill",
    ),
    "prefill is refused": (
        1,
        [{"name": "prefill", "parallelism": {"tensor": 2}}, {"name": "decode"}],
        "prefill",
        "decode",
    ),
}


@pytest.mark.parametrize(("total", "roles", "refused", "waits"), WITHOUT_PLAN.values(), ids=WITHOUT_PLAN)
def test_a_refusal_of_both_roles_is_told_once(
    total: int, roles: list[Json], refused: str, waits: str, tmp_path: Path
) -> None:
    """By the role that was refused. The other role waits for it, and says nothing of its own."""
    model = write(tmp_path / "roles.yaml", a_model("llama-8b", spec__gpuBudget__total=total, spec__roles=roles))
    ran = shardwise("explain", "-f", model, "--fleet", write(tmp_path / "fleet.yaml", *fleet_documents()))
    lines = ran.out.splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("× ")] == [
        f"× no placement for `llama-8b ({refused})`"
    ]
    assert f"  roles    {waits} does not begin either: both roles begin together" in lines
    assert ran.status == 1
    (told,) = shardwise("explain", "-f", model, "--fleet", tmp_path / "fleet.yaml", "-o", "json").data
    assert (told["role"], told["verdict"]) == (refused, "refused")


def test_each_role_tells_how_its_caches_travel(tmp_path: Path) -> None:
    transfer = {"within": "domain"}
    model = a_model("llama-8b", spec__gpuBudget__total=8, spec__roles=ROLES, spec__transfer=transfer)
    fleet = write(tmp_path / "fleet.yaml", *fleet_documents())
    lines = shardwise("explain", "-f", write(tmp_path / "roles.yaml", model), "--fleet", fleet).out.splitlines()
    assert [line for line in lines if line.startswith("  transfer ")] == [
        "  transfer KV caches come from prefill (TP1×PP1) by nixl; all groups have the same `domain`",
        "  transfer KV caches go to decode (TP1×PP1) by nixl; all groups have the same `domain`",
    ]
