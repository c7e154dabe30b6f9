"""The network of process kubelets: a bridge on this machine, and an address on it for each pod.

Addresses are of 198.18.0.0/15, which RFC 2544 keeps for tests: nobody outside has them.
"""

import itertools
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

_NETWORKS: Final = 512
_LAST_HOST: Final = 254


@dataclass
class Network:
    """A bridge with its own /24, taken when it is made. ``close`` gives it back."""

    number: int = field(init=False)
    _hosts: Iterator[int] = field(init=False, default_factory=lambda: itertools.cycle(range(2, _LAST_HOST + 1)))
    _used: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.number = next(number for number in range(_NETWORKS) if _taken(f"shardwise{number}"))
        _ip(f"addr add {self.prefix}.1/24 dev {self.bridge}", f"link set {self.bridge} up")

    @property
    def bridge(self) -> str:
        """Name the bridge. Only one process can make a link of a name, so a network has one owner."""
        return f"shardwise{self.number}"

    @property
    def prefix(self) -> str:
        """Give the first three numbers of its addresses."""
        return f"198.{18 + self.number // 256}.{self.number % 256}"

    def new_address(self) -> str:
        """Give an address that no pod has, and that none had for the longest time."""
        address = next(found for host in self._hosts if (found := f"{self.prefix}.{host}") not in self._used)
        self._used.add(address)
        return address

    def give_back(self, address: str) -> None:
        """Let an address be used again."""
        self._used.discard(address)

    def join(self, process: int, address: str) -> None:
        """Connect the network namespace of a process, with an address. The link goes with the namespace."""
        link = f"sw{process}"  # the kernel removes links of ended pods a while later
        _ip(
            f"link add {link} type veth peer name eth0 netns {process}",
            f"link set {link} master {self.bridge} up",
        )
        inside = ("nsenter", f"--target={process}", "--net")
        _ip(f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up", by=inside)

    def close(self) -> None:
        """Remove the bridge."""
        _ip(f"link del {self.bridge}")


def _taken(name: str) -> bool:
    made = subprocess.run(("ip", "link", "add", name, "type", "bridge"), capture_output=True, text=True, check=False)  # noqa: S603, S607 - our own words
    if made.returncode and "exists" not in made.stderr:
        raise OSError(f"no bridge {name}: {made.stderr.strip()}")
    return made.returncode == 0


def _ip(*commands: str, by: Sequence[str] = ()) -> None:
    subprocess.run((*by, "ip", "-batch", "-"), input="\n".join(commands), text=True, check=True)  # noqa: S603 - as above
