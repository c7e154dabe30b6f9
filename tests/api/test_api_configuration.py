"""The operator configuration: what it means, and each wrong one with the message its writer reads."""

from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwise.api import InvalidObject, Problem
from shardwise.api.configuration import configuration_schema, parse_site
from shardwise.domain.allowed import Allowed
from shardwise.domain.attachments import AttachmentSite, Scaler, ScalerKind
from shardwise.domain.engine import EngineName
from shardwise.domain.hardware import GpuKind, gpu_kind
from shardwise.domain.launch import (
    CacheKind,
    ClusterQueue,
    GangScheduler,
    GangSystem,
    LaunchSite,
    NodeNvlink,
    QueueSystem,
    WeightCache,
)
from shardwise.domain.platforms import Level, platforms
from shardwise.domain.site import HubSite, Site
from shardwise.domain.units import MIB

Json = dict[str, Any]

TURBO: Json = {
    "product": "Acme-Turbo",
    "memoryBandwidth": "8T",
    "compute": "2250T",
    "nvlink": "900G",
    "pcie": "64G",
}


def hardware(**changes: Any) -> Json:
    made = TURBO | changes
    return {"fleet": {"hardware": [{key: value for key, value in made.items() if value is not None}]}}


def levels(*named: str) -> Json:
    return {"fleet": {"levels": [{"name": name, "labels": [f"example.com/{name}"]} for name in named]}}


def kind_of(document: Json) -> GpuKind:
    return parse_site(document).fleet.products[0].kind


def test_an_empty_configuration_is_the_default() -> None:
    assert parse_site({}) == parse_site({"fleet": {}, "launch": {}}) == Site()


@pytest.mark.parametrize("name", platforms())
def test_a_preset_names_the_clique_first_and_the_zone_last(name: str) -> None:
    """GFD's clique is the NVLink partition itself; a vendor's label may be the whole rack."""
    fleet = parse_site({"fleet": {"platform": name}}).fleet
    assert fleet.domain_keys == platforms()[name].domains
    assert fleet.domain_keys[0] == "nvidia.com/gpu.clique"
    assert fleet.levels[-1] == Level("zone", ("topology.kubernetes.io/zone",))


def test_own_keys_replace_the_presets() -> None:
    own = {"platform": "eks", "domainLabels": ["example.com/nvl"], **levels("rack", "block")["fleet"]}
    fleet = parse_site({"fleet": own}).fleet
    assert fleet.domain_keys == ("example.com/nvl",)
    assert fleet.levels == (Level("rack", ("example.com/rack",)), Level("block", ("example.com/block",)))


def test_fault_conditions_are_those_of_the_preset_and_ones_own() -> None:
    given = {"platform": "eks", "faultConditions": ["Broken", "GpuHealthy", "Gpus=Unknown"]}
    found = [f"{fault.type}={fault.status}" for fault in parse_site({"fleet": given}).fleet.faults]
    assert found == ["AcceleratedHardwareReady=False", "Broken=True", "GpuHealthy=False", "Gpus=Unknown"]


def test_no_levels_at_all_is_a_choice() -> None:
    assert parse_site({"fleet": {"levels": []}}).fleet.levels == ()


def test_a_product_is_stated_by_its_own_facts() -> None:
    assert kind_of(hardware()) == GpuKind("Acme-Turbo", 8e12, 2.25e15, 9e11, 6.4e10)
    assert kind_of(hardware(nvlink="0")).nvlink is None
    assert kind_of(hardware(nvlinkAcrossNodes=True)).rack
    assert kind_of(hardware(computeCapability="10.3")).compute_capability == (10, 3)


def test_a_product_like_another_has_its_facts_but_for_those_given() -> None:
    given = {"product": "NVIDIA-GB200-Custom", "like": "NVIDIA-GB200", "pcie": "32G"}
    stated = kind_of({"fleet": {"hardware": [given]}})
    known = gpu_kind("NVIDIA-GB200")
    assert (stated.product, stated.pcie, stated.proven) == ("GB200-Custom", 3.2e10, True)
    assert (stated.hbm, stated.flops, stated.nvlink, stated.rack) == (known.hbm, known.flops, known.nvlink, True)


def test_nodes_without_a_product_label_are_told_by_others() -> None:
    given = hardware(memory="81559Mi", nodeLabels={"type": "p5"})
    (stated,) = parse_site(given).fleet.products
    assert (stated.memory, stated.node_labels) == (81559 * MIB, (("type", "p5"),))


LAUNCH: Json = {
    "images": {"vllm": "mirror/vllm:v0.33.0", "tensorrt-llm": "mirror/trt:1.2.1"},
    "env": {"NCCL_IB_HCA": "mlx5", "HF_ENDPOINT": "https://mirror.example"},
    "interface": "eth0",
    "rdma": {"resources": {"rdma/ib": "1"}},
    "requests": {"cpu": "500m", "memory": "0"},
    "hostPaths": ["/mnt/models"],
    "cache": {"hostPath": {"path": "/var/cache"}},
    "prePull": True,
    "sharedMemory": "32Gi",
    "gpuClaims": {},
    "nodeNvlink": "provided",
    "queues": {"kueue": {"localQueue": "team"}},
    "gangs": {
        "native": {"topology": True},
        "volcano": {"queue": "team"},
        "kai": {"queue": "team", "schedulerName": "kai"},
        "coscheduling": {"schedulerName": "plugins"},
        "default": "native",
    },
}


def test_how_pods_are_started_is_read_field_by_field() -> None:
    """In an order that does not depend on the file's."""
    assert parse_site({"launch": LAUNCH}).launch == LaunchSite(
        env=(("HF_ENDPOINT", "https://mirror.example"), ("NCCL_IB_HCA", "mlx5")),
        interface="eth0",
        rdma=(("rdma/ib", "1"),),
        ipc_lock=True,
        requests=(("cpu", "500m"),),
        host_paths=("/mnt/models",),
        gpu_device_class="gpu.nvidia.com",
        images=((EngineName.VLLM, "mirror/vllm:v0.33.0"), (EngineName.TENSORRT_LLM, "mirror/trt:1.2.1")),
        cache=WeightCache(CacheKind.HOST_PATH, "/var/cache"),
        pre_pull=True,
        shared_memory="32Gi",
        node_nvlink=NodeNvlink.PROVIDED,
        queue_systems=(QueueSystem.KUEUE,),
        queue=ClusterQueue(QueueSystem.KUEUE, "team"),
        gangs=(
            GangScheduler(GangSystem.NATIVE, topology=True),
            GangScheduler(GangSystem.VOLCANO, queue="team"),
            GangScheduler(GangSystem.KAI, queue="team", scheduler="kai"),
            GangScheduler(GangSystem.COSCHEDULING, scheduler="plugins"),
        ),
        gang=GangSystem.NATIVE,
    )


@pytest.mark.parametrize(
    ("scaler", "expected"),
    [
        pytest.param(
            {"keda": {"prometheus": "http://prometheus:9090", "wakeQuery": "sum(a)"}},
            Scaler(ScalerKind.KEDA, "http://prometheus:9090", "sum(a)"),
            id="KEDA",
        ),
        pytest.param({"horizontalPodAutoscaler": {}}, Scaler(ScalerKind.AUTOSCALER), id="autoscaler"),
    ],
)
def test_the_add_ons_are_read_field_by_field(scaler: Json, expected: Scaler) -> None:
    given = {"inferencePools": True, "gateways": ["gateways/*"], "scaler": scaler}
    assert parse_site({"attachments": given}).launch.attachments == AttachmentSite(True, ("gateways/*",), expected)


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        ({"emptyDir": {}}, WeightCache()),
        ({"emptyDir": {"sizeLimit": "1Ti"}}, WeightCache(size="1Ti")),
        ({"persistentVolumeClaim": {"claimName": "c"}}, WeightCache(CacheKind.PERSISTENT_VOLUME_CLAIM, "c")),
    ],
)
def test_a_cache_is_one_of_three_volumes(cache: Json, expected: WeightCache) -> None:
    assert parse_site({"launch": {"cache": cache}}).launch.cache == expected


def test_rdma_without_pinned_memory_is_a_choice() -> None:
    given = {"resources": {"rdma/ib": "1"}, "ipcLock": False}
    assert parse_site({"launch": {"rdma": given}}).launch.ipc_lock is False
    assert parse_site({}).launch.ipc_lock is False


def test_pods_request_cpu_and_memory_unless_the_configuration_says_0() -> None:
    assert parse_site({}).launch.requests == (("cpu", "2"), ("memory", "6G"))
    assert parse_site({"launch": {"requests": {"cpu": "4"}}}).launch.requests == (("cpu", "4"), ("memory", "6G"))
    assert parse_site({"launch": {"requests": {"cpu": "0", "memory": "0Gi"}}}).launch.requests == ()


def test_how_the_hub_is_asked_is_read_field_by_field() -> None:
    """The paths of a mirror are put together with one slash."""
    hub = {
        "endpoint": "https://mirror.example.com/hub/",
        "proxy": "http://proxy.example.com:3128",
        "caFile": "/ca.crt",
        "tokenFile": "/token",
    }
    assert parse_site({"hub": hub}).hub == HubSite(
        True, "https://mirror.example.com/hub", "http://proxy.example.com:3128", "/ca.crt", "/token"
    )
    assert parse_site({"hub": {"enabled": False}}).hub == HubSite(enabled=False)


ALLOW: Json = {
    "serviceTypes": ["ClusterIP", "NodePort"],
    "servicePorts": ["443", "8000-8999"],
    "serviceNames": ["llm-*"],
    "priorityClasses": ["batch"],
    "podLabels": [],
    "images": ["mirror.example.com/*"],
    "serviceAccounts": ["model"],
    "gpus": 16,
}


def test_the_values_that_objects_may_use_are_read_field_by_field() -> None:
    assert parse_site({"allow": ALLOW}).launch.allowed == Allowed(
        service_types=("ClusterIP", "NodePort"),
        service_ports=((443, 443), (8000, 8999)),
        service_names=("llm-*",),
        priority_classes=("batch",),
        pod_labels=(),
        images=("mirror.example.com/*",),
        service_accounts=("model",),
        gpus=16,
    )


def test_a_namespace_has_the_values_of_all_but_for_its_own() -> None:
    """One that is not listed has those of all."""
    launch = parse_site({"allow": ALLOW | {"namespaces": {"prod": {"images": ["*"]}}}}).launch
    assert launch.allowed_in("prod") == replace(launch.allowed, images=("*",))
    assert launch.allowed_in("test") == launch.allowed == parse_site({"allow": ALLOW}).launch.allowed


WRONG: dict[str, tuple[Json, str]] = {
    "a type of Service that is none": (
        {"allow": {"serviceTypes": ["Ingress"]}},
        "allow.serviceTypes.0: unknown value `Ingress` (known values: ClusterIP, NodePort, LoadBalancer)",
    ),
    "a port that is a number": (
        {"allow": {"servicePorts": [80]}},
        "allow.servicePorts.0: `80` is neither a port nor a range such as `8000-8999`",
    ),
    "a port that is none": (
        {"allow": {"servicePorts": ["http"]}},
        "allow.servicePorts.0: `http` is neither a port nor a range such as `8000-8999`",
    ),
    "fewer than no GPUs": ({"allow": {"gpus": -1}}, "allow.gpus: `-1` must be at least 0"),
    "a port too high": (
        {"allow": {"servicePorts": ["80", "70000"]}},
        "allow.servicePorts.1: `70000` is not a range from 1 to 65535",
    ),
    "a range backwards, in a namespace": (
        {"allow": {"namespaces": {"a": {"servicePorts": ["9-8"]}}}},
        "allow.namespaces.a.servicePorts.0: `9-8` is not a range from 1 to 65535",
    ),
    "an unknown field in a namespace": (
        {"allow": {"namespaces": {"a": {"image": []}}}},
        "allow.namespaces.a.image: unknown field (did you mean `images`?)",
    ),
    "a mirror without a scheme": (
        {"hub": {"endpoint": "hub.example.com"}},
        "hub.endpoint: `hub.example.com` is not an address such as `https://hub.example.com`",
    ),
    "a token that would travel in the clear": (
        {"hub": {"endpoint": "HTTP://hub.example.com", "tokenFile": "/token"}},
        "hub.endpoint: `HTTP://hub.example.com` is not an address such as `https://hub.example.com`",
    ),
    "a token for a mirror without encryption": (
        {"hub": {"endpoint": "http://hub.example.com", "tokenFile": "/token"}},
        "hub.endpoint: `http://hub.example.com` must begin with `https://`, because `hub.tokenFile` is set",
    ),
    "a file by a relative path": (
        {"hub": {"caFile": "ca.crt"}},
        "hub.caFile: `ca.crt` is not an absolute path: it must begin with `/`",
    ),
    "an unknown part": ({"flet": {}}, "flet: unknown field (did you mean `fleet`?)"),
    "an unknown field": ({"fleet": {"platfrom": "eks"}}, "fleet.platfrom: unknown field (did you mean `platform`?)"),
    "an unknown platform": (
        {"fleet": {"platform": "X"}},
        "fleet.platform: unknown value `X` (known values: generic, topograph, eks, gke, oci, coreweave)",
    ),
    "no domain label": ({"fleet": {"domainLabels": []}}, "fleet.domainLabels: must not be empty"),
    "a level without labels": (
        {"fleet": {"levels": [{"name": "rack", "labels": []}]}},
        "fleet.levels.0.labels: must not be empty",
    ),
    "a level without a name": ({"fleet": {"levels": [{"labels": ["a"]}]}}, "fleet.levels.0.name: is required"),
    "a level twice": (levels("rack", "rack"), "fleet.levels.1.name: `rack` is listed twice"),
    "a level that is always there": (levels("domain"), "fleet.levels.0.name: `domain` always exists"),
    "a level in capitals": (
        levels("Rack"),
        (
            "fleet.levels.0.name: `Rack` is not a valid object name: "
            "use lower-case letters and digits, with `-` between them"
        ),
    ),
    "an unknown field of a product": (
        hardware(nvLink="8T"),
        "fleet.hardware.0.nvLink: unknown field (did you mean `nvlink`?)",
    ),
    "a product twice": (
        {"fleet": {"hardware": [TURBO, TURBO | {"product": "NVIDIA-Acme-Turbo"}]}},
        "fleet.hardware.1.product: `NVIDIA-Acme-Turbo` is listed twice",
    ),
    "a number for a quantity": (
        hardware(nvlink=900),
        "fleet.hardware.0.nvlink: `900` is not a quantity such as `500Mi` or `2Gi`",
    ),
    "no quantity": (
        hardware(nvlink="900 GB/s"),
        "fleet.hardware.0.nvlink: `900 GB/s` is not a quantity such as `500Mi` or `2Gi`",
    ),
    "no speed at all": (hardware(compute="0"), "fleet.hardware.0.compute: `0` must be more than 0"),
    "like nobody knows": (
        {"fleet": {"hardware": [{"product": "A", "like": "B"}]}},
        "fleet.hardware.0.like: `B` is not a product Shardwise knows",
    ),
    "a fact is missing": (
        hardware(pcie=None),
        (
            "fleet.hardware.0.pcie: is required, because Shardwise does not know `Acme-Turbo`; "
            "or set `like` to a known product"
        ),
    ),
    "an unknown field of launching": (
        {"launch": {"hostpaths": []}},
        "launch.hostpaths: unknown field (did you mean `hostPaths`?)",
    ),
    "an engine nobody knows": (
        {"launch": {"images": {"vlm": "x"}}},
        "launch.images.vlm: unknown field (did you mean `vllm`?)",
    ),
    "a variable that is none": (
        {"launch": {"env": {"NCCL-IB": "x"}}},
        (
            "launch.env.NCCL-IB: `NCCL-IB` is not a valid variable name: "
            "use letters, digits and `_`, and begin with a letter or `_`"
        ),
    ),
    "a variable that is a number": (
        {"launch": {"env": {"A": 3}}},
        "launch.env.A: `3` is not a string; write it in quotes",
    ),
    "cores by a word": (
        {"launch": {"requests": {"cpu": "many"}}},
        "launch.requests.cpu: `many` is not a count of cores such as `2` or `500m`",
    ),
    "an interface with a space": (
        {"launch": {"interface": "eth 0"}},
        "launch.interface: `eth 0` is not a network interface such as `eth0`",
    ),
    "an image with a space": (
        {"launch": {"images": {"vllm": "my registry/vllm"}}},
        "launch.images.vllm: `my registry/vllm` is not an image such as `registry.example.com/vllm:v1`",
    ),
    "a negative count of RDMA devices": (
        {"launch": {"rdma": {"resources": {"rdma/ib": "-1"}}}},
        "launch.rdma.resources.rdma/ib: `-1` is not a count such as `1` or `8`",
    ),
    "RDMA by nothing": ({"launch": {"rdma": {"resources": {}}}}, "launch.rdma.resources: must not be empty"),
    "a relative path": (
        {"launch": {"hostPaths": ["models"]}},
        "launch.hostPaths.0: `models` is not an absolute path: it must begin with `/`",
    ),
    "a path that leads away": (
        {"launch": {"hostPaths": ["/a", "/a/../.."]}},
        "launch.hostPaths.1: `/a/../..` may point to any folder: `..` is not allowed",
    ),
    "two caches": (
        {"launch": {"cache": {"emptyDir": {}, "hostPath": {"path": "/x"}}}},
        "launch.cache: exactly one volume is needed, `emptyDir` and `hostPath` given",
    ),
    "shared memory without a number": (
        {"launch": {"sharedMemory": "much"}},
        "launch.sharedMemory: `much` is not a quantity such as `500Mi` or `2Gi`",
    ),
    "an unknown way to NVLink": (
        {"launch": {"nodeNvlink": "imex"}},
        "launch.nodeNvlink: unknown value `imex` (known values: computeDomain, provided)",
    ),
    "nodes without memory": (
        hardware(nodeLabels={"a": "b"}),
        "fleet.hardware.0.memory: is required with `nodeLabels`: nodes without a product label have no memory label",
    ),
}


@pytest.mark.parametrize(("document", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_configuration_is_refused_with_one_clear_message(document: Json, message: str) -> None:
    with pytest.raises(InvalidObject) as caught:
        parse_site(document)
    assert str(caught.value) == message


def test_all_problems_are_told_at_once() -> None:
    wrong = {"fleet": {"platform": "x", "hardware": [{}]}}
    with pytest.raises(InvalidObject) as caught:
        parse_site(wrong)
    assert [problem.field for problem in caught.value.problems] == ["fleet.platform", "fleet.hardware.0.product"]


SPANNING = {"a level twice", "a level that is always there", "a product twice", "no speed at all", "like nobody knows"}
SPANNING |= {"a fact is missing", "nodes without memory"}
SPANNING |= {"a port too high", "a range backwards, in a namespace"}
SPANNING |= {"a token for a mirror without encryption"}
SPANNING |= {"a variable that is none", "a path that leads away", "two caches"}
"""What a JSON schema without conditions cannot say; the operator says it when it starts."""


@pytest.mark.parametrize("name", sorted(WRONG.keys() - SPANNING))
def test_helm_refuses_what_the_reader_refuses(name: str) -> None:
    """The schema is generated from the same models."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(configuration_schema()).validate(WRONG[name][0])


@pytest.mark.parametrize("document", [{}, hardware(), levels("rack"), {"fleet": {"platform": "oci"}, "launch": {}}])
def test_helm_takes_what_the_reader_takes(document: Json) -> None:
    jsonschema.Draft7Validator(configuration_schema()).validate(document)
    parse_site(document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["platform", "domainLabels", "levels", "hardware", "faultConditions"])


@given(st.dictionaries(FIELDS, json_values))
def test_whatever_stands_in_it_it_is_read_or_refused_in_words(fleet: Json) -> None:
    assert all(problem.message and problem.field for problem in problems_of({"fleet": fleet}))


def problems_of(document: Json) -> tuple[Problem, ...]:
    try:
        parse_site(document)
    except InvalidObject as error:
        return error.problems
    return ()
