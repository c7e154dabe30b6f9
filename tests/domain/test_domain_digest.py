"""Digests are names on clusters: another digit would restart what runs."""

import pytest

from shardwise.domain.digest import json_digest, text_digest


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param({"b": [1, None], "a": "é"}, "8920de3941", id="an object"),
        pytest.param({"a": "é", "b": [1, None]}, "8920de3941", id="the same object in another order"),
        pytest.param("uid-1", "c41c7c22b2", id="a text, as JSON writes it"),
    ],
)
def test_json_has_the_digest_it_had_in_every_version(content: object, expected: str) -> None:
    assert json_digest(content) == expected


def test_a_text_has_the_digest_it_had_in_every_version() -> None:
    """Of its UTF-8 bytes."""
    assert text_digest("uid/Reason/message é") == "e51225b27a"
    assert text_digest("a.b", 8) == "2e7336dc"
    assert json_digest("uid-1", 8) == "c41c7c22"
