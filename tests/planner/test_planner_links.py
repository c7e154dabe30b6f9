"""Links against what two H200 of one host measured (tests/data/h200-collectives.json)."""

import json
from typing import Any

import pytest
from tests.support.fleets import H200, L40S
from tests.support.models import DATA

from shardwise.domain.hardware import GB, GpuKind, gpu_kind
from shardwise.planner.links import (
    CUSTOM_LIMIT,
    CUSTOM_START,
    CUSTOM_START_PER_GPU,
    NCCL_START,
    NVLINK_SHARE,
    Links,
    all_reduce_seconds,
    ring_seconds,
    send_seconds,
)

MEASURED: dict[str, Any] = json.loads((DATA / "h200-collectives.json").read_text())["kib"]
ONE_WAY = 18 * 26.6 * GB
"""NV18 at 26.6 GB/s a link: what these two cards have where the data sheet says 450."""

ON_NVLINK = Links(gpu_kind(H200), tensor_on_nvlink=True, stages_in_domain=True)
ACROSS = Links(gpu_kind(H200), tensor_on_nvlink=False, stages_in_domain=False)
ON_PCIE = Links(gpu_kind(L40S), tensor_on_nvlink=False, stages_in_domain=True)
FITTED = {"nvlink": (NCCL_START, NVLINK_SHARE * ONE_WAY), "shm": (40e-6, 28.5 * GB), "tcp": (120e-6, 4.4 * GB)}
"""Start and bus of each kind of link: the planner's constants for NVLink, what the others show."""

LARGE = [(link, kib) for link in FITTED for kib in ("1024", "4096", "16384", "65536", "262144")]


@pytest.mark.parametrize(("link", "kib"), LARGE)
def test_a_start_and_a_share_of_the_bus_time_an_all_reduce(link: str, kib: str) -> None:
    """Within 15 %, for messages from 1 MiB to 256 MiB, over each kind of link."""
    measured = MEASURED[link]["allreduce_us"][kib] * 1e-6
    assert ring_seconds(int(kib) * 1024, 2, *FITTED[link]) == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("kib", ["65536", "262144"])
def test_a_send_over_nvlink_takes_what_was_measured(kib: str) -> None:
    measured = MEASURED["nvlink"]["sendrecv_us"][kib] * 1e-6
    assert send_seconds(int(kib) * 1024, ON_NVLINK) == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize(("gpus", "start"), [(2, 7.2e-6), (4, 8.4e-6), (8, 10.8e-6)])
def test_small_messages_over_nvlink_go_through_the_engines_own_kernels(gpus: int, start: float) -> None:
    """They start several times sooner than NCCL: one token's activations are small."""
    assert pytest.approx(start) == CUSTOM_START + gpus * CUSTOM_START_PER_GPU
    assert all_reduce_seconds(1, gpus, ON_NVLINK) == pytest.approx(start, rel=0.01)
    assert all_reduce_seconds(CUSTOM_LIMIT + 1, gpus, ON_NVLINK) > NCCL_START


def test_pcie_gets_slower_with_every_gpu_that_shares_it() -> None:
    times = [all_reduce_seconds(2**20, gpus, ON_PCIE) for gpus in (2, 4, 8, 16)]
    assert times == sorted(times)
    assert times[2] > 8 * times[0]


def test_a_network_is_slower_than_nvlink_for_sends_too() -> None:
    assert send_seconds(2**20, ACROSS) > 5 * send_seconds(2**20, ON_NVLINK)


def test_an_unknown_product_is_joined_by_pcie() -> None:
    kind = gpu_kind("NVIDIA-Unheard-Of")
    assert isinstance(kind, GpuKind)
    links = Links(kind, tensor_on_nvlink=True, stages_in_domain=True)
    assert all_reduce_seconds(2**20, 2, links) == all_reduce_seconds(2**20, 2, ON_PCIE)
