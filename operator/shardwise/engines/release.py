"""The release of the engine that an object starts: its own field, or the image's tag, or the release we read."""

from shardwise.domain.launch import Wanted
from shardwise.domain.version import Version, parse_version, version_of_image


def image_of(wanted: Wanted, default: str) -> str:
    """Give the image: the object's, else the operator's for this engine, else the default."""
    return wanted.launch.container.image or wanted.site.image(wanted.demand.engine) or default


def release_of(wanted: Wanted, read: Version) -> Version:
    """Give the release of the engine. ``read`` is assumed if neither the object nor the image's tag names a release."""
    said = parse_version(wanted.launch.container.version) if wanted.launch.container.version is not None else None
    return said or version_of_image(image_of(wanted, "")) or read
