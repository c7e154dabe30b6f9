"""The words by which vLLM runs data ranks: on one pod, on several pods, and data ranks that span pods."""

from dataclasses import replace
from typing import Final

import pytest
from tests.engines.support import HOSTS, LEADER, SGLANG, VLLM, a_plan, options, started, wants
from tests.support.models import LLAMA_8B, R1, a_demand

from shardwise.domain.launch import Servers, Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.plan import Plan
from shardwise.engines import PodLaunch, problems
from shardwise.engines.environment import spans_nodes

DATA_WORDS: Final = (
    "--data-parallel-size",
    "--data-parallel-size-local",
    "--data-parallel-start-rank",
    "--data-parallel-address",
    "--data-parallel-rpc-port",
    "--data-parallel-hybrid-lb",
    "--headless",
    "--nnodes",
    "--node-rank",
    "--master-addr",
    "--master-port",
)
AT: Final = {"--data-parallel-address": LEADER, "--data-parallel-rpc-port": "29550"}

CASES: dict[str, tuple[Plan, list[dict[str, str]]]] = {
    "no data ranks on one pod": (a_plan(Layout(8, 1)), [{}]),
    "one pod": (a_plan(Layout(1, 1, True, 8)), [{"--data-parallel-size": "8"}]),
    "two pods of eight data ranks": (
        a_plan(Layout(1, 1, True, 16), 8, 8),
        [
            {"--data-parallel-size": "16", "--data-parallel-size-local": "8", **AT},
            {
                "--data-parallel-size": "16",
                "--data-parallel-size-local": "8",
                "--data-parallel-start-rank": "8",
                "--headless": "",
                **AT,
            },
        ],
    ),
    "three pods of a data rank each": (
        a_plan(Layout(4, 2, True, 3), 8, 8, 8),
        [
            {"--data-parallel-size": "3", "--data-parallel-size-local": "1", **AT},
            *(
                {
                    "--data-parallel-size": "3",
                    "--data-parallel-size-local": "1",
                    "--data-parallel-start-rank": str(rank),
                    "--headless": "",
                    **AT,
                }
                for rank in (1, 2)
            ),
        ],
    ),
    "data ranks of two pods each": (
        a_plan(Layout(8, 2, True, 2), 8, 8, 8, 8),
        [
            {
                "--data-parallel-size": "2",
                "--data-parallel-rpc-port": "29550",
                "--nnodes": "4",
                "--node-rank": str(node),
                "--master-addr": LEADER,
                "--master-port": "29501",
                **({"--headless": ""} if node else {}),
            }
            for node in range(4)
        ],
    ),
}


def said(pod: PodLaunch) -> dict[str, str]:
    return {word: value for word, value in options(pod.args).items() if word in DATA_WORDS}


@pytest.mark.parametrize(("plan", "expected"), CASES.values(), ids=CASES)
def test_data_ranks_meet_at_the_leader(plan: Plan, expected: list[dict[str, str]]) -> None:
    """The leader serves for all of them; every other pod is headless."""
    assert [said(pod) for pod in started(plan).pods] == expected


@pytest.mark.parametrize(("plan", "expected"), CASES.values(), ids=CASES)
def test_start_ranks_and_local_ranks_make_up_all_data_ranks(plan: Plan, expected: list[dict[str, str]]) -> None:
    """VLLM does not check that they end at the last rank."""
    pods = [said(pod) for pod in started(plan).pods]
    if any("--data-parallel-size-local" in pod for pod in pods):
        held = [
            rank
            for pod in pods
            for first in [int(pod.get("--data-parallel-start-rank", 0))]
            for rank in range(first, first + int(pod["--data-parallel-size-local"]))
        ]
        assert held == list(range(plan.layout.data))
    assert len(pods) == len(expected)


HYBRID: Final = {"--data-parallel-hybrid-lb": ""}
SHARED: dict[str, tuple[Plan, list[dict[str, str]]]] = {
    "two pods of eight data ranks": (
        a_plan(Layout(1, 1, True, 16), 8, 8),
        [
            {
                "--data-parallel-size": "16",
                "--data-parallel-size-local": "8",
                "--data-parallel-start-rank": first,
                **AT,
                **HYBRID,
            }
            for first in ("0", "8")
        ],
    ),
    "a data rank on each pod": (
        a_plan(Layout(8, 1, True, 2), 8, 8),
        [
            {
                "--data-parallel-size": "2",
                "--data-parallel-size-local": "1",
                "--data-parallel-start-rank": first,
                **AT,
                **HYBRID,
            }
            for first in ("0", "1")
        ],
    ),
    "one pod": (a_plan(Layout(1, 1, True, 8), 8), [{"--data-parallel-size": "8"}]),
    "data ranks of two pods each": CASES["data ranks of two pods each"],
}


@pytest.mark.parametrize(("plan", "expected"), SHARED.values(), ids=SHARED)
def test_every_pod_serves_where_pods_hold_whole_data_ranks(plan: Plan, expected: list[dict[str, str]]) -> None:
    """Otherwise the leader serves, as without the field."""
    pods = started(plan, wants(a_demand(R1), servers=Servers.EVERY_POD)).pods
    assert [said(pod) for pod in pods] == expected
    assert [pod.serves for pod in pods] == ["--headless" not in words for words in expected]


def test_a_pod_that_serves_is_probed_drained_and_given_time_like_a_leader() -> None:
    wanted = wants(a_demand(R1), servers=Servers.EVERY_POD, args=("--api-server-count", "4"))
    leader, other = started(a_plan(Layout(1, 1, True, 16), 8, 8), wanted).pods
    assert (leader.startup, leader.readiness, leader.liveness) == (other.startup, other.readiness, other.liveness)
    assert other.readiness is not None
    assert other.readiness.command[-1] == "2"
    assert (leader.drain, leader.grace) == (other.drain, other.grace)
    assert ",".join(HOSTS[:2]) in other.drain
    assert "--api-server-count" in other.args
    assert other.waits != leader.waits


REFUSED: dict[str, tuple[Wanted, str]] = {
    "SGLang": (
        wants(a_demand(R1, engine=SGLANG), servers=Servers.EVERY_POD),
        "`everyPod` cannot be used: only the leader of `sglang` serves; leave it out, or use `vllm`",
    ),
    "a dense model": (
        wants(a_demand(LLAMA_8B), servers=Servers.EVERY_POD),
        "`everyPod` cannot be used: a model without experts has no data ranks; use `spec.replicas`",
    ),
}


@pytest.mark.parametrize(("wanted", "message"), REFUSED.values(), ids=REFUSED)
def test_every_pod_serves_on_vllm_and_with_data_ranks_alone(wanted: Wanted, message: str) -> None:
    assert problems(wanted) == (("spec.engine.servers", message),)


def test_every_follower_waits_for_the_port_where_data_ranks_meet() -> None:
    group = started(a_plan(Layout(1, 1, True, 16), 8, 8))
    assert dict(group.ports) == {"http": 8000, "rendezvous": 29550}
    leader, follower = group.pods
    assert follower.waits is not None
    assert "29550" in follower.waits.args
    assert (leader.readiness is None, follower.readiness) == (False, None)
    assert follower.liveness is None


def test_a_data_rank_gets_its_own_share_of_sequences_and_of_the_chunk() -> None:
    plan = a_plan(Layout(1, 1, True, 8), concurrency=4000)
    (pod,) = started(plan).pods
    words = options(pod.args)
    assert words["--max-num-seqs"] == "500"
    assert words["--max-num-batched-tokens"] == "1024"


def test_the_followers_of_data_ranks_get_no_count_of_servers() -> None:
    wanted = wants(args=("--api-server-count", "4"))
    leader, follower = started(a_plan(Layout(1, 1, True, 16), 8, 8), wanted).pods
    assert "--api-server-count" in leader.args
    assert "--api-server-count" not in follower.args


def test_the_context_degree_is_said_where_it_divides() -> None:
    (divided,) = started(a_plan(Layout(8, 1, context=4))).pods
    (whole,) = started(a_plan(Layout(8, 1))).pods
    assert options(divided.args)["--decode-context-parallel-size"] == "4"
    assert "--decode-context-parallel-size" not in options(whole.args)


ARGS: dict[str, tuple[str, str]] = {
    "another data degree": ("--data-parallel-size=4", "use `spec.parallelism.data`"),
    "another balance": ("--data-parallel-hybrid-lb", "use `spec.engine.servers`"),
    "an external balance": ("--data-parallel-rank=1", "use `spec.parallelism.data`"),
    "another address": ("--data-parallel-address=10.0.0.1", "the plan decides it"),
    "another port": ("--data-parallel-rpc-port=1", "the plan decides it"),
    "a divided cache": ("-dcp=2", "use `spec.parallelism.context`"),
    "a divided prefill": ("--prefill-context-parallel-size=2", "use `spec.parallelism.context`"),
}


@pytest.mark.parametrize(("word", "remedy"), ARGS.values(), ids=ARGS)
def test_words_that_would_change_the_data_ranks_are_refused_with_the_field(word: str, remedy: str) -> None:
    assert problems(wants(a_demand(R1, engine=VLLM), args=(word,))) == (
        ("spec.engine.args.0", f"`{word}` would contradict the plan; {remedy}"),
    )


def test_the_word_of_the_all_to_all_is_the_users() -> None:
    wanted = wants(a_demand(R1), args=("--all2all-backend", "deepep_low_latency"))
    assert problems(wanted) == ()
    for pod in started(a_plan(Layout(1, 1, True, 16), 8, 8), wanted).pods:
        assert pod.args[-2:] == ("--all2all-backend", "deepep_low_latency")


def test_data_ranks_use_nvlink_between_nodes_where_the_plan_links_them() -> None:
    plan = a_plan(Layout(1, 1, True, 8), 4, 4)
    assert not spans_nodes(plan, plan.groups[0])
    linked = replace(plan, linked=True)
    assert spans_nodes(linked, linked.groups[0])
    alone = replace(a_plan(Layout(1, 1, True, 4), 4), linked=True)
    assert not spans_nodes(alone, alone.groups[0])


def test_a_cache_is_compared_by_the_data_rank() -> None:
    """Engines report the cache of a rank."""
    plan = a_plan(Layout(1, 1, True, 8), concurrency=16)
    one = replace(plan, layout=Layout(8, 1), concurrency=2)
    assert plan.cache_tokens == one.cache_tokens > 0
