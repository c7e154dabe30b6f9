"""The objects that connect a model with add-ons of the cluster: who routes requests to it, and who scales it.

Every kind has a module. The modules keep the protocol ``Attachment``, and no other module needs to know them apart.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from shardwise.domain.attachments import AttachmentSite, ScalerKind
from shardwise.domain.digest import json_digest
from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.render import autoscaler, http_route, inference_pool, scaled_object
from shardwise.render.manifest import REVISION, Manifest, common_labels, metadata
from shardwise.render.names import serving_name


class Attachment(Protocol):
    """The module of a kind of attachment: four constants and two functions."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """The name of the add-on that brings the kind, as people write it."""

    @property
    def API_VERSION(self) -> str:  # noqa: N802 - as above
        """The API that the cluster must serve, as group and version."""

    @property
    def KIND(self) -> str:  # noqa: N802 - as above
        """The kind."""

    @property
    def FIELD(self) -> str:  # noqa: N802 - as above
        """The field of an object that asks for the attachment."""

    def is_wanted(self, wanted: Wanted, /) -> bool:
        """Tell whether an object asks for the attachment on this cluster."""

    def spec(self, wanted: Wanted, plan: Plan, /) -> Manifest:
        """Make the spec of the attachment for an object that asks for it."""


ATTACHMENTS: Final[Mapping[str, Attachment]] = {
    module.KIND: module for module in (inference_pool, http_route, scaled_object, autoscaler)
}
"""Every kind of attachment, by its name, in the order in which they are made."""


def attachments(wanted: Wanted, plan: Plan) -> Iterator[Manifest]:
    """Make the attachments that an object asks for. They are named like the Service for clients."""
    for kind, module in ATTACHMENTS.items():
        if module.is_wanted(wanted):
            made = module.spec(wanted, plan)
            labels = common_labels(wanted.launch) | {REVISION: json_digest(made)}
            found = metadata(wanted.launch.owner, serving_name(wanted.launch.owner.name), labels)
            yield {"apiVersion": module.API_VERSION, "kind": kind, "metadata": found, "spec": made}


def kinds_read(site: AttachmentSite) -> tuple[str, ...]:
    """Name the kinds that the configuration of the operator lets objects ask for: no other kinds are read."""
    scaler = None if site.scaler is None else site.scaler.kind
    read = {
        inference_pool.KIND: site.inference_pools,
        http_route.KIND: bool(site.gateways),
        scaled_object.KIND: scaler is ScalerKind.KEDA,
        autoscaler.KIND: scaler is ScalerKind.AUTOSCALER,
    }
    return tuple(kind for kind in ATTACHMENTS if read[kind])
