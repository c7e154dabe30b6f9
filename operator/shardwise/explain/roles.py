"""Roles in words: how KV caches travel between the groups of an object."""

from shardwise.domain.roles import Half, RoleName


def transfer_text(connector: str, within: str | None) -> str:
    """Say how caches travel from one role to the other, and the part of the cluster that must hold both."""
    return f"KV caches go from prefill to decode by {connector}{_inside(within)}"


def half_text(half: Half) -> str:
    """Say from which groups the caches of a role come, or to which groups they go."""
    other = half.role.name.other
    way = "come from" if other is RoleName.PREFILL else "go to"
    layout = "" if half.other is None else f" ({half.other})"
    return f"KV caches {way} {other.value}{layout} by {half.role.connector.value}{_inside(half.role.within)}"


def _inside(within: str | None) -> str:
    return f"; all groups have the same `{within}`" if within else ""
