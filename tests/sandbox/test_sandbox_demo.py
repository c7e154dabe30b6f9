"""``python -m shardwise_sandbox demo``: the real operator on an in-memory cluster, from command line to exit status."""

import json
import logging
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.cli.support import Json, Ran, changed, finished, process, sandbox, shardwise

from shardwise_sandbox.demo import fleet_documents, object_documents
from shardwise_sandbox.demo.play import EXPECTED, Expected

PLAY = sys.modules["shardwise_sandbox.demo.play"]
FILES = ["1-llama-8b.yaml", "2-llama-70b.yaml", "3-llama-405b.yaml", "4-deepseek-r1.yaml", "fleet.yaml"]


@pytest.fixture(autouse=True, scope="module")
def _own_logs() -> Iterator[None]:
    """Restore the log level, which the demo sets for its process."""
    before = logging.getLogger("kopf").level
    yield
    logging.getLogger("kopf").setLevel(before)


@pytest.fixture(scope="module")
def played() -> Ran:
    """Run the demo once, in this process."""
    return sandbox("demo")


def after(ran: Ran, title: str) -> list[str]:
    """Return the lines under a title."""
    _, _, rest = ran.out.partition(f"── {title}")
    return [line.strip() for line in rest.partition("\n──")[0].splitlines()[1:]]


def test_the_demo_passes_and_says_what_happened(played: Ran) -> None:
    """Its last line sums up its checks."""
    assert (played.status, played.err) == (0, "")
    assert played.out.endswith(
        "\n\nthe demo succeeded: 4 models planned and launched, 1 group healed, 1 model deleted\n"
    )


def test_the_acts_come_in_order(played: Ran) -> None:
    """Fleet, four objects, pods, the broken rank, the deletion."""
    titles = [line.removeprefix("── ") for line in played.out.splitlines() if line.startswith("── ")]
    assert titles == [
        "the fleet",
        "apply llama-8b: meta-llama/Llama-3.1-8B-Instruct, at most 1 GPU",
        "apply llama-70b: meta-llama/Llama-3.1-70B-Instruct, at most 8 GPUs",
        "apply llama-405b: meta-llama/Llama-3.1-405B-Instruct, at most 16 GPUs",
        "apply deepseek-r1: deepseek-ai/DeepSeek-R1, at most 8 GPUs",
        "the pods and their commands",
        "kill a rank: the engine of llama-405b-0-0-1 exits with code 1",
        "delete deepseek-r1",
    ]


def test_the_fleet_is_shown_with_its_nvlink_domains(played: Ran) -> None:
    """The trays of a rack share a domain; each HGX node has its own."""
    rows = [line.split(maxsplit=3) for line in after(played, "the fleet")]
    assert ["h100-1", "8", "NVIDIA-H100-80GB-HBM3", "the node itself"] in rows
    cliques = {row[3] for row in rows if row and row[0].startswith("gb200-")}
    assert len(cliques) == 1


@pytest.mark.parametrize(
    ("name", "placed"),
    [
        ("llama-8b", "TP1×PP1 on 1 NVIDIA-L40S (l40s-1); rule 1: "),
        ("llama-70b", "TP2×PP1 on 2 NVIDIA-GB200 (gb200-r1-t1); rule 2: "),
        ("llama-405b", "TP8×PP2 on 16 NVIDIA-H100-80GB-HBM3 (h100-1, h100-2); rule 3: "),
        ("deepseek-r1", "TP8×PP1 on 8 NVIDIA-GB200 (gb200-r1-t2, gb200-r1-t3); rule 4: "),
    ],
)
def test_each_object_is_placed_and_serves(played: Ran, name: str, placed: str) -> None:
    """Each object shows the rule of the guide that chose its layout, its reason and its memory."""
    lines = after(played, f"apply {name}:")
    assert any(line.startswith(f"{name}: 1 of 1 replicas serve: {placed}") for line in lines)
    assert any(line.startswith("why ") for line in lines)
    assert any(line.startswith("memory ") for line in lines)


def test_the_pods_are_shown_with_their_ranks_and_commands(played: Ran) -> None:
    """The largest model has eight ranks on each of two nodes; the second pod runs no HTTP server."""
    lines = after(played, "the pods")
    rows = [line.split() for line in lines]
    assert ["llama-405b-0-0-0", "h100-1", "8", "0-7", "Running"] in rows
    assert ["llama-405b-0-0-1", "h100-2", "8", "8-15", "Running"] in rows
    command = next(line for line in lines if line.startswith("llama-405b-0-0-1: vllm serve "))
    assert " --tensor-parallel-size 8 --pipeline-parallel-size 2 " in command
    assert " --headless" in command


def test_a_broken_rank_is_healed_as_a_whole_new_attempt(played: Ran) -> None:
    """Both pods are new, and the Event has the error."""
    lines = after(played, "kill a rank")
    assert "healed as attempt 1: llama-405b-0-1-0, llama-405b-0-1-1" in lines
    restarted = [line for line in lines if "GroupRestarted" in line]
    assert len(restarted) == 1
    assert "engine exited 1 (Error): CUDA error: uncorrectable ECC error" in restarted[0]


def test_a_deleted_object_leaves_nothing_and_the_others_alone(played: Ran) -> None:
    """The three others still run."""
    assert after(played, "delete deepseek-r1")[0] == (
        "all its pods and Services are gone; other pods keep running: "
        "llama-405b-0-1-0, llama-405b-0-1-1, llama-70b-0-0-0, llama-8b-0-0-0"
    )


def test_the_demo_plays_on_a_terminal_that_cannot_show_every_character() -> None:
    """Only the marks of titles and layouts get lost."""
    ran = sandbox("demo", encoding="ascii")
    assert ran.status == 0
    assert "llama-405b: 1 of 1 replicas serve: TP8?PP2 on 16 " in ran.out


def test_a_layout_that_differs_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the expected layout. No server stays behind."""
    monkeypatch.setitem(EXPECTED, "llama-8b", Expected(tensor=2, pipeline=1, nodes=1))
    ran = sandbox("demo")
    assert ran.status == 1
    assert "\ndemo failed: llama-8b: expected Expected(tensor=2, pipeline=1, nodes=1), found " in ran.out
    assert "apply llama-70b" not in ran.out


def test_an_object_that_stalls_fails_the_demo_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo does not wait until its time limit."""
    wrong: Json = changed(object_documents()[0], spec__engine={"args": ["--port=1"]})
    monkeypatch.setattr(PLAY, "object_documents", lambda: [wrong])
    ran = sandbox("demo")
    assert ran.status == 1
    assert "demo failed: llama-8b is stalled: " in ran.out
    assert "`spec.service.port`" in ran.out


def test_the_api_stays_up_when_kept_until_it_is_interrupted() -> None:
    """The printed kubeconfig works; ctrl-C ends the demo with status 0."""
    kept = process("demo", "--keep", program="shardwise_sandbox", env={"PYTHONUNBUFFERED": "1"})
    try:
        assert kept.stdout is not None
        line = next(line for line in kept.stdout if "export KUBECONFIG=" in line)
        config = yaml.safe_load(Path(line.strip().partition("=")[2]).read_text())
        server = config["clusters"][0]["cluster"]["server"]
        url = f"{server}/apis/shardwise.dev/v1alpha1/shardedmodels"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own address
            names = [pod["metadata"]["name"] for pod in json.load(answer)["items"]]
        assert names == ["llama-405b", "llama-70b", "llama-8b"]
        kept.send_signal(signal.SIGINT)
        ran = finished(kept)
    finally:
        kept.kill()
    assert ran.status == 0
    assert "Traceback" not in ran.err


def test_the_demos_files_are_written_to_be_planned(tmp_path: Path) -> None:
    """The command makes the folder, prints the paths, and runs no demo."""
    folder = tmp_path / "new" / "demo"
    ran = sandbox("demo", "--files", folder)
    assert ran == Ran(0, "".join(f"{folder / name}\n" for name in FILES), "")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [yaml.safe_load((folder / name).read_text()) for name in FILES[:4]] == object_documents()
    assert yaml.safe_load((folder / "fleet.yaml").read_text())["items"] == fleet_documents()
    assert shardwise("plan", "-f", folder, "--fleet", folder).status == 0


def test_files_may_be_written_again(tmp_path: Path) -> None:
    """New files replace files of the same names."""
    (tmp_path / FILES[0]).write_text("kind: Changed")
    assert sandbox("demo", "--files", tmp_path).status == 0
    assert yaml.safe_load((tmp_path / FILES[0]).read_text()) == object_documents()[0]


def test_a_folder_that_cannot_be_made_is_wrong_input(tmp_path: Path) -> None:
    """The message is a line that names the folder."""
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "demo"
    assert sandbox("demo", "--files", folder) == Ran(2, "", f"error: {folder} cannot be written: Not a directory\n")
