"""The documentation site: every page is in its navigation, and its links lead somewhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.support.repository import ROOT

from shardwise.domain.reasons import Reason
from shardwise.domain.refusal import RefusalReason
from shardwise.explain.reason_links import PAGE, anchor
from shardwise_sandbox import reason_page
from shardwise_sandbox.site_links import outside

DOCS = ROOT / "docs"
REPOSITORY = "https://example.com/r"
ELSEWHERE = ("decisions", "runbooks")
"""Folders whose pages are found by links and by the search."""


Entries = str | list["Entries"] | dict[str, "Entries"]
"""The navigation: pages, groups of entries, and entries with a title."""


def _named(entries: Entries) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    else:
        for entry in entries.values() if isinstance(entries, dict) else entries:
            yield from _named(entry)


def test_the_navigation_names_every_page_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    named = list(_named(yaml.safe_load(text)["nav"]))
    pages = (path.relative_to(DOCS) for path in DOCS.rglob("*.md"))
    assert sorted(named) == sorted(path.as_posix() for path in pages if path.parts[0] not in ELSEWHERE)


LINKS: dict[str, tuple[str, str, str]] = {
    "to a page": ("rules.md", "[a](fleet.md)", "[a](fleet.md)"),
    "to a place of a page": ("platforms/eks.md", "[a](../fleet.md#x)", "[a](../fleet.md#x)"),
    "to the same page": ("rules.md", "[a](#x)", "[a](#x)"),
    "to another site": ("rules.md", "[a](https://example.com)", "[a](https://example.com)"),
    "to a file of the repository": ("rules.md", "[a](../SECURITY.md)", f"[a]({REPOSITORY}/blob/main/SECURITY.md)"),
    "to a place of that file": ("rules.md", "[a](../SECURITY.md#x)", f"[a]({REPOSITORY}/blob/main/SECURITY.md#x)"),
    "to a folder of the repository": ("pods.md", "[a](../crds)", f"[a]({REPOSITORY}/tree/main/crds)"),
    "to a folder of the documents": ("rules.md", "[a](decisions)", f"[a]({REPOSITORY}/tree/main/docs/decisions)"),
    "a picture": ("index.md", "![a](demo.svg)", "![a](demo.svg)"),
}


@pytest.mark.parametrize(("page", "markdown", "expected"), LINKS.values(), ids=LINKS)
def test_a_link_that_leaves_the_documents_leads_to_the_repository(page: str, markdown: str, expected: str) -> None:
    assert outside(markdown, page, REPOSITORY, Path(ROOT)) == expected


def test_each_reason_has_the_place_on_its_page_to_which_messages_link() -> None:
    assert PAGE.endswith(f"/{reason_page.PATH}")
    text = (ROOT / reason_page.PATH).read_text()
    assert [reason for reason in (*Reason, *RefusalReason) if text.count(f'<a id="{anchor(reason)}">') != 1] == []
