"""The release of the engine that an object starts: its own field, or the image's tag, or the release we read."""

from shardwise.domain.engine import IMAGES, RELEASES, EngineName
from shardwise.domain.launch import EngineContainer, LaunchSite, Wanted
from shardwise.domain.version import Version, parse_version, version_of_image


def image_of(wanted: Wanted, default: str) -> str:
    """Give the image: the object's, else the operator's for this engine, else the default."""
    return named_image(wanted.launch.container, wanted.site, wanted.demand.engine) or default


def release_of(wanted: Wanted, read: Version) -> Version:
    """Give the release of the engine. ``read`` is assumed if neither the object nor the image's tag names a release."""
    return named_release(wanted.launch.container, wanted.site, wanted.demand.engine) or read


def named_image(container: EngineContainer, site: LaunchSite, engine: EngineName) -> str | None:
    """Give the image that the object or the operator's configuration names."""
    return container.image or site.image(engine)


def named_release(container: EngineContainer, site: LaunchSite, engine: EngineName) -> Version | None:
    """Give the release that the object or the tag of a named image states."""
    said = parse_version(container.version) if container.version is not None else None
    return said or version_of_image(named_image(container, site, engine) or "")


def is_published(image: str | None, engine: EngineName) -> bool:
    """Tell whether an image is the engine's published image, from whatever registry: it has the engine's own name.

    ``registry.local/vllm/vllm-openai:v0.20.0`` is. An image of another name may hold further model classes and methods.
    """
    if image is None:
        return True
    published = _repository(IMAGES[engine])
    named = _repository(image)
    return named == published or named.endswith(f"/{published}")


def is_read(release: Version | None, engine: EngineName) -> bool:
    """Tell whether a release is not newer than the release we read. ``None`` is that release."""
    return release is None or release <= RELEASES[engine]


def _repository(image: str) -> str:
    path, slash, name = image.partition("@")[0].rpartition("/")
    return f"{path}{slash}{name.partition(':')[0]}"
