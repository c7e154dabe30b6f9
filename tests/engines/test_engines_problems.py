"""What is asked of a launch that cannot be had, whatever the engine: releases, folders, names, options."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import SGLANG, TENSORRT_LLM, VLLM, a_plan, started, wants, wants_of

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import (
    CacheKind,
    ClusterQueue,
    GangScheduler,
    GangSystem,
    LaunchSite,
    QueueSystem,
    Source,
    SourceKind,
    WeightCache,
)
from shardwise.domain.layout import Layout
from shardwise.domain.version import Version, parse_version, version_of_image
from shardwise.engines import ENGINES, problems


@pytest.mark.parametrize(
    ("engine", "changes", "field", "message"),
    [
        pytest.param(
            VLLM,
            {"image": "vllm/vllm-openai:v0.11.0"},
            "spec.engine.image",
            "`vllm/vllm-openai:v0.11.0` is vllm 0.11.0: 0.11.1 or later is needed",
            id="vLLM without nodes",
        ),
        pytest.param(
            VLLM,
            {"image": "mirror/vllm:nightly", "version": "0.10"},
            "spec.engine.version",
            "`0.10` is vllm 0.10.0: 0.11.1 or later is needed",
            id="a release the object states",
        ),
        pytest.param(
            SGLANG,
            {"image": "lmsysorg/sglang:v0.4.10.post2-cu126"},
            "spec.engine.image",
            "`lmsysorg/sglang:v0.4.10.post2-cu126` is sglang 0.4.10: 0.5.0 or later is needed",
            id="an old SGLang",
        ),
        pytest.param(
            TENSORRT_LLM,
            {"version": "0.21.0rc1"},
            "spec.engine.version",
            "`0.21.0rc1` is tensorrt-llm 0.21.0: 1.0.0 or later is needed",
            id="an old TensorRT-LLM",
        ),
    ],
)
def test_a_release_that_is_too_old_is_refused(
    engine: EngineName, changes: dict[str, Any], field: str, message: str
) -> None:
    """By whoever named it."""
    assert problems(wants_of(engine, **changes)) == ((field, message),)


@pytest.mark.parametrize(
    ("engine", "changes"),
    [
        (VLLM, {"image": "vllm/vllm-openai:v0.11.1"}),
        (VLLM, {"image": "registry.example:5000/vllm:latest"}),
        (VLLM, {"image": "vllm/vllm-openai:v0.11.0", "version": "0.11.2"}),
        (SGLANG, {"image": "lmsysorg/sglang@sha256:" + "0" * 64}),
        (TENSORRT_LLM, {"image": "nvcr.io/nvidia/tensorrt-llm/release:1.0.0"}),
    ],
)
def test_a_release_that_is_new_enough_or_not_known_is_taken(engine: EngineName, changes: dict[str, Any]) -> None:
    """What the object says wins over the tag; a tag that says nothing is taken for the release that was read."""
    assert problems(wants_of(engine, **changes)) == ()


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.33.0", (0, 33, 0)),
        ("vllm/vllm-openai:v0.11.2-cu128", (0, 11, 2)),
        ("registry.example:5000/team/sglang:0.5.6.post2", (0, 5, 6)),
        ("nvcr.io/nvidia/tensorrt-llm/release:1.2.0rc1", (1, 2, 0)),
        ("image:1.2", (1, 2, 0)),
        ("image:v1.2.3@sha256:abc", (1, 2, 3)),
        ("image:latest", None),
        ("image:nightly-0123abc", None),
        ("image:25.08-py3", (25, 8, 0)),
        ("image:1.2.3.4", None),
        ("registry.example:5000/image", None),
        ("image@sha256:0.1.2", None),
        ("image", None),
        ("", None),
    ],
)
def test_an_images_tag_may_tell_its_release(image: str, version: Version | None) -> None:
    """A port of the registry and a digest are none."""
    assert version_of_image(image) == version


@given(st.tuples(*[st.integers(0, 999)] * 3))
def test_releases_are_compared_as_numbers(version: Version) -> None:
    """Not as texts: 0.9 is older than 0.11."""
    assert parse_version(".".join(map(str, version))) == version
    assert parse_version("0.9.0") < parse_version("0.11.0")  # type: ignore[operator]


def test_the_default_images_are_of_the_releases_that_were_read() -> None:
    """An engine's tag, its constant and its oldest release agree."""
    for engine in ENGINES.values():
        assert version_of_image(engine.DEFAULT_IMAGE) == engine.READ
        assert engine.READ >= engine.OLDEST


def host_path(path: str) -> dict[str, Any]:
    return {"source": Source(SourceKind.HOST_PATH, location=path)}


def cached(path: str) -> dict[str, Any]:
    return {"source": Source(cache=WeightCache(CacheKind.HOST_PATH, path))}


PATH = "spec.model.source.hostPath.path"
CACHE = "spec.model.source.huggingFace.cache.hostPath.path"
LISTS = "`launch.hostPaths` of the operator's configuration lists"


@pytest.mark.parametrize(
    ("changes", "allowed", "expected"),
    [
        pytest.param(host_path("/data"), ("/data",), None, id="the folder itself"),
        pytest.param(host_path("/data/llama"), ("/data",), None, id="below it"),
        pytest.param(host_path("//data/./llama/"), ("/data/",), None, id="spelled otherwise"),
        pytest.param(host_path("/etc"), ("/",), None, id="everything is allowed"),
        pytest.param(cached("/data/cache"), ("/data",), None, id="a cache below it"),
        pytest.param(
            host_path("/etc"), (), (PATH, f"`/etc` is not allowed; {LISTS} no path of the nodes"), id="nothing is"
        ),
        pytest.param(
            host_path("/database"),
            ("/data", "/mnt"),
            (PATH, f"`/database` is not allowed; {LISTS} `/data`, `/mnt`"),
            id="a name that only begins so",
        ),
        pytest.param(
            host_path("/data/../etc"),
            ("/data",),
            (PATH, "`/data/../etc` may point to any folder: `..` is not allowed"),
            id="up and out",
        ),
        pytest.param(
            cached("/var/run"),
            ("/data",),
            (CACHE, f"`/var/run` is not allowed; {LISTS} `/data`"),
            id="a cache elsewhere",
        ),
    ],
)
@pytest.mark.parametrize("engine", list(EngineName))
def test_folders_of_the_nodes_are_mounted_only_where_they_are_allowed(
    engine: EngineName, changes: dict[str, Any], allowed: tuple[str, ...], expected: tuple[str, str] | None
) -> None:
    """By the operator's configuration: a pod could else read anything on its node."""
    found = problems(wants_of(engine, site=LaunchSite(host_paths=allowed), **changes))
    assert found == (() if expected is None else (expected,))


def test_the_operators_own_cache_needs_no_leave() -> None:
    """Whoever configures it is whom the list protects."""
    site = LaunchSite(cache=WeightCache(CacheKind.HOST_PATH, "/var/cache/shardwise"))
    assert problems(wants_of(VLLM, site=site)) == ()


@pytest.mark.parametrize(
    ("source", "field"),
    [
        (Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="c", path="a/../../b"), "persistentVolumeClaim"),
        (Source(SourceKind.IMAGE, location="c", path=".."), "image"),
    ],
)
def test_a_folder_of_a_volume_stays_inside_it(source: Source, field: str) -> None:
    expected = f"`{source.path}` leaves the volume: `..` is not allowed"
    assert problems(wants_of(VLLM, source=source)) == ((f"spec.model.source.{field}.path", expected),)


@pytest.mark.parametrize("engine", [VLLM, SGLANG])
def test_values_that_read_as_options_are_refused(engine: EngineName) -> None:
    """`--served-model-name --headless` would be two options."""
    wanted = wants_of(engine, served_name="--headless", source=Source(revision="-v1"))
    assert problems(wanted) == (
        ("spec.model.servedName", "`--headless` would be read as an option: it must not begin with `-`"),
        ("spec.model.source.huggingFace.revision", "`-v1` would be read as an option: it must not begin with `-`"),
    )


@pytest.mark.parametrize("engine", [VLLM, SGLANG])
def test_an_options_file_is_refused_where_none_is_read(engine: EngineName) -> None:
    expected = ("spec.engine.options", f"`{engine.value}` has no options file; use `spec.engine.args`")
    assert problems(wants_of(engine, options={"a": 1})) == (expected,)


@pytest.mark.parametrize("engine", list(EngineName))
def test_the_image_is_the_objects_then_the_operators_then_the_engines(engine: EngineName) -> None:
    plan = a_plan(Layout(1, 1), engine=engine)
    site = LaunchSite(images=((engine, "mirror/engine:1"),))
    assert started(plan, wants_of(engine)).image == ENGINES[engine].DEFAULT_IMAGE
    assert started(plan, wants_of(engine, site=site)).image == "mirror/engine:1"
    assert started(plan, wants_of(engine, site=site, image="own:2")).image == "own:2"


def test_the_users_variables_win_over_the_sites_and_those_over_what_is_set_for_nccl() -> None:
    """Each is there once; what the launch needs of its own is nobody's to change."""
    site = LaunchSite(env=(("NCCL_MNNVL_ENABLE", "0"), ("NCCL_DEBUG", "WARN"), ("HF_HOME", "/x")))
    for engine in EngineName:
        plan = a_plan(Layout(8, 1), 4, 4, engine=engine)
        (pod, _) = started(plan, wants_of(engine, site=site, env=())).pods
        named = {variable.name: variable.value for variable in pod.env}
        assert (named["NCCL_MNNVL_ENABLE"], named["NCCL_CUMEM_ENABLE"], named["NCCL_DEBUG"]) == ("0", "1", "WARN")
        assert named["HF_HOME"] == "/cache/huggingface"
        assert len(named) == len(pod.env)


SIZE = "spec.model.source.huggingFace.cache.emptyDir.sizeLimit"
SMALL = WeightCache(size="10Gi")
CACHES: dict[str, tuple[Source, LaunchSite, str | None]] = {
    "smaller than the weights": (Source(cache=SMALL), LaunchSite(), "`10Gi` is less than the 15.0 GiB of weights"),
    "the configuration's": (
        Source(),
        LaunchSite(cache=SMALL),
        "`10Gi` of `launch.cache` of the operator's configuration is less than the 15.0 GiB of weights",
    ),
    "large enough": (Source(cache=WeightCache(size="16Gi")), LaunchSite(), None),
    "without a bound": (Source(), LaunchSite(), None),
    "for compiled code alone": (
        Source(SourceKind.PERSISTENT_VOLUME_CLAIM, location="c"),
        LaunchSite(cache=SMALL),
        None,
    ),
}


@pytest.mark.parametrize(("source", "site", "words"), CACHES.values(), ids=CACHES)
def test_an_empty_dir_that_the_weights_do_not_fit_is_refused(
    source: Source, site: LaunchSite, words: str | None
) -> None:
    """The kubelet evicts a pod whose emptyDir exceeds its limit, again and again."""
    wanted = replace(wants_of(VLLM, source=source), site=site)
    assert problems(wanted) == (() if words is None else ((SIZE, f"{words} that each pod fetches"),))
    guessed = replace(wanted, demand=replace(wanted.demand, model=replace(wanted.demand.model, guessed=True)))
    assert problems(guessed) == (), "sizes that nobody has checked refuse nothing"


VOLCANO = GangSystem.VOLCANO
KNOWN = LaunchSite(gangs=(GangScheduler(VOLCANO), GangScheduler(GangSystem.NATIVE)))
TEAM = ClusterQueue(QueueSystem.KUEUE, "team")
WITHOUT_QUEUE = (
    "KAI schedules no group without a queue; name a queue, or let the operator's configuration set "
    "`launch.gangs.kai.queue`"
)
GANGS = {
    "not configured": (
        LaunchSite(),
        {"gang": VOLCANO},
        "spec.placement.gang",
        "`volcano` cannot be used: `launch.gangs.volcano` of the operator's configuration is not set",
    ),
    "in a queue of Kueue": (
        replace(KNOWN, queue_systems=(QueueSystem.KUEUE,)),
        {"gang": VOLCANO, "queue": TEAM},
        "spec.placement.gang",
        "`volcano` cannot be used: the queue `team` of Kueue admits the whole replica; use `none`, or no queue",
    ),
    "a queue of a system without queues": (
        KNOWN,
        {"gang": GangSystem.NATIVE, "gang_queue": "team"},
        "spec.placement.gangQueue",
        "`team` cannot be used: `native` has no queues; set `spec.placement.gang` to `volcano` or `kai`",
    ),
    "KAI without a queue": (
        replace(KNOWN, gangs=(GangScheduler(GangSystem.KAI),)),
        {"gang": GangSystem.KAI},
        "spec.placement.gangQueue",
        WITHOUT_QUEUE,
    ),
    "a queue of no gang": (
        KNOWN,
        {"gang_queue": "team"},
        "spec.placement.gangQueue",
        "`team` cannot be used: no gang scheduler is used; set `spec.placement.gang` to `volcano` or `kai`",
    ),
}


@pytest.mark.parametrize(("site", "changes", "field", "message"), GANGS.values(), ids=GANGS)
def test_a_gang_that_nobody_would_honour_is_refused(
    site: LaunchSite, changes: dict[str, Any], field: str, message: str
) -> None:
    assert problems(replace(wants(**changes), site=site)) == ((field, message),)


def test_a_gang_that_is_configured_is_taken() -> None:
    """So is the default of the configuration, beside an object that goes through a queue of Kueue."""
    assert not problems(replace(wants(gang=VOLCANO, gang_queue="team"), site=KNOWN))
    both = replace(KNOWN, gang=VOLCANO, queue_systems=(QueueSystem.KUEUE,))
    queued = replace(wants(queue=TEAM), site=both)
    assert (not problems(queued), queued.gang) == (True, None)
