"""The nodes of a pool and their domains, after changes of single nodes; and the GPUs that pods can use."""

from collections.abc import Callable, Sequence

import pytest
from tests.support.fleets import GB200, a_fleet, a_node, gb200_rack, h100s
from tests.support.models import LLAMA_8B, a_demand

from shardwise.domain.fleet import Fleet, Node
from shardwise.domain.needs import Amounts, IdleGpus, PodNeeds
from shardwise.planner.alike import Classes
from shardwise.planner.members import Change, Domains, Member, Members, UsableGpus, free_counts_of, gpus_of
from shardwise.planner.places import Domain, FreeCounts, Path


def tray(name: str, *, free: int = 4, domain: str = "p", places: tuple[str, ...] = ("r1",)) -> Node:
    return a_node(name, product=GB200, gpus=4, free=free, domain=domain, places=places)


A, B, C = tray("a"), tray("b", free=2), tray("c", domain="q", places=("r2",))
TRAYS = (A, B, C)

Shape = dict[Domain, tuple[list[str], FreeCounts, Path]]
"""The nodes of each domain, their free counts, and the place."""


def nowhere(_: Node) -> str:
    return ""


def by_rack(node: Node) -> str:
    return node.places[0]


def shape(domains: Domains) -> Shape:
    found: Shape = {}
    for path, scope in domains.places.levels[0].items():
        for counts, held in scope.held.items():
            for domain in held:
                found[domain] = [node.name for node in domains.nodes[domain]], counts, path
    return found


CHANGES: dict[str, tuple[list[Change], Shape]] = {
    "nothing": (
        [],
        {("", "p"): (["a", "b"], (2, 4), ("", "r1")), ("", "q"): (["c"], (4,), ("", "r2"))},
    ),
    "a pod comes": (
        [(A, A._replace(free=1))],
        {("", "p"): (["a", "b"], (1, 2), ("", "r1")), ("", "q"): (["c"], (4,), ("", "r2"))},
    ),
    "pods come to two nodes of a domain": (
        [(A, A._replace(free=1)), (B, B._replace(free=0))],
        {("", "p"): (["a", "b"], (0, 1), ("", "r1")), ("", "q"): (["c"], (4,), ("", "r2"))},
    ),
    "a node comes": (
        [(None, tray("aa", free=3))],
        {("", "p"): (["a", "aa", "b"], (2, 3, 4), ("", "r1")), ("", "q"): (["c"], (4,), ("", "r2"))},
    ),
    "a node of a new domain comes": (
        [(None, tray("d", domain="x", places=("r2",)))],
        {
            ("", "p"): (["a", "b"], (2, 4), ("", "r1")),
            ("", "q"): (["c"], (4,), ("", "r2")),
            ("", "x"): (["d"], (4,), ("", "r2")),
        },
    ),
    "a node goes": (
        [(B, None)],
        {("", "p"): (["a"], (4,), ("", "r1")), ("", "q"): (["c"], (4,), ("", "r2"))},
    ),
    "the last node of a domain goes": (
        [(C, None)],
        {("", "p"): (["a", "b"], (2, 4), ("", "r1"))},
    ),
    "a node moves to another domain": (
        [(B, B._replace(domain="q"))],
        {("", "p"): (["a"], (4,), ("", "r1")), ("", "q"): (["b", "c"], (2, 4), ("", "r1"))},
    ),
    "the first node of a domain names its place": (
        [(A, A._replace(places=("r3",)))],
        {("", "p"): (["a", "b"], (2, 4), ("", "r3")), ("", "q"): (["c"], (4,), ("", "r2"))},
    ),
    "other nodes of a domain do not": (
        [(B, B._replace(places=("r3",)))],
        {("", "p"): (["a", "b"], (2, 4), ("", "r1")), ("", "q"): (["c"], (4,), ("", "r2"))},
    ),
    "a node takes the place of another": (
        [(A, None), (None, tray("0", free=1, places=("r9",)))],
        {("", "p"): (["0", "b"], (1, 2), ("", "r9")), ("", "q"): (["c"], (4,), ("", "r2"))},
    ),
}


@pytest.mark.parametrize(("changes", "expected"), CHANGES.values(), ids=CHANGES)
def test_domains_follow_the_changes_of_nodes(changes: list[Change], expected: Shape) -> None:
    domains = Domains(TRAYS, nowhere, shared=True)
    before = shape(domains)
    changed = domains.changed(changes)
    assert shape(changed) == expected
    assert changed.sizes == {
        gpus: sum(gpus_of(nodes) == gpus for nodes in changed.nodes.values()) for gpus in changed.sizes
    }
    assert shape(domains) == before


NAMES: dict[str, tuple[Domains, Domain]] = {
    "a clique": (Domains(TRAYS, nowhere, shared=True), ("", "p")),
    "a node alone": (Domains(TRAYS, nowhere, shared=False), ("", "a")),
    "a clique inside a rack": (Domains(TRAYS, by_rack, shared=True), ("r1", "p")),
    "a node alone inside a rack": (Domains(TRAYS, by_rack, shared=False), ("", "a")),
    "all nodes joined": (Domains(TRAYS, nowhere, shared=True, joined=True), ("", "")),
    "the nodes of a rack joined": (Domains(TRAYS, by_rack, shared=True, joined=True), ("r1", "")),
}


@pytest.mark.parametrize(("domains", "name"), NAMES.values(), ids=NAMES)
def test_a_domain_is_named_by_its_bounding_place_only_where_it_spans_nodes(domains: Domains, name: Domain) -> None:
    """Nodes that are domains of their own keep the order of their names, whatever the bounding places."""
    assert domains.domain(A) == name


def test_nodes_that_are_domains_of_their_own_are_not_kept_twice() -> None:
    domains = Domains(h100s(2, free=(8, 3)), nowhere, shared=False)
    (root,) = domains.places.roots
    assert (domains.nodes, domains.sizes) == ({}, {})
    assert root.held == {(8,): [("", "h100-00")], (3,): [("", "h100-01")]}


COUNTS: dict[str, tuple[Sequence[Node], FreeCounts, int]] = {
    "a node": ([A], (4,), 4),
    "two nodes": ([A, B], (2, 4), 8),
    "a full rack": (gb200_rack(3, free=(0, 0, 0)), (0, 0, 0), 12),
}


@pytest.mark.parametrize(("nodes", "free", "gpus"), COUNTS.values(), ids=COUNTS)
def test_free_counts_are_sorted(nodes: Sequence[Node], free: FreeCounts, gpus: int) -> None:
    assert (free_counts_of(nodes), gpus_of(nodes)) == (free, gpus)


CORES = PodNeeds(each_pod=(("cpu", 2000),), each_gpu=(("cpu", 4000),))
USABLE: dict[str, tuple[PodNeeds, int, Amounts, Amounts, int, IdleGpus | None]] = {
    "no needs": (PodNeeds(), 8, (("cpu", 1000),), (), 8, None),
    "enough of all": (CORES, 8, (("cpu", 34_000),), (), 8, None),
    "cores for four GPUs": (CORES, 8, (("cpu", 20_000),), (), 4, IdleGpus("cpu", 4, 1, "n", 34_000, 20_000)),
    "cores that others have taken": (
        CORES,
        8,
        (("cpu", 34_000),),
        (("cpu", 14_000),),
        4,
        IdleGpus("cpu", 4, 1, "n", 34_000, 20_000),
    ),
    "cores for none": (CORES, 8, (("cpu", 1000),), (), 0, IdleGpus("cpu", 8, 1, "n", 34_000, 1000)),
    "no free GPU": (CORES, 0, (("cpu", 1000),), (), 0, None),
    "a node that states nothing": (CORES, 8, (), (), 8, None),
}


@pytest.mark.parametrize(("needs", "free", "offered", "taken", "usable", "idle"), USABLE.values(), ids=USABLE)
def test_gpus_that_no_pod_can_use_are_idle(
    needs: PodNeeds, free: int, offered: Amounts, taken: Amounts, usable: int, idle: IdleGpus | None
) -> None:
    node = a_node("n", free=free)._replace(allocatable=offered, taken=taken)
    known = UsableGpus(needs, emptied=False)
    for _ in range(2):
        assert known.of(node) == node._replace(free=usable)
        assert known.idle(node) == idle


def test_resources_that_were_seen_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cores that pods hold are different after each event."""
    monkeypatch.setattr("shardwise.planner.members._MOST_KNOWN", 3)
    known = UsableGpus(CORES, emptied=False)
    for cores in (20_000, 22_000, 24_000, 26_000, 20_000):
        node = a_node("n")._replace(allocatable=(("cpu", cores),))
        assert known.of(node).free == (cores - 2000) // 4000
        assert len(known._known) <= 3


def members_of(nodes: Sequence[Node]) -> tuple[Members, Callable[[Node], Member]]:
    """Give the nodes of a pool, and a way to make members of it."""
    demand, fleet = a_demand(LLAMA_8B), a_fleet(nodes)
    classes = Classes(demand, fleet)
    none = Members(fleet, classes, UsableGpus(demand.needs, emptied=False), {})
    member: Callable[[Node], Member] = lambda node: Member(node, classes.of(node))  # noqa: E731
    return none.changed(fleet, [(None, member(node)) for node in fleet.nodes]), member


def test_nodes_are_found_by_name_in_the_fleet_of_the_latest_change() -> None:
    nodes = h100s(3)
    members, member = members_of(nodes)
    after = nodes[1]._replace(free=2)
    fleet = a_fleet(nodes).with_nodes([after])
    changed = members.changed(fleet, [(member(nodes[1]), member(after))])
    assert (members.node("h100-01").free, changed.node("h100-01").free) == (8, 2)
    assert (members.free, changed.free) == (24, 18)
    assert changed.names is members.names
    assert [node.free for node in changed.nodes] == [8, 2, 8]
    assert [node.free for node in members.nodes] == [8, 8, 8]


def test_nodes_that_come_and_go_keep_the_order_of_the_names() -> None:
    nodes = h100s(3)
    members, member = members_of(nodes)
    come = a_node("h100-005")
    left = Fleet((nodes[0], come, nodes[2]))
    changed = members.changed(left, [(member(nodes[1]), None), (None, member(come))])
    assert changed.names == ["h100-00", "h100-005", "h100-02"]
    assert members.names == ["h100-00", "h100-01", "h100-02"]
    assert sum(changed.counts.values()) == 3
    assert changed.alone == 3


def test_nodes_of_a_fleet_in_any_order_are_found() -> None:
    """A fleet made by hand."""
    members, _ = members_of(h100s(3))
    mixed = members.changed(Fleet(tuple(reversed(h100s(3)))), [])
    assert [node.name for node in mixed.nodes] == ["h100-00", "h100-01", "h100-02"]
    assert mixed.node("h100-02").name == "h100-02"
