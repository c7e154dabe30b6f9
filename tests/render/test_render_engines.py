"""What the pods of every engine are made of: whole manifests as they are applied, and what holds for all of them."""

import base64
import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion
from tests.engines.support import SGLANG, TENSORRT_LLM, a_plan, options, wants_of
from tests.render.support import a_cluster, check, containers, create_strictly, engine, names_in_dns, of_kind

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import CacheKind, LaunchSite, Owner, Source, SourceKind, Wanted, WeightCache
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.render.bundle import bundle, group, revision
from shardwise.render.manifest import Manifest
from shardwise.render.names import hosts
from shardwise_sandbox import compute_domain_definition

SITE = LaunchSite(
    env=(("NCCL_IB_HCA", "mlx5"),),
    interface="eth0",
    rdma=(("rdma/ib", "1"),),
    ipc_lock=True,
    host_paths=("/data",),
    cache=WeightCache(CacheKind.HOST_PATH, "/var/cache/shardwise"),
    pre_pull=True,
)
CLAIMS = LaunchSite(gpu_device_class="gpu.nvidia.com")
CLAIM = Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="weights", path="llama/8b")

SHAPES = {
    "one GPU": (Layout(1, 1), (1,)),
    "two nodes": (Layout(8, 2), (8, 8)),
    "two trays": (Layout(8, 1, expert=True), (4, 4)),
}
OTHERS = [SGLANG, TENSORRT_LLM]


def plan_of(engine: EngineName, shape: str, replicas: int = 1) -> Plan:
    layout, pods = SHAPES[shape]
    return a_plan(layout, *pods, engine=engine, replicas=replicas)


def written(documents: object) -> str:
    return yaml.safe_dump(json.loads(json.dumps(documents)), sort_keys=False, width=120)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("engine", OTHERS)
def test_the_other_engines_are_rendered_so(engine: EngineName, shape: str, snapshot: SnapshotAssertion) -> None:
    """The Service to the leaders, keys, the group's Service, what pods need beside them, and the pods."""
    assert written(list(bundle(wants_of(engine), plan_of(engine, shape)))) == snapshot


@pytest.mark.parametrize("engine", list(EngineName))
def test_a_site_with_everything_configured_is_rendered_so(engine: EngineName, snapshot: SnapshotAssertion) -> None:
    """Network, RDMA, node cache, weights fetched first: the follower of two."""
    follower = group(wants_of(engine, site=SITE), plan_of(engine, "two nodes"), 0, 0).pods[1]
    assert written(follower["spec"]) == snapshot


@pytest.mark.parametrize("release", ["1.31", "1.34", "1.37"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("engine", list(EngineName))
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"site": SITE, "source": Source(token_secret="hub", revision="v1")}, id="with all of a site"),
        pytest.param({"site": CLAIMS}, id="GPUs by claims"),
        pytest.param({"source": CLAIM}, id="a volume"),
        pytest.param(
            {"source": Source(cache=WeightCache(CacheKind.PERSISTENT_VOLUME_CLAIM, "cache"))}, id="a shared cache"
        ),
        pytest.param({"source": Source(cache=WeightCache(size="500Gi"))}, id="a bounded cache"),
    ],
)
def test_manifests_of_every_engine_are_valid(
    engine: EngineName, shape: str, changes: dict[str, Any], release: str
) -> None:
    """By the published schemas, strictly."""
    for manifest in bundle(wants_of(engine, **changes), plan_of(engine, shape)):
        check(manifest, release)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("engine", list(EngineName))
def test_an_api_server_takes_everything_of_every_engine(engine: EngineName, shape: str) -> None:
    """And applying it again changes nothing."""
    cluster = a_cluster(objects=[compute_domain_definition()])
    made = bundle(wants_of(engine, owner=Owner("llama", "default", "")), plan_of(engine, shape, replicas=2))
    for manifest in made:
        create_strictly(cluster, manifest)
    for manifest in made:
        cluster.apply(manifest)
    assert len(cluster.names("pods")) == 2 * len(SHAPES[shape][1])


engines = st.sampled_from(list(EngineName))


@st.composite
def launches(draw: st.DrawFn) -> tuple[Wanted, Plan]:
    """Draw an engine, a plan of one to four pods, a site and a source."""
    engine = draw(engines)
    pods, gpus = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 4, 8]))
    tensor = draw(st.sampled_from([degree for degree in (1, 2, 4, 8, 16, 32) if (pods * gpus) % degree == 0]))
    layout = Layout(tensor, pods * gpus // tensor, draw(st.booleans()))
    site = draw(st.sampled_from([LaunchSite(), SITE, CLAIMS]))
    source = draw(st.sampled_from([Source(), CLAIM, Source(token_secret="hub"), Source(pre_pull=True)]))
    plan = a_plan(layout, *(gpus,) * pods, replicas=draw(st.integers(1, 2)), engine=engine)
    return wants_of(engine, site=site, source=source), plan


def gpus_asked(pod: Manifest, made: tuple[Manifest, ...]) -> int:
    """Count the GPUs a pod asks for, by resource or by claim."""
    named = engine(pod)["resources"].get("requests", {}).get("nvidia.com/gpu")
    if named is not None:
        assert engine(pod)["resources"]["limits"]["nvidia.com/gpu"] == named
        return int(named)
    templates = {manifest["metadata"]["name"]: manifest for manifest in of_kind("ResourceClaimTemplate", made)}
    (claim,) = [claim for claim in pod["spec"]["resourceClaims"] if claim["name"] == "gpus"]
    assert {"name": "gpus"} in engine(pod)["resources"]["claims"]
    (request,) = templates[claim["resourceClaimTemplateName"]]["spec"]["spec"]["devices"]["requests"]
    return int(request["exactly"]["count"])


@given(launches())
def test_gpu_requests_of_a_group_sum_to_its_world_size(drawn: tuple[Wanted, Plan]) -> None:
    """By resource or by claim; nobody but the engine asks for any."""
    wanted, plan = drawn
    for placed in plan.groups:
        made = group(wanted, plan, placed.replica, 0)
        assert sum(gpus_asked(pod, made.manifests) for pod in made.pods) == plan.layout.world_size
        others = [container for container in containers(made.pods) if container["name"] != "engine"]
        assert not [other for other in others if "resources" in other]


@given(launches())
def test_the_ranks_of_a_group_are_a_permutation(drawn: tuple[Wanted, Plan]) -> None:
    """0 to world size less one, once each, in the order of the pods."""
    wanted, plan = drawn
    for placed in plan.groups:
        found: list[int] = []
        for pod in group(wanted, plan, placed.replica, 0).pods:
            first, last = pod["metadata"]["annotations"]["shardwise.dev/ranks"].split("-")
            found += range(int(first), int(last) + 1)
        assert found == list(range(plan.layout.world_size))


@given(launches())
def test_every_address_a_pod_is_told_resolves_to_the_pod_that_is_meant(drawn: tuple[Wanted, Plan]) -> None:
    """The leader's for followers, the followers' for a leader that waits, all of them in the hosts of mpirun."""
    wanted, plan = drawn
    found = names_in_dns(bundle(wanted, plan))
    for placed in plan.groups:
        made = group(wanted, plan, placed.replica, 0)
        own = [pod["metadata"]["name"] for pod in made.pods]
        assert [found[host] for host in hosts("llama", "default", placed.replica, 0, len(own))] == own
        for index, pod in enumerate(made.pods):
            told = addresses(plan.engine, pod)
            expected = {own[0]} if index else set(own[1:])
            assert {found[host] for host in told} <= set(own)
            assert {found[host] for host in waited_for(pod)} <= expected


def addresses(engine_name: EngineName, pod: Manifest) -> list[str]:
    """Give the hosts in an engine's words."""
    args = engine(pod)["args"]
    if engine_name is TENSORRT_LLM:
        listed = args[args.index("-H") + 1].split(",") if "-H" in args else []
        return [one.partition(":")[0] for one in listed]
    said = options(args)
    told = said.get("--master-addr") or said.get("--dist-init-addr", "").partition(":")[0]
    return [told] if told else []


def waited_for(pod: Manifest) -> list[str]:
    """Give the hosts a pod waits for."""
    waiting = [
        container for container in pod["spec"].get("initContainers", ()) if container["name"].startswith("wait-for")
    ]
    places = [word for one in waiting for word in one["args"] if not word.isdecimal()]
    return [place.partition(":")[0] for place in places]


@given(launches())
def test_settings_are_the_same_on_all_pods_of_a_group(drawn: tuple[Wanted, Plan]) -> None:
    """All variables, but that each pod's own address is its own."""
    wanted, plan = drawn
    for placed in plan.groups:
        made = group(wanted, plan, placed.replica, 0).pods
        assert [engine(pod)["env"] for pod in made] == [engine(made[0])["env"]] * len(made)
        references = [variable for variable in engine(made[0])["env"] if "fieldRef" in variable.get("valueFrom", {})]
        assert len(references) == (0 if plan.engine is TENSORRT_LLM else 1)
        assert len({variable["name"] for variable in engine(made[0])["env"]}) == len(engine(made[0])["env"])


@given(launches())
def test_what_pods_refer_to_is_rendered_with_them(drawn: tuple[Wanted, Plan]) -> None:
    """``kubectl apply`` of all of it starts a working group, without an operator: nothing is missing."""
    wanted, plan = drawn
    made = bundle(wanted, plan)
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in made}
    assert len(names) == len(made)
    channels = {
        manifest["spec"]["channel"]["resourceClaimTemplate"]["name"]
        for manifest in of_kind("ComputeDomain", list(made))
    }
    for pod in of_kind("Pod", made):
        for volume in pod["spec"]["volumes"]:
            if volume["name"] == "files":
                assert ("ConfigMap", volume["configMap"]["name"]) in names
            if volume["name"] == "keys":
                assert ("Secret", volume["secret"]["secretName"]) in names
        for claim in pod["spec"].get("resourceClaims", ()):
            template = claim["resourceClaimTemplateName"]
            assert template in channels or ("ResourceClaimTemplate", template) in names


@given(launches())
def test_what_is_needed_stands_on_the_groups_service(drawn: tuple[Wanted, Plan]) -> None:
    """So that it is found again when the group goes, whoever made it."""
    wanted, plan = drawn
    made = group(wanted, plan, 0, 0)
    labels = {
        "shardwise.dev/config-map": "ConfigMap",
        "shardwise.dev/compute-domain": "ComputeDomain",
        "shardwise.dev/claim-template": "ResourceClaimTemplate",
    }
    said = {(labels[key], value) for key, value in made.service["metadata"]["labels"].items() if key in labels}
    assert said == {(companion["kind"], companion["metadata"]["name"]) for companion in made.companions}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("engine_name", list(EngineName))
def test_rdma_and_pinned_memory_are_for_groups_of_several(engine_name: EngineName, shape: str) -> None:
    """One pod talks to nobody."""
    for pod in group(wants_of(engine_name, site=SITE), plan_of(engine_name, shape), 0, 0).pods:
        several = len(SHAPES[shape][1]) > 1
        resources, security = engine(pod)["resources"], engine(pod)["securityContext"]
        assert (resources["limits"].get("rdma/ib"), resources["requests"].get("rdma/ib")) == (
            ("1",) * 2 if several else (None,) * 2
        )
        assert security.get("capabilities") == ({"add": ["IPC_LOCK"]} if several else None)


@pytest.mark.parametrize(
    ("source", "site", "volume"),
    [
        pytest.param(Source(), LaunchSite(), {"emptyDir": {}}, id="until the pod ends"),
        pytest.param(Source(cache=WeightCache(size="500Gi")), SITE, {"emptyDir": {"sizeLimit": "500Gi"}}, id="bounded"),
        pytest.param(
            Source(cache=WeightCache(CacheKind.PERSISTENT_VOLUME_CLAIM, "shared")),
            SITE,
            {"persistentVolumeClaim": {"claimName": "shared"}},
            id="a claim",
        ),
        pytest.param(
            Source(), SITE, {"hostPath": {"path": "/var/cache/shardwise", "type": "DirectoryOrCreate"}}, id="configured"
        ),
    ],
)
@pytest.mark.parametrize("engine_name", list(EngineName))
def test_fetched_weights_are_kept_there(
    engine_name: EngineName, source: Source, site: LaunchSite, volume: dict[str, Any]
) -> None:
    """Mounted where HF_HOME is, by the engine and by whoever fetches before it."""
    (pod,) = group(wants_of(engine_name, source=source, site=site), plan_of(engine_name, "one GPU"), 0, 0).pods
    assert {"name": "cache", **volume} in pod["spec"]["volumes"]
    for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
        assert {"name": "cache", "mountPath": "/cache"} in container["volumeMounts"]


@pytest.mark.parametrize("engine_name", list(EngineName))
def test_weights_are_fetched_before_anything_else(engine_name: EngineName) -> None:
    """With the model's id, revision and token, and nothing else of the engine's; then the pods meet."""
    source = Source(revision="v1", token_secret="hub", pre_pull=True)
    leader, follower = group(wants_of(engine_name, source=source), plan_of(engine_name, "two nodes"), 0, 0).pods
    for pod in (leader, follower):
        fetching = pod["spec"]["initContainers"][0]
        assert fetching["name"] == "weights"
        assert fetching["args"] == ["meta-llama/Llama-3.1-8B", "v1"]
        assert {variable["name"] for variable in fetching["env"]} == {"HOME", "HF_HOME", "HF_TOKEN"}
        assert [mount["name"] for mount in fetching["volumeMounts"]] == ["cache"]
    assert [container["name"] for container in leader["spec"]["initContainers"][1:]] == ["wait-for-followers"]
    waits = [] if engine_name is TENSORRT_LLM else ["wait-for-leader"]
    assert [container["name"] for container in follower["spec"]["initContainers"][1:]] == waits


def test_what_is_fetched_is_what_the_hub_has_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text calls the library every engine fetches with; no revision is none."""
    asked: list[tuple[str, str | None]] = []

    def snapshot_download(model: str, *, revision: str | None) -> str:
        asked.append((model, revision))
        return "/cache"

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    (pod,) = group(wants_of(SGLANG, source=Source(pre_pull=True)), plan_of(SGLANG, "one GPU"), 0, 0).pods
    script = pod["spec"]["initContainers"][0]["command"][2]
    for revision_asked in ("", "v1"):
        monkeypatch.setattr("sys.argv", ["-c", "org/model", revision_asked])
        exec(compile(script, "fetch", "exec"), {})  # noqa: S102 - the script itself is what is tested
    assert asked == [("org/model", None), ("org/model", "v1")]


def test_keys_are_readable_by_their_owner_alone_and_never_in_a_manifest() -> None:
    """Ssh refuses a private key others can read; who creates the Secret fills it in."""
    made = group(wants_of(TENSORRT_LLM), plan_of(TENSORRT_LLM, "two nodes"), 0, 0)
    assert made.keys is not None
    assert "data" not in made.keys
    for pod in made.pods:
        (volume,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "keys"]
        assert volume["secret"] == {"secretName": made.keys["metadata"]["name"], "defaultMode": 0o400}


def test_files_of_other_content_have_another_name_and_start_the_group_anew() -> None:
    """A ConfigMap's name stands for its content, so that no running pod's files change under it."""
    plan = plan_of(TENSORRT_LLM, "one GPU")
    one, other = wants_of(TENSORRT_LLM), wants_of(TENSORRT_LLM, options={"print_iter_log": True})
    names = [group(wanted, plan, 0, 0).companions[0]["metadata"]["name"] for wanted in (one, other)]
    assert len(set(names)) == 2
    assert revision(one, plan, 0) != revision(other, plan, 0)
    assert group(one, plan, 0, 0).companions == group(one, plan, 0, 7).companions


def test_pods_with_claims_say_how_many_gpus_they_hold() -> None:
    """A claim names no number that a pod shows; the inventory reads the label."""
    for pod in group(wants_of(SGLANG, site=CLAIMS), plan_of(SGLANG, "two nodes"), 0, 0).pods:
        assert pod["metadata"]["labels"]["shardwise.dev/gpus"] == "8"
    for pod in group(wants_of(SGLANG), plan_of(SGLANG, "two nodes"), 0, 0).pods:
        assert "shardwise.dev/gpus" not in pod["metadata"]["labels"]


def test_the_keys_of_ssh_are_no_part_of_a_revision() -> None:
    """Base64 of nothing: the Secret is named, its content is not known."""
    made = group(wants_of(TENSORRT_LLM), plan_of(TENSORRT_LLM, "two nodes"), 0, 0)
    assert base64.b64encode(b"PRIVATE KEY").decode() not in json.dumps(made.manifests)
