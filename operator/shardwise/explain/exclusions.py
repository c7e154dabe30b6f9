"""Why nodes are left out, in words."""

from collections.abc import Iterable, Sequence
from typing import Final, assert_never

from shardwise.domain.exclusions import (
    ClaimsUnread,
    LeftOut,
    Mismatch,
    NoFlavor,
    NoLabel,
    NoPlace,
    OtherVendor,
    TooSmall,
    Untolerated,
)
from shardwise.domain.fleet import Exclusion
from shardwise.domain.needs import DISK
from shardwise.domain.occupancy import Occupied
from shardwise.domain.units import amount_text

_EXCLUSIONS: Final = {
    Exclusion.NO_GPUS: "has no GPUs",
    Exclusion.OFFERS_NONE: "offers none of its GPUs",
    Exclusion.NO_PRODUCT: "lacks the label of its GPU product",
    Exclusion.NO_MEMORY: "lacks the label of its GPU memory",
    Exclusion.MIXED: "has GPUs of several products",
    Exclusion.UNSETTLED: "changes its GPU product back and forth",
    Exclusion.SHARED: "shares its GPUs (time-slicing, MPS, HAMi or DRA)",
    Exclusion.PARTITIONED: "has its GPUs in MIG partitions",
    Exclusion.NOT_READY: "is not Ready",
    Exclusion.CORDONED: "is cordoned",
    Exclusion.FAULTY: "reports a GPU fault",
    Exclusion.NO_DEVICES: "offers no GPUs of the DeviceClass of `launch.gpuClaims`",
    Exclusion.CLASS_UNREAD: "has GPUs, and the DeviceClass of `launch.gpuClaims` cannot be read",
    Exclusion.INCOMPLETE: "has not published all ResourceSlices of its GPUs",
    Exclusion.TAINTED: "has taints on all of its GPUs",
    Exclusion.TWO_ALLOCATORS: "has GPUs that a device plugin and DRA both give to pods",
}

_MISMATCHES: Final = {
    Mismatch.UNLISTED_PRODUCT: "has a product that `spec.gpuBudget.products` does not list",
    Mismatch.OTHER_PRODUCT: "has another product than the plan",
    Mismatch.NODE_SELECTOR: "does not match `spec.placement.nodeSelector`",
    Mismatch.NODE_AFFINITY: "does not match `spec.placement.nodeAffinity`",
}

_OTHER_CACHE: Final = " (fetched weights need none in a cache that is no emptyDir)"

_PLURALS: Final = {
    "changes": "change",
    "counts": "count",
    "has": "have",
    "is": "are",
    "lacks": "lack",
    "offers": "offer",
    "does": "do",
    "reports": "report",
    "shares": "share",
}


def exclusion(why: LeftOut, nodes: int = 1) -> str:
    """Say why a node, or several nodes, are left out. The words follow the name of the node, or the count."""
    said = _of_a_node(why)
    if nodes == 1:
        return said
    verb, _, rest = said.partition(" ")
    return f"{_PLURALS.get(verb, verb)} {rest.replace('its ', 'their ')}"


def exclusion_with_detail(occupied: Occupied) -> str:
    """Say why nobody may use a node, and which label or condition shows it; empty for a usable node."""
    node = occupied.node
    if node.exclusion is None:
        return ""
    return exclusion(node.exclusion) + (f" ({node.detail})" if node.detail else "")


def worded(excluded: Iterable[tuple[LeftOut, int]]) -> list[tuple[str, int]]:
    """Give the words of each reason for a node, with the count of nodes, in the order of the words."""
    return sorted((exclusion(why), count) for why, count in excluded)


def _of_a_node(why: LeftOut) -> str:
    match why:
        case Exclusion():
            return _EXCLUSIONS[why]
        case Mismatch():
            return _MISMATCHES[why]
        case TooSmall() | ClaimsUnread():
            return _of_resources(why)
        case OtherVendor() | NoPlace() | NoLabel() | NoFlavor() | Untolerated():
            return _of_labels(why)
        case _:
            assert_never(why)


def _of_resources(why: TooSmall | ClaimsUnread) -> str:
    match why:
        case TooSmall(resource, asked, offered):
            counts = f"{amount_text(resource, asked)} asked for a pod, {amount_text(resource, offered)} allocatable"
            return f"offers too little `{resource}`: {counts}{_OTHER_CACHE if resource == DISK else ''}"
        case ClaimsUnread(resource):
            return f"counts no GPUs as allocatable `{resource}`, and nothing is known of its ResourceSlices"


def _of_labels(why: OtherVendor | NoPlace | NoLabel | NoFlavor | Untolerated) -> str:
    match why:
        case OtherVendor(resource):
            return f"offers {resource}: `spec.gpuBudget.products` must list it, `spec.engine.image` run on it"
        case NoPlace(level):
            return f"has no place at the level `{level}` of `spec.placement.within`"
        case NoLabel(label, levels):
            known = f", and no level has this name (known are {', '.join(levels)})" if levels else ""
            return f"lacks the label `{label}` of `spec.placement.within`{known}"
        case NoFlavor(queue, labels):
            return f"is in no flavour of the queue `{queue}` ({_some(labels)})"
        case Untolerated(taint):
            return f"has the taint `{taint.key}={taint.value}:{taint.effect}`"


def _some(labels: Sequence[str]) -> str:
    """List the labels of some flavours."""
    more = f" or of {len(labels) - _LISTED} more" if len(labels) > _LISTED else ""
    return " or ".join(f"`{label}`" for label in labels[:_LISTED]) + more


_LISTED: Final = 3
