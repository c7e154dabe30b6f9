"""Random small fleets, demands and layouts, for properties. Names are padded, so that all orders of them agree."""

from hypothesis import strategies as st
from tests.support.fleets import GB200, H100, H200, L40S, a_fleet, a_node
from tests.support.models import LLAMA_8B, LLAMA_70B, LLAMA_405B, QWEN_235B_FP8, R1, a_demand, facts

from shardwise.domain.demand import Objective, Pins
from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.layout import Layout

nvswitch_nodes = st.lists(st.integers(0, 8), min_size=1, max_size=6).map(
    lambda frees: [a_node(f"node-{index:02d}", free=free) for index, free in enumerate(frees)]
)
rack_nodes = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=6).map(
    lambda rows: [
        a_node(f"tray-{index:02d}", product=GB200, gpus=4, free=free, domain=f"rack-{rack}")
        for index, (free, rack) in enumerate(rows)
    ]
)


def layouts_of(*degrees: st.SearchStrategy[int]) -> st.SearchStrategy[Layout]:
    """Make layouts of degrees: tensor, pipeline, and any further fields. The others have their defaults."""
    return st.tuples(*degrees).map(lambda found: Layout(*found))


layouts = layouts_of(st.sampled_from([1, 2, 3, 4, 6, 8]), st.sampled_from([1, 2, 3, 4])).filter(
    lambda layout: layout.world_size <= 16
)


free_gpus = st.sampled_from([8, 8, 8, 4, 4, 6, 3, 1, 0])


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Draw a fleet of H100, H200 and L40S nodes and GB200 trays, partly taken."""
    rows = draw(st.lists(st.tuples(st.sampled_from([H100, H200, L40S, GB200]), free_gpus), min_size=1, max_size=6))
    return a_fleet(_drawn(index, product, free) for index, (product, free) in enumerate(rows))


def _drawn(index: int, product: str, free: int) -> Node:
    gpus = 4 if product == GB200 else 8
    node = a_node(f"node-{index:02d}", product=product, gpus=gpus, free=min(free, gpus))
    return node._replace(domain="rack-0") if product == GB200 else node


pins = st.builds(
    Pins,
    st.none() | st.sampled_from([1, 2, 3, 4, 6, 8, 16]),
    st.none() | st.sampled_from([1, 2, 3, 4, 200]),
    st.none() | st.booleans(),
)
demands = st.builds(
    lambda name, kind, **changes: a_demand(facts(name, kind), **changes),
    name=st.sampled_from([LLAMA_8B, LLAMA_70B, QWEN_235B_FP8, LLAMA_8B, LLAMA_70B, LLAMA_405B, R1]),
    kind=st.sampled_from(["auto", "fp8"]),
    budget=st.sampled_from([32, 16, 8, 4, 2, 1]),
    context=st.sampled_from([8192, 2048, 131072]),
    concurrency=st.sampled_from([1, 8]),
    replicas=st.sampled_from([1, 1, 2, 3]),
    objective=st.sampled_from([Objective.FEWEST_GPUS, Objective.LATENCY, Objective.THROUGHPUT]),
    pins=st.sampled_from([Pins()] * 4) | pins,
    products=st.sampled_from([(), (), (), (H100,), (H100, H200)]),
)
