"""The fleet in words and as data."""

from tests.support.fleets import a_node, gb200_rack

from shardwise.domain.fleet import Exclusion
from shardwise.domain.occupancy import Holding, Occupied, Totals, totals
from shardwise.explain.fleet_report import fleet_document, fleet_text, summary, with_gpus

TRAYS = [Occupied(tray) for tray in gb200_rack(2)]
HGX = Occupied(a_node("hgx-1", places=("z1",)), (Holding("default/llama", 4), Holding("", 1)))
BROKEN = Occupied(
    a_node("hgx-2", free=0, exclusion=Exclusion.FAULTY)._replace(detail="GpuMemWatch", places=("",)),
    (Holding("default/llama", 3),),
)
CPU = Occupied(a_node("cpu", gpus=0, exclusion=Exclusion.NO_GPUS))
FLEET = [CPU, HGX, BROKEN, *TRAYS]


def test_the_fleet_is_said_node_by_node() -> None:
    """To the letter: it is what people read."""
    assert fleet_text(FLEET, ("zone",)).splitlines() == [
        "4 nodes, 24 GPUs: 11 free, 8 held, 5 left out",
        "NVIDIA-GB200 (185.0 GiB a GPU): 2 nodes, 8 GPUs: 8 free",
        "  NVLink domain rack-0: 2 nodes, 8 GPUs: 8 free",
        "    rack-0-tray-00  □□□□      4 of 4 free",
        "    rack-0-tray-01  □□□□      4 of 4 free",
        "NVIDIA-H100-80GB-HBM3 (79.6 GiB a GPU): 2 nodes, 16 GPUs: 3 free, 8 held, 5 left out",
        "  hgx-1           ■■■■■□□□  3 of 8 free   default/llama 4   others 1   in zone z1",
        "  hgx-2           ■■■×××××  0 of 8 free   default/llama 3   reports a GPU fault (GpuMemWatch)",
        "and 1 node without GPUs",
    ]


def test_an_empty_fleet_is_said() -> None:
    assert fleet_text([], ()) == "0 nodes, 0 GPUs: 0 free"
    assert fleet_text([CPU], ()).splitlines() == ["0 nodes, 0 GPUs: 0 free", "and 1 node without GPUs"]


def test_the_document_holds_all_of_it() -> None:
    document = fleet_document(FLEET, ("zone",))
    assert document["totals"] == {
        "nodes": 4,
        "nodesWithoutGpus": 1,
        "gpus": 24,
        "free": 11,
        "held": 8,
        "lost": 5,
    }
    assert document["domains"][0] == {
        "name": "rack-0",
        "product": "NVIDIA-GB200",
        "nodes": ["rack-0-tray-00", "rack-0-tray-01"],
        "gpus": 8,
        "free": 8,
        "held": 0,
        "lost": 0,
    }
    by_name = {node["name"]: node for node in document["nodes"]}
    assert by_name["hgx-1"]["held"] == [{"by": "default/llama", "gpus": 4}, {"by": None, "gpus": 1}]
    assert by_name["hgx-1"]["places"] == {"zone": "z1"}
    assert by_name["hgx-1"]["excluded"] is None
    assert by_name["hgx-2"]["excluded"] == {"reason": "reports a GPU fault", "detail": "GpuMemWatch"}
    assert "cpu" not in by_name


def test_gpus_are_free_held_or_lost() -> None:
    assert totals([HGX, BROKEN]) == Totals(gpus=16, free=3, held=8, lost=5)
    assert summary([HGX]) == "1 node, 8 GPUs: 3 free, 5 held"


def test_of_a_node_that_lost_gpus_more_may_be_held_than_there_are() -> None:
    """A GPU broke under a running pod: the device plugin offers seven, eight are held."""
    node = Occupied(a_node("n", gpus=7), (Holding("a/b", 8),))
    assert (node.free, node.lost) == (0, 0)
    assert "■■■■■■■  0 of 7 free   a/b 8" in fleet_text([node], ())


def test_nodes_without_gpus_are_passed_over() -> None:
    assert with_gpus(FLEET) == [HGX, BROKEN, *TRAYS]
