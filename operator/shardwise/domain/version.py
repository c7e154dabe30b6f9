"""Releases of engines, as numbers that can be compared."""

import re
from typing import Final, TypeAlias

Version: TypeAlias = tuple[int, int, int]
"""Major, minor, patch. A suffix (``rc1``, ``.post2``) is left out."""

VERSION_PATTERN: Final = r"^v?[0-9]+\.[0-9]+(\.[0-9]+)?([.+-]?[A-Za-z][0-9A-Za-z.+-]*)?$"
"""The form of a release: ``0.33.0``, ``v0.11.1``, ``0.5.6.post2``, ``1.2.0rc1``."""

_NUMBERS: Final = re.compile(r"v?([0-9]+)\.([0-9]+)(?:\.([0-9]+))?")


def parse_version(text: str) -> Version | None:
    """Parse the number of a release; ``None`` for other texts, such as ``latest``."""
    found = _NUMBERS.match(text)
    if found is None or re.fullmatch(VERSION_PATTERN, text) is None:
        return None
    major, minor, patch = found.groups()
    return int(major), int(minor), int(patch or 0)


def listed_version(text: str, file: str) -> Version:
    """Parse the number of a release that a data file lists. Raises ``ValueError`` for other texts."""
    found = parse_version(text)
    if found is None:
        raise ValueError(f"{file}: `{text}` is no release")
    return found


def dotted(version: Version) -> str:
    """Write a release as people do: ``0.33.0``."""
    return ".".join(str(part) for part in version)


def version_of_image(image: str) -> Version | None:
    """Parse the release in an image tag: ``registry:5000/vllm-openai:v0.11.2-cu128`` gives 0.11.2, a digest none."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return parse_version(tag)
