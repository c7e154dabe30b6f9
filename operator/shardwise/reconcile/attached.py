"""The attachments of an object: what is made, mended and deleted of them, and what keeps one away.

A missing add-on keeps nothing else back: clients that reach the Service are served meanwhile.
"""

from collections.abc import Iterator

from shardwise.domain.launch import Wanted
from shardwise.domain.plan import Plan
from shardwise.domain.reasons import Reason
from shardwise.domain.units import plural
from shardwise.reconcile.actions import Action, Delete
from shardwise.reconcile.mender import Mender
from shardwise.reconcile.observed import AttachmentsSeen
from shardwise.render.attachments import ATTACHMENTS, attachments
from shardwise.render.names import serving_name
from shardwise.render.scaling import affordable


def attached(wanted: Wanted, plan: Plan | None, seen: AttachmentsSeen, mender: Mender) -> Iterator[Action]:
    """Make, mend and delete attachments. Without a plan their content is unknown, and those that are there stay."""
    for manifest in attachments(wanted, plan) if plan is not None else ():
        if manifest["kind"] not in seen.missing:
            live = {name: obj for (kind, name), obj in seen.present.items() if kind == manifest["kind"]}
            yield from mender.kept(manifest, live)
    for (kind, name), obj in sorted(seen.present.items()):
        if not ATTACHMENTS[kind].is_wanted(wanted) or name != serving_name(wanted.launch.owner.name):
            yield Delete(kind, name, obj["metadata"].get("uid", ""), ATTACHMENTS[kind].API_VERSION)


def unattached(wanted: Wanted, plan: Plan | None, missing: frozenset[str]) -> Iterator[tuple[Reason, str]]:
    """Say which attachments an object lacks, and whether its scaler may ask for fewer replicas than it shall."""
    lacking = [module for kind, module in ATTACHMENTS.items() if kind in missing and module.is_wanted(wanted)]
    if lacking:
        said = (f"`{module.FIELD}` asks for {module.KIND} of `{module.API_VERSION}`" for module in lacking)
        names = " and ".join(module.NAME for module in lacking)
        yield Reason.ADD_ON_MISSING, f"{', and '.join(said)}, which the cluster does not serve; install {names}"
    scaling = wanted.launch.scaling
    if scaling is not None and plan is not None and scaling.least > affordable(wanted, plan):
        gpus, total = plan.layout.world_size, wanted.demand.gpu_budget
        allowed = f"`spec.gpuBudget.total` of {plural(total, 'GPU')} allows {affordable(wanted, plan)}"
        asked = f"`spec.scaling.min` asks for {scaling.least} replicas of {plural(gpus, 'GPU')} each"
        yield Reason.SCALING_LIMITED, f"{asked}, {allowed}"
