"""Digests that name content: the same content has the same name, on every machine and at any time."""

import hashlib
import json
from typing import Final

DIGITS: Final = 10
"""Hexadecimal digits of a digest, unless a caller says otherwise."""


def text_digest(text: str, digits: int = DIGITS) -> str:
    """Give the first hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def json_digest(content: object, digits: int = DIGITS) -> str:
    """Give the digest of JSON content, whatever the order of its keys. Raises ``TypeError`` for other content."""
    return text_digest(json.dumps(content, sort_keys=True), digits)
