"""The steps of the demo: launch four models, break a rank and see the group restart, delete an object."""

import asyncio
import logging
import shlex
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from shardwise.cli.terminal import console
from shardwise.domain.units import plural
from shardwise.inventory import gpu_request
from shardwise.render.manifest import INDEX
from shardwise_sandbox.demo.documents import object_documents
from shardwise_sandbox.demo.session import NAMESPACE, DemoFailed, DemoSession, check, running_session

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """The layout of an object on the sample fleet by the rules of the sharding guide, and its number of nodes."""

    tensor: int
    pipeline: int
    nodes: int


EXPECTED: Final = {
    "llama-8b": Expected(tensor=1, pipeline=1, nodes=1),
    "llama-70b": Expected(tensor=2, pipeline=1, nodes=1),
    "llama-405b": Expected(tensor=8, pipeline=2, nodes=2),
    "deepseek-r1": Expected(tensor=8, pipeline=1, nodes=2),
}
_BROKEN: Final = "llama-405b"
_DELETED: Final = "deepseek-r1"
_WIDE: Final = 200
"""The width in columns of a table that is not written to a terminal."""


def play(*, keep: bool) -> int:
    """Run the demo. Return 0 if every step succeeds, or 1 after printing the failed check."""
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("kopf").setLevel(logging.ERROR)
    screen = console()
    try:
        asyncio.run(_play(keep=keep))
    except DemoFailed as error:
        screen.print(f"\ndemo failed: {error}", style="bold red")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


async def _play(*, keep: bool) -> None:
    screen = console()
    async with running_session(screen) as session:
        _show_fleet(session)
        for document in object_documents():
            await _launch(session, document)
        _show_pods(session)
        await _break_and_heal(session)
        await _delete(session)
        screen.print(
            "\nthe demo succeeded: 4 models planned and launched, 1 group healed, 1 model deleted", style="bold"
        )
        if keep:
            await _stay(session)


def _title(session: DemoSession, text: str) -> None:
    session.screen.print(f"\n── {text}", style="bold cyan")


def _show_fleet(session: DemoSession) -> None:
    _title(session, "the fleet")
    table = _table("node", "GPUs", "product", "NVLink domain")
    for node in session.cluster.list("nodes"):
        labels = node["metadata"]["labels"]
        domain = labels.get("nvidia.com/gpu.clique", "the node itself")
        gpus = node["status"]["allocatable"]["nvidia.com/gpu"]
        table.add_row(node["metadata"]["name"], gpus, labels["nvidia.com/gpu.product"], domain)
    _print(session, table)


async def _launch(session: DemoSession, document: Json) -> None:
    name = document["metadata"]["name"]
    spec = document["spec"]
    _title(session, f"apply {name}: {spec['model']['name']}, at most {plural(spec['gpuBudget']['total'], 'GPU')}")
    session.cluster.create(document)
    status = await session.follow_until_ready(name)
    _show_plan(session, status["plan"])
    _check_plan(name, status["plan"], session.pods(name))


def _show_plan(session: DemoSession, plan: Json) -> None:
    memory = plan["memory"]
    gib = {key: f"{value / 2**30:.1f} GiB" for key, value in memory.items()}
    session.screen.print(f"  why      {plan['because']}")
    session.screen.print(
        f"  memory   {gib['needed']} of {gib['budget']} a GPU: weights {gib['weights']}, KV cache {gib['kvCache']}, "
        f"activations {gib['activations']}, reserve {gib['reserve']}"
    )
    for alternative in plan["alternatives"][:5]:
        layout = f"TP{alternative['tensor']}×PP{alternative['pipeline']}{' EP' if alternative['expert'] else ''}"
        session.screen.print(f"  instead  {layout} on {alternative['product']}: {alternative['reason']}", style="dim")
    more = plan["alternativesTotal"] - len(plan["alternatives"][:5])
    if more > 0:
        session.screen.print(f"           and {more} more", style="dim")


def _check_plan(name: str, plan: Json, pods: list[Json]) -> None:
    expected = EXPECTED[name]
    found = Expected(plan["tensor"], plan["pipeline"], len({pod["spec"]["nodeName"] for pod in pods}))
    check(found == expected, f"{name}: expected {expected}, found {found}")
    gpus = sum(gpu_request(pod) for pod in pods)
    check(gpus == plan["worldSize"], f"{name}: its pods hold {gpus} GPUs, its plan has {plan['worldSize']}")
    ranks = sorted(rank for pod in pods for rank in _ranks(pod))
    check(ranks == list(range(plan["worldSize"])), f"{name}: the pods have the ranks {ranks}")


def _ranks(pod: Json) -> range:
    first, last = pod["metadata"]["annotations"]["shardwise.dev/ranks"].split("-")
    return range(int(first), int(last) + 1)


def _show_pods(session: DemoSession) -> None:
    _title(session, "the pods and their commands")
    table = _table("pod", "node", "GPUs", "ranks", "phase")
    commands = []
    for pod in session.cluster.list("pods", NAMESPACE):
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        ranks = pod["metadata"]["annotations"]["shardwise.dev/ranks"]
        table.add_row(name, pod["spec"]["nodeName"], str(gpu_request(pod)), ranks, pod["status"]["phase"])
        commands.append((name, shlex.join([*container["command"], *container["args"]])))
    _print(session, table)
    for name, command in commands:
        session.screen.print(f"  {name}: {command}")


async def _break_and_heal(session: DemoSession) -> None:
    victim = next(pod for pod in session.pods(_BROKEN) if pod["metadata"]["labels"][INDEX] == "1")["metadata"]
    _title(session, f"kill a rank: the engine of {victim['name']} exits with code 1")
    before = {pod["metadata"]["uid"] for pod in session.pods(_BROKEN)}
    session.cluster.kubelet.fail(NAMESPACE, victim["name"], exit_code=1, message="CUDA error: uncorrectable ECC error")
    status = await session.follow_until_ready(_BROKEN, restarts=1)
    pods = session.pods(_BROKEN)
    attempts = [group["attempt"] for group in status["groups"]]
    check(attempts == [1], f"{_BROKEN}: expected attempt 1, found {attempts}")
    check(not before & {pod["metadata"]["uid"] for pod in pods}, f"{_BROKEN}: a pod of the failed attempt still exists")
    _check_plan(_BROKEN, status["plan"], pods)
    session.screen.print(f"  healed as attempt 1: {', '.join(_names(pods))}")
    for event in session.cluster.list("events", NAMESPACE):
        if event["involvedObject"]["name"] == _BROKEN:
            session.screen.print(f"  event    {event['reason']}: {event['message']}", style="dim")


async def _delete(session: DemoSession) -> None:
    _title(session, f"delete {_DELETED}")
    session.cluster.delete("ShardedModel", NAMESPACE, _DELETED)
    await session.wait_clean(_DELETED)
    left = session.cluster.names("pods", NAMESPACE)
    check(not any(name.startswith(_DELETED) for name in left), f"pods of {_DELETED} still exist: {left}")
    session.screen.print(f"  all its pods and Services are gone; other pods keep running: {', '.join(left)}")


async def _stay(session: DemoSession) -> None:
    _title(session, "the API runs until you press ctrl-C")
    session.screen.print(f"  export KUBECONFIG={session.kubeconfig}\n  kubectl get shardedmodels,pods")
    # A signal ends the operator: kopf has installed the signal handlers.
    await asyncio.wait({session.operator})


def _names(objects: list[Json]) -> list[str]:
    return [obj["metadata"]["name"] for obj in objects]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _print(session: DemoSession, table: Table) -> None:
    session.screen.print(table, width=None if session.screen.is_terminal else _WIDE)
