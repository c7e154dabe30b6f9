"""The whole grid: engines × layouts × sources × quantisations × roles, each word checked against the engine's own."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import pytest
from tests.engines.support import (
    GROUPS_OF_DATA,
    SGLANG,
    SOURCES,
    TENSORRT_LLM,
    VLLM,
    a_plan,
    by_name,
    dispatch_variables,
    known_flags,
    options,
    role_groups,
    served,
    started,
    values_of,
    wants,
    wants_of,
)
from tests.support.models import LLAMA_8B, QWEN_235B_FP8, a_demand, a_model

from shardwise.domain.engine import EngineName
from shardwise.domain.launch import EnvVar, LaunchSite, Servers, Source, SourceKind, Wanted
from shardwise.domain.layout import Layout
from shardwise.domain.model import CheckpointMethod, Quantization
from shardwise.domain.plan import MemoryUse, Plan
from shardwise.domain.roles import Role, RoleName
from shardwise.domain.units import GIB
from shardwise.engines import ENGINES, GroupLaunch, problems
from shardwise.engines.environment import NETWORK_VARIABLES
from shardwise.planner.legality import has_experts

EMITTED = {
    VLLM: {
        "--served-model-name",
        "--revision",
        "--trust-remote-code",
        "--tensor-parallel-size",
        "--pipeline-parallel-size",
        "--enable-expert-parallel",
        "--max-model-len",
        "--max-num-batched-tokens",
        "--max-num-seqs",
        "--gpu-memory-utilization",
        "--kv-cache-dtype",
        "--quantization",
        "--allow-deprecated-quantization",
        "--data-parallel-size",
        "--data-parallel-size-local",
        "--data-parallel-start-rank",
        "--data-parallel-address",
        "--data-parallel-rpc-port",
        "--data-parallel-hybrid-lb",
        "--decode-context-parallel-size",
        "--nnodes",
        "--node-rank",
        "--master-addr",
        "--master-port",
        "--distributed-executor-backend",
        "--headless",
        "--host",
        "--port",
        "--kv-transfer-config",
    },
    SGLANG: {
        "--disaggregation-mode",
        "--disaggregation-transfer-backend",
        "--disaggregation-bootstrap-port",
        "--model-path",
        "--served-model-name",
        "--revision",
        "--trust-remote-code",
        "--tp-size",
        "--pp-size",
        "--ep-size",
        "--attn-dp-size",
        "--dp-size",
        "--enable-dp-attention",
        "--dcp-size",
        "--context-length",
        "--chunked-prefill-size",
        "--max-running-requests",
        "--max-mamba-cache-size",
        "--mem-fraction-static",
        "--kv-cache-dtype",
        "--quantization",
        "--enable-metrics",
        "--nnodes",
        "--node-rank",
        "--dist-init-addr",
        "--host",
        "--port",
    },
    TENSORRT_LLM: {
        "--tp_size",
        "--pp_size",
        "--ep_size",
        "--gpus_per_node",
        "--max_seq_len",
        "--max_num_tokens",
        "--max_batch_size",
        "--trust_remote_code",
        "--host",
        "--port",
        "--extra_llm_api_options",
        "--server_role",
    },
}
"""All a launch of each engine may ever say, and does say somewhere in the grid."""

YIELDING = {
    "--kv-transfer-config",
    "--allow-deprecated-quantization",
    "--max-num-seqs",
    "--max-running-requests",
    "--max-mamba-cache-size",
    "--max_batch_size",
}
"""Said by every launch, and still the user's to say: the plan's memory hardly depends on it."""

LAYOUTS = [
    (Layout(1, 1), (1,)),
    (Layout(2, 1), (2,)),
    (Layout(8, 1), (8,)),
    (Layout(8, 1, expert=True), (8,)),
    (Layout(4, 2), (8,)),
    (Layout(1, 4), (4,)),
    (Layout(8, 2), (8, 8)),
    (Layout(8, 2, expert=True), (8, 8)),
    (Layout(4, 4), (4, 4, 4, 4)),
    (Layout(2, 6), (4, 4, 4)),
    (Layout(8, 1), (4, 4)),
    (Layout(16, 1, expert=True), (4, 4, 4, 4)),
    (Layout(8, 2), (4, 4, 4, 4)),
    (Layout(1, 1, True, 8), (8,)),
    (Layout(1, 1, True, 16), (8, 8)),
    (Layout(1, 2, True, 8), (8, 8)),
]
"""Layouts with the GPUs of each pod: one GPU, one node, several nodes, tensor groups over the trays of a rack; data
ranks on one node, on two nodes, and in two stages."""

PLAIN = a_model(name=LLAMA_8B)
FBGEMM = replace(PLAIN, method=CheckpointMethod("fbgemm_fp8", Quantization.FP8))
QUANTISATIONS = [
    (PLAIN, None),
    (PLAIN, "none"),
    (PLAIN, "fp8"),
    (PLAIN, "int4"),
    (PLAIN, "nvfp4"),
    (QWEN_235B_FP8, "fp8"),
    (FBGEMM, None),
]
DTYPES = [None, "fp8", "bfloat16"]

SITE = LaunchSite(env=(("NCCL_IB_HCA", "mlx5"),), interface="eth0", rdma=(("rdma/ib", "1"),), host_paths=("/data",))

OTHERS = list(itertools.product(SOURCES, QUANTISATIONS, DTYPES))


def grid_of(engine: EngineName) -> Iterator[tuple[Any, ...]]:
    layouts = LAYOUTS if engine is TENSORRT_LLM else LAYOUTS + GROUPS_OF_DATA
    return ((layout, *others) for layout in layouts for others in OTHERS)


def wanted_of(engine: EngineName, source: Source, quantisation: tuple[object, str | None], dtype: str | None) -> Wanted:
    model, forced = quantisation
    demand = a_demand(model, engine=engine)  # type: ignore[arg-type]
    if engine is SGLANG and has_experts(demand.model):
        demand = replace(demand, all_to_all="deepep")
    named = demand.model.name
    return wants(
        demand,
        site=SITE,
        model=named,
        served_name=named,
        source=source,
        quantization=forced,
        kv_cache_dtype=dtype,
        trust_remote_code=dtype == "fp8",
        servers=Servers.EVERY_POD if engine is VLLM and has_experts(demand.model) else Servers.LEADER,
        version="0.5.21" if engine is SGLANG and dtype == "bfloat16" else None,
    )


def cells(engine: EngineName) -> Iterator[tuple[Plan, Wanted, GroupLaunch]]:
    """Launch every cell of the grid that an object may ask for."""
    whole = MemoryUse(20 * GIB, 30 * GIB, 12 * GIB, 4 * GIB, 80 * GIB)
    for (layout, pods), source, quantisation, dtype in grid_of(engine):
        wanted = wanted_of(engine, source, quantisation, dtype)
        if not problems(wanted):
            states = 400 if layout.world_size == 1 else None
            plan = a_plan(layout, *pods, engine=engine, memory=whole, states=states)
            yield plan, wanted, started(plan, wanted)
    yield from role_groups(engine, LAYOUTS, SITE)


@pytest.fixture(scope="module", params=list(EngineName), ids=lambda engine: engine.value)
def grid(request: pytest.FixtureRequest) -> tuple[EngineName, list[tuple[Plan, Wanted, GroupLaunch]]]:
    return request.param, list(cells(request.param))


Grid = tuple[EngineName, list[tuple[Plan, Wanted, GroupLaunch]]]


def test_the_grid_leaves_out_only_what_is_refused(grid: Grid) -> None:
    """No engine quantises to int4 or nvfp4 on load; TensorRT-LLM to nothing, and it takes no bfloat16 cache."""
    engine, found = grid
    part = {VLLM: 5 / 7, SGLANG: 5 / 7, TENSORRT_LLM: 4 / 7 * 2 / 3}[engine]
    assert sum(wanted.launch.role is None for _, wanted, _ in found) == round(len(list(grid_of(engine))) * part)


def test_every_option_is_one_the_engine_declares_and_is_said_once(grid: Grid) -> None:
    """In full: no abbreviations. TensorRT-LLM hears what every release since 1.0 takes."""
    engine, found = grid
    known = known_flags(engine, "portable") if engine is TENSORRT_LLM else known_flags(engine)
    said: set[str] = set()
    for _, _, group in found:
        for pod in group.pods:
            words = served(engine, pod)
            said |= set(options(words))
            assert set(options(words)) <= known
    assert said == EMITTED[engine]


def test_every_word_is_one_argument_and_no_value_reads_as_an_option(grid: Grid) -> None:
    """No blank, no quote but in JSON, nothing a shell would take apart; commands apart, which are constants."""
    engine, found = grid
    for _, _, group in found:
        for pod in group.pods:
            words = [word for word in pod.args if not word.startswith("{")]
            assert all(word and not set(word) & set(" \t\n\"'$`;|&*?") for word in words)
            assert all(json.loads(word) for word in pod.args if word not in words)
            values = [value for value in options(served(engine, pod)).values() if value.startswith("-")]
            assert values == []


def test_what_a_launch_says_its_user_may_not_say_again(grid: Grid) -> None:
    """The last word wins in these parsers, and the user's words come last; of a single option this is meant."""
    engine, found = grid
    for _, _, group in found[::7]:
        for pod in group.pods:
            for option in options(served(engine, pod)):
                owner = ENGINES[engine].TABLE.option(option)
                assert owner is not None
                assert owner.word == option
                assert owner.yields == (option in YIELDING)
                assert (problems(wants_of(engine, args=(option, "1"))) == ()) == owner.yields


def test_every_emitted_option_has_its_reason_in_the_documents(grid: Grid) -> None:
    """And none that is only refused has one."""
    engine, _ = grid
    rows = ENGINES[engine].TABLE.options
    assert {row.word for row in rows if row.why and not row.positional} == EMITTED[engine]
    assert [row.word for row in rows if bool(row.why) != (row.value is not None)] == []


def test_every_variable_of_a_launch_stands_in_a_table_and_is_refused_unless_it_yields(grid: Grid) -> None:
    """Apart from those of the operator's configuration and of the object itself."""
    engine, found = grid
    rows = {row.name: row for row in (*NETWORK_VARIABLES, *ENGINES[engine].TABLE.variables)}
    emitted = dispatch_variables() if engine is SGLANG else set()
    for _, wanted, group in found:
        given = {name for name, _ in wanted.site.env} | {variable.name for variable in wanted.launch.container.env}
        emitted |= {variable.name for pod in group.pods for variable in pod.env} - given
    assert emitted == {name for name, row in rows.items() if row.value is not None}
    for name in emitted:
        refused = problems(wants_of(engine, env=(EnvVar(name, value="x"),)))
        assert (refused == ()) == rows[name].yields


def test_every_entry_of_an_options_file_stands_in_the_table_and_is_refused(grid: Grid) -> None:
    """Apart from the entries of the object itself."""
    engine, found = grid
    rows = {row.name: row for row in ENGINES[engine].TABLE.entries}
    for _, wanted, group in found[::7]:
        ours = set(_paths(_options_of(group))) - set(_paths(wanted.launch.container.options))
        assert ours <= {name for name, row in rows.items() if row.value is not None}
    for name, row in rows.items():
        outer, _, inner = name.rpartition(".")
        given = {outer: {inner: 1}} if outer else {inner: 1}
        wanted = wants_of(engine, options=given)
        assert [field for field, _ in problems(wanted)] == ([] if row.of_roles else [f"spec.engine.options.{name}"])
        wanted = replace(wanted, launch=replace(wanted.launch, role=Role(RoleName.PREFILL)))
        assert [field for field, _ in problems(wanted)][:1] == [
            f"spec.engine.options.{outer if row.of_roles and outer else name}"
        ]


def _options_of(group: GroupLaunch) -> dict[str, Any]:
    text = next((file.text for file in group.files if file.path.endswith("options.yaml")), "{}")
    found: dict[str, Any] = json.loads(text)
    return found


def _paths(given: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{above}{name}.")
        else:
            yield above + name


OF_THE_POD = ("--node-rank", "--headless", "--data-parallel-start-rank")
"""The words that tell a pod from another pod of its group."""


def test_pods_of_a_group_differ_in_rank_and_role_alone(grid: Grid) -> None:
    """NCCL hangs where settings differ from rank to rank."""
    engine, found = grid
    for plan, _, group in found:
        assert {pod.env for pod in group.pods} == {group.pods[0].env}
        if engine is TENSORRT_LLM:
            assert {(pod.command, pod.args) for pod in group.pods[1:]} <= {(group.pods[-1].command, ())}
            continue
        said = [options(pod.args) for pod in group.pods]
        shared = [{word: value for word, value in options.items() if word not in OF_THE_POD} for options in said]
        assert shared == [shared[0]] * len(said)
        if len(said) > 1 and "--node-rank" in said[0]:
            assert [int(options["--node-rank"]) for options in said] == list(range(len(said)))
        elif len(said) > 1:
            local = int(said[0]["--data-parallel-size-local"])
            first = [int(options.get("--data-parallel-start-rank", 0)) for options in said]
            assert first == list(range(0, plan.layout.data, local))
            leads = "--data-parallel-hybrid-lb" in said[0]
            assert ["--data-parallel-start-rank" in options for options in said] == [leads] + [True] * (len(said) - 1)


def test_degrees_context_and_chunk_are_those_of_the_plan(grid: Grid) -> None:
    """Totals over all nodes, whatever an engine calls them."""
    engine, found = grid
    tensor, pipeline, context, chunk = {
        VLLM: ("--tensor-parallel-size", "--pipeline-parallel-size", "--max-model-len", "--max-num-batched-tokens"),
        SGLANG: ("--tp-size", "--pp-size", "--context-length", "--chunked-prefill-size"),
        TENSORRT_LLM: ("--tp_size", "--pp_size", "--max_seq_len", "--max_num_tokens"),
    }[engine]
    for plan, _, group in found:
        said = options(served(engine, group.pods[0]))
        of_word = plan.layout.tensor if engine is VLLM else plan.layout.stage_gpus
        assert (said[tensor], said[pipeline]) == (str(of_word), str(plan.layout.pipeline))
        tokens = max(1024, 8192 // plan.layout.data) * (plan.layout.data if engine is SGLANG else 1)
        assert (said[context], said[chunk]) == ("8192", str(tokens))


def test_degrees_multiply_to_the_gpus_of_the_pods(grid: Grid) -> None:
    """As the engine reads its own words: data × tensor × pipeline, whatever it calls them."""
    engine, found = grid
    for plan, _, group in found:
        said = options(served(engine, group.pods[0]))
        match engine:
            case EngineName.VLLM:
                words = "--data-parallel-size", "--tensor-parallel-size", "--pipeline-parallel-size"
            case EngineName.SGLANG:
                words = "--tp-size", "--pp-size", "--pp-size"
                older = said.get("--dp-size", "1") if "--enable-dp-attention" in said else "1"
                assert said.get("--attn-dp-size", older) == str(plan.layout.data)
            case _:
                words = "--tp_size", "--pp_size", "--pp_size"
                assert _options_of(group).get("enable_attention_dp", False) == (plan.layout.data > 1)
        ranks = prod(int(said.get(word, 1)) for word in dict.fromkeys(words))
        assert ranks == plan.layout.world_size == sum(pod.gpus for pod in plan.groups[0].pods)
        assert int(said.get("--decode-context-parallel-size", said.get("--dcp-size", 1))) == plan.layout.context


def test_experts_are_dealt_out_as_planned(grid: Grid) -> None:
    """Over the GPUs of a stage, and only where the plan does."""
    engine, found = grid
    word = {VLLM: "--enable-expert-parallel", SGLANG: "--ep-size", TENSORRT_LLM: "--ep_size"}[engine]
    for plan, _, group in found:
        value = "" if engine is VLLM else str(plan.layout.stage_gpus)
        said = options(served(engine, group.pods[0])).get(word)
        assert said == (value if plan.layout.expert else None)


def test_ranks_land_where_they_were_planned(grid: Grid) -> None:
    """By each engine's own rule for which rank runs on which node."""
    engine, found = grid
    for plan, _, group in found[:: len(SOURCES) * len(QUANTISATIONS) * len(DTYPES)]:
        expected = [pod.ranks for pod in plan.groups[0].pods]
        assert [ranks_of(engine, plan, group, node) for node in range(len(expected))] == expected


def ranks_of(engine: EngineName, plan: Plan, group: GroupLaunch, node: int) -> tuple[int, ...]:
    """Give the ranks an engine runs on a node.

    vLLM: local world × node rank + local rank (multiproc_executor.py), or the data ranks that the pod is given. SGLang:
    by stages and by nodes of a stage (entrypoints/engine.py). Open MPI: hosts are filled in their order, slot by slot.
    """
    tensor, pipeline, nodes = plan.layout.stage_gpus, plan.layout.pipeline, len(group.pods)
    if engine is SGLANG:
        assert pipeline % nodes == 0 or nodes % pipeline == 0
        stages, nodes_a_stage = max(pipeline // nodes, 1), max(nodes // pipeline, 1)
        assert tensor % nodes_a_stage == 0
        share = tensor // nodes_a_stage
        first_stage, first = stages * (node // nodes_a_stage), share * (node % nodes_a_stage)
        return tuple(
            stage * tensor + rank
            for stage in range(first_stage, first_stage + stages)
            for rank in range(first, first + share)
        )
    said = options(group.pods[node].args)
    if "--data-parallel-size-local" in said:
        each = plan.layout.tensor * pipeline
        first, count = int(said.get("--data-parallel-start-rank", 0)), int(said["--data-parallel-size-local"])
        return tuple(range(each * first, each * (first + count)))
    if engine is VLLM or nodes == 1:
        local = tensor * pipeline // nodes
        return tuple(range(local * node, local * (node + 1)))
    words = group.pods[0].args
    slots = [int(host.rpartition(":")[2]) for host in words[words.index("-H") + 1].split(",")]
    return tuple(range(sum(slots[:node]), sum(slots[: node + 1])))


def test_nothing_is_fetched_where_the_weights_are_there(grid: Grid) -> None:
    """On a volume, or fetched before the ranks started."""
    _, found = grid
    for _, wanted, group in found:
        offline = wanted.launch.model.source.kind is not SourceKind.HUGGING_FACE or wanted.launch.model.source.pre_pull
        assert (values_of(group.pods[0]).get("HF_HUB_OFFLINE") == "1") == bool(offline)


def test_a_token_is_only_ever_a_reference(grid: Grid) -> None:
    _, found = grid
    for _, wanted, group in found:
        token = by_name(group.pods[0]).get("HF_TOKEN")
        secret = wanted.launch.model.source.token_secret
        assert token == (EnvVar("HF_TOKEN", secret=("hub", "read")) if secret else None)


def test_the_sites_network_reaches_every_pod(grid: Grid) -> None:
    _, found = grid
    for _, _, group in found:
        for pod in group.pods:
            named = values_of(pod)
            assert (named["NCCL_IB_HCA"], named["NCCL_SOCKET_IFNAME"], named["GLOO_SOCKET_IFNAME"]) == (
                "mlx5",
                "eth0",
                "eth0",
            )


def test_nvlink_between_nodes_is_used_or_fails(grid: Grid) -> None:
    """Where a tensor group leaves its node, and nowhere else is NCCL told to."""
    _, found = grid
    for plan, _, group in found:
        across = plan.groups[0].pods[0].gpus < plan.layout.tensor
        assert ("NCCL_MNNVL_ENABLE" in values_of(group.pods[0])) == across


def test_probes_and_grace_fit_each_role(grid: Grid) -> None:
    """Pods that serve are probed at their HTTP port, get time to answer, and are drained; followers are not."""
    engine, found = grid
    for _, _, group in found:
        leader, *followers = group.pods
        assert leader.startup is not None
        assert leader.readiness is not None
        assert leader.liveness is not None
        assert leader.startup.period * leader.startup.failures >= 1800
        assert (leader.grace, bool(leader.drain)) == (60, True)
        for pod in followers:
            if pod.serves:
                assert (pod.liveness, pod.grace, pod.drain) == (leader.liveness, leader.grace, leader.drain)
                continue
            assert (pod.liveness, pod.grace, pod.drain) == (None, 2, ())
            how = {VLLM: None, SGLANG: "/health", TENSORRT_LLM: ""}[engine]
            assert (None if pod.readiness is None else pod.readiness.path) == how


def test_the_options_file_of_tensorrt_llm_says_nothing_the_command_line_says(grid: Grid) -> None:
    """Which of the two wins depends on the release."""
    engine, found = grid
    for _, _, group in found:
        texts = [json.loads(file.text) for file in group.files if file.name == "options.yaml"]
        assert len(texts) == (1 if engine is TENSORRT_LLM else 0)
        for text in texts:
            same = {f"--{key}" for key in text} | {f"--{key}" for key in text["kv_cache_config"]}
            assert not same & set(served(engine, group.pods[0]))
            assert "--kv_cache_free_gpu_memory_fraction" not in group.pods[0].args


def test_the_sequences_of_a_step_are_those_the_plan_is_sized_for(grid: Grid) -> None:
    """256, or as many as are asked for at full length; a user's own number comes last, and wins."""
    engine, _ = grid
    others = {"--allow-deprecated-quantization", "--max-mamba-cache-size", "--kv-transfer-config"}
    (word,) = (YIELDING - others) & EMITTED[engine]
    for concurrency, expected in ((1, "256"), (256, "256"), (300, "300")):
        plan = a_plan(Layout(1, 1), engine=engine, concurrency=concurrency)
        (pod,) = started(plan, wants_of(engine, args=(word, "1024"))).pods
        said = [after for option, after in zip(pod.args, pod.args[1:], strict=False) if option == word]
        assert said == [expected, "1024"]
