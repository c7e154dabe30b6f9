"""The demo's acts: plan and launch four models, break one and see it healed, delete one and see it gone."""

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
from shardwise_sandbox.demo.scene import object_documents
from shardwise_sandbox.demo.stage import NAMESPACE, Failed, Stage, check, staged

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """The layout the sharding guide's rules give an object on the sample fleet, and how many nodes it spans."""

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
"""Columns of a table in a pipe, where there is no terminal to ask."""


def play(*, keep: bool) -> int:
    """Play the demo. Give 0 when all of it really happened, else 1 after saying what did not."""
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("kopf").setLevel(logging.ERROR)
    screen = console()
    try:
        asyncio.run(_play(keep=keep))
    except Failed as error:
        screen.print(f"\ndemo failed: {error}", style="bold red")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


async def _play(*, keep: bool) -> None:
    screen = console()
    async with staged(screen) as stage:
        _show_fleet(stage)
        for document in object_documents():
            await _launch(stage, document)
        _show_pods(stage)
        await _break_and_heal(stage)
        await _delete(stage)
        screen.print(
            "\nall of it happened: 4 models planned and launched, 1 group healed, 1 model deleted", style="bold"
        )
        if keep:
            await _stay(stage)


def _title(stage: Stage, text: str) -> None:
    stage.screen.print(f"\n── {text}", style="bold cyan")


def _show_fleet(stage: Stage) -> None:
    _title(stage, "the fleet")
    table = _table("node", "GPUs", "product", "NVLink domain")
    for node in stage.cluster.list("nodes"):
        labels = node["metadata"]["labels"]
        domain = labels.get("nvidia.com/gpu.clique", "the node itself")
        gpus = node["status"]["allocatable"]["nvidia.com/gpu"]
        table.add_row(node["metadata"]["name"], gpus, labels["nvidia.com/gpu.product"], domain)
    _print(stage, table)


async def _launch(stage: Stage, document: Json) -> None:
    name = document["metadata"]["name"]
    spec = document["spec"]
    _title(stage, f"apply {name}: {spec['model']['name']}, at most {plural(spec['gpuBudget']['total'], 'GPU')}")
    stage.cluster.create(document)
    status = await stage.follow_until_ready(name)
    _show_plan(stage, status["plan"])
    _check_plan(name, status["plan"], stage.pods(name))


def _show_plan(stage: Stage, plan: Json) -> None:
    memory = plan["memory"]
    gib = {key: f"{value / 2**30:.1f} GiB" for key, value in memory.items()}
    stage.screen.print(f"  why      {plan['because']}")
    stage.screen.print(
        f"  memory   {gib['needed']} of {gib['budget']} a GPU: weights {gib['weights']}, KV cache {gib['kvCache']}, "
        f"activations {gib['activations']}, reserve {gib['reserve']}"
    )
    for one in plan["alternatives"][:5]:
        layout = f"TP{one['tensor']}×PP{one['pipeline']}{' EP' if one['expert'] else ''}"
        stage.screen.print(f"  instead  {layout} on {one['product']}: {one['reason']}", style="dim")
    more = plan["alternativesTotal"] - len(plan["alternatives"][:5])
    if more > 0:
        stage.screen.print(f"           and {more} others", style="dim")


def _check_plan(name: str, plan: Json, pods: list[Json]) -> None:
    expected = EXPECTED[name]
    found = Expected(plan["tensor"], plan["pipeline"], len({pod["spec"]["nodeName"] for pod in pods}))
    check(found == expected, f"{name}: {expected} was expected, {found} is there")
    gpus = sum(gpu_request(pod) for pod in pods)
    check(gpus == plan["worldSize"], f"{name}: its pods hold {gpus} GPUs, its plan {plan['worldSize']}")
    ranks = sorted(rank for pod in pods for rank in _ranks(pod))
    check(ranks == list(range(plan["worldSize"])), f"{name}: ranks {ranks}")


def _ranks(pod: Json) -> range:
    first, last = pod["metadata"]["annotations"]["shardwise.dev/ranks"].split("-")
    return range(int(first), int(last) + 1)


def _show_pods(stage: Stage) -> None:
    _title(stage, "the pods and what they run")
    table = _table("pod", "node", "GPUs", "ranks", "phase")
    commands = []
    for pod in stage.cluster.list("pods", NAMESPACE):
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        ranks = pod["metadata"]["annotations"]["shardwise.dev/ranks"]
        table.add_row(name, pod["spec"]["nodeName"], str(gpu_request(pod)), ranks, pod["status"]["phase"])
        commands.append((name, shlex.join([*container["command"], *container["args"]])))
    _print(stage, table)
    for name, command in commands:
        stage.screen.print(f"  {name}: {command}")


async def _break_and_heal(stage: Stage) -> None:
    victim = next(pod for pod in stage.pods(_BROKEN) if pod["metadata"]["labels"][INDEX] == "1")["metadata"]
    _title(stage, f"kill a rank: the engine of {victim['name']} exits 1")
    before = {pod["metadata"]["uid"] for pod in stage.pods(_BROKEN)}
    stage.cluster.kubelet.fail(NAMESPACE, victim["name"], exit_code=1, message="CUDA error: uncorrectable ECC error")
    status = await stage.follow_until_ready(_BROKEN, restarts=1)
    pods = stage.pods(_BROKEN)
    attempts = [group["attempt"] for group in status["groups"]]
    check(attempts == [1], f"{_BROKEN}: attempts {attempts}, 1 was expected")
    check(not before & {pod["metadata"]["uid"] for pod in pods}, f"{_BROKEN}: a pod of the broken attempt is left")
    _check_plan(_BROKEN, status["plan"], pods)
    stage.screen.print(f"  healed as attempt 1: {', '.join(_names(pods))}")
    for event in stage.cluster.list("events", NAMESPACE):
        if event["involvedObject"]["name"] == _BROKEN:
            stage.screen.print(f"  event    {event['reason']}: {event['message']}", style="dim")


async def _delete(stage: Stage) -> None:
    _title(stage, f"delete {_DELETED}")
    stage.cluster.delete("ShardedModel", NAMESPACE, _DELETED)
    await stage.wait_clean(_DELETED)
    left = stage.cluster.names("pods", NAMESPACE)
    check(not any(name.startswith(_DELETED) for name in left), f"pods of {_DELETED} are left: {left}")
    stage.screen.print(f"  nothing of it is left; still there: {', '.join(left)}")


async def _stay(stage: Stage) -> None:
    _title(stage, "the API stays up until you press ctrl-C")
    stage.screen.print(f"  export KUBECONFIG={stage.kubeconfig}\n  kubectl get shardedmodels,pods")
    # The operator ends when the process is told to: its signal handlers are kopf's.
    await asyncio.wait({stage.operator})


def _names(objects: list[Json]) -> list[str]:
    return [one["metadata"]["name"] for one in objects]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _print(stage: Stage, table: Table) -> None:
    stage.screen.print(table, width=None if stage.screen.is_terminal else _WIDE)
