"""Every option a launch emits is one vLLM knows, and one its user may not contradict."""

from hypothesis import given
from hypothesis import strategies as st
from tests.engines.support import OF_OTHER_RELEASES, a_plan, known_flags, options, started, wants
from tests.support.models import QWEN_235B_FP8, a_demand, a_model

from shardwise.domain.launch import Source, SourceKind, Wanted
from shardwise.domain.layout import Layout
from shardwise.engines.contradictions import OWNED_OPTIONS, owned_option

ANY_OPTION = {
    "--served-model-name",
    "--revision",
    "--trust-remote-code",
    "--tensor-parallel-size",
    "--pipeline-parallel-size",
    "--enable-expert-parallel",
    "--max-model-len",
    "--max-num-batched-tokens",
    "--gpu-memory-utilization",
    "--kv-cache-dtype",
    "--quantization",
    "--nnodes",
    "--node-rank",
    "--master-addr",
    "--master-port",
    "--distributed-executor-backend",
    "--headless",
    "--host",
    "--port",
}
"""All a launch may ever say."""

layouts = st.builds(Layout, st.sampled_from([1, 2, 3, 4, 8, 16]), st.sampled_from([1, 2, 3, 4]), st.booleans())
sources = st.builds(
    Source,
    kind=st.sampled_from(list(SourceKind)),
    revision=st.none() | st.just("v1"),
    token_secret=st.none() | st.just("hub"),
    location=st.just("/weights"),
    path=st.sampled_from(["", "sub"]),
)
objects = st.builds(
    wants,
    st.sampled_from([a_demand(a_model()), a_demand(QWEN_235B_FP8)]),
    source=sources,
    trust_remote_code=st.booleans(),
    kv_cache_dtype=st.sampled_from([None, "fp8", "bfloat16"]),
    quantization=st.sampled_from([None, "none", "fp8", "int4", "mxfp4", "nvfp4"]),
)


def split(layout: Layout, pods: int) -> tuple[int, ...]:
    """Spread a layout over so many pods where that leaves them equal, else over one."""
    return (layout.world_size // pods,) * pods if layout.world_size % pods == 0 else (layout.world_size,)


@given(objects, layouts, st.sampled_from([1, 2, 4, 8]))
def test_every_option_is_known_to_vllm_and_said_once(wanted: Wanted, layout: Layout, pods: int) -> None:
    """Whatever the layout, the pods, the source, the quantisation or the role."""
    for pod in started(a_plan(layout, *split(layout, pods)), wanted).pods:
        said = set(options(pod.args))
        assert said <= known_flags()
        assert said <= ANY_OPTION


@given(objects, layouts, st.sampled_from([1, 2, 4, 8]))
def test_what_the_launch_says_its_user_may_not_say_again(wanted: Wanted, layout: Layout, pods: int) -> None:
    """The last word wins in vLLM's parser, and the user's words come last."""
    for pod in started(a_plan(layout, *split(layout, pods)), wanted).pods:
        assert {option: owned_option(option) for option in options(pod.args)} == {
            option: option for option in options(pod.args)
        }


@given(objects, layouts, st.sampled_from([1, 2, 4, 8]))
def test_a_launch_is_words_without_blanks_of_its_own(wanted: Wanted, layout: Layout, pods: int) -> None:
    """Each word is one argument; none is empty, and no value could be read as an option."""
    for pod in started(a_plan(layout, *split(layout, pods)), wanted).pods:
        assert all(word and not set(word) & set(" \t\n\"'") for word in pod.args)
        assert not [value for value in options(pod.args).values() if value.startswith("-")]


def test_every_option_of_the_table_is_in_fact_emitted_by_some_launch() -> None:
    """So the table above is no wish list."""
    whole = wants(
        a_demand(a_model()),
        source=Source(revision="v1"),
        trust_remote_code=True,
        kv_cache_dtype="fp8",
        quantization="fp8",
    )
    follower = started(a_plan(Layout(8, 2, expert=True), 8, 8), whole).pods[1]
    assert set(options(follower.args)) == ANY_OPTION


def test_every_refused_option_is_one_vllm_knows() -> None:
    """A misspelt one would guard nothing."""
    assert set(OWNED_OPTIONS) - known_flags() == OF_OTHER_RELEASES
