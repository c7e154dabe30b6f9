"""The Lease that says which of several operators acts. An operator that does not hold it does nothing.

Whether a holder is still there is told by whether its renewals arrive, by our own steady clock: clocks of machines
differ, so that the times in a Lease are never compared with ours. docs/decisions/0023 says why this is our own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from shardwise.cluster.client import Cluster
from shardwise.cluster.errors import ClusterError
from shardwise.observe.kinds import LEASE

LEASE_SECONDS: Final = 9
"""How long a Lease is good for without being renewed."""

RENEW_SECONDS: Final = 2.0
"""How often it is renewed, and looked at by those that wait."""

GIVE_UP_SECONDS: Final = 6.0
"""How long a holder that cannot renew goes on acting: shorter than the Lease, or two would act."""

Json = dict[str, Any]


@dataclass
class Lease:
    """A candidate's view of the Lease. ``steady`` is a clock that only goes forward, in seconds."""

    cluster: Cluster
    namespace: str
    name: str
    identity: str
    steady: Callable[[], float]
    _seen: tuple[str, float] = ("", 0.0)

    async def try_to_hold(self) -> bool:
        """Take the Lease, or renew it; tell whether it is held now. Raises :class:`ClusterError` without an answer.

        Every write is bound to the version that was read: if two try at once, the second gets a conflict.
        """
        found = await self._read()
        if found is None:
            return await self._written(self._fresh(0, ""), create=True)
        spec = found.get("spec") or {}
        mine = spec.get("holderIdentity") == self.identity
        if not mine and spec.get("holderIdentity") and not self._expired(found):
            return False
        transitions = int(spec.get("leaseTransitions") or 0) + (0 if mine else 1)
        wanted = self._fresh(transitions, spec.get("acquireTime") if mine else "")
        return await self._written(wanted | {"metadata": found["metadata"]})

    async def let_go(self) -> None:
        """Give the Lease up, if it is ours, so that the next need not wait for it to expire."""
        found = await self._read()
        if found is None or (found.get("spec") or {}).get("holderIdentity") != self.identity:
            return
        released = found["spec"] | {"holderIdentity": "", "renewTime": _now()}
        await self._written(found | {"spec": released})

    async def _read(self) -> Json | None:
        try:
            return await self.cluster.get(LEASE, self.namespace, self.name)
        except ClusterError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        return None

    def _expired(self, found: Json) -> bool:
        """Tell whether a Lease has not changed for as long as it is good for, since we first saw it so."""
        version = str(found["metadata"].get("resourceVersion"))
        if version != self._seen[0]:
            self._seen = (version, self.steady())
        seconds = float((found.get("spec") or {}).get("leaseDurationSeconds") or LEASE_SECONDS)
        return self.steady() - self._seen[1] >= seconds

    def _fresh(self, transitions: int, acquired: str | None) -> Json:
        now = _now()
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": acquired or now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        metadata = {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}

    async def _written(self, lease: Json, *, create: bool = False) -> bool:
        try:
            await self.cluster.write(lease, create=create)
        except ClusterError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return False
        return True


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
