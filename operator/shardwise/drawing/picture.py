"""The whole picture: a heading, a legend of holders, a section for each GPU product, and why nodes are left out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from shardwise.domain.occupancy import Occupied, totals
from shardwise.domain.units import gib, plural
from shardwise.drawing.cards import Card, Style, cards
from shardwise.drawing.colours import FREE, colours
from shardwise.drawing.marks import ALARM, FAINT, INK, PAPER, element, shortened, text
from shardwise.explain.exclusions import exclusion_with_detail
from shardwise.planner.deal import natural

WIDTH: Final = 1200.0
MARGIN: Final = 28.0
_LARGE: Final = 300
"""From this number of nodes on, GPUs are drawn small."""
_LISTED: Final = 24
"""The most left-out nodes that are listed with their reason."""

_STYLE: Final = f"""
text{{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:{INK}}}
.title{{font-size:21px;font-weight:600}} .lead{{font-size:13px;fill:{FAINT}}}
.section{{font-size:14px;font-weight:600}} .legend,.why{{font-size:12px}}
.name{{font-size:11px;font-weight:600}} .count{{font-size:11px;fill:{FAINT}}} .place{{font-size:9px;fill:{FAINT}}}
.node{{font-size:10px}} .out{{fill:{ALARM}}} .rank{{font-size:8.5px;font-weight:600}}
"""


@dataclass(slots=True)
class _Page:
    """The marks drawn so far, and the height that they fill."""

    y: float = MARGIN
    marks: list[str] = field(default_factory=list)

    def write(self, words: str, kind: str, size: float, x: float = MARGIN) -> None:
        """Write a line with a height of ``size`` pixels."""
        self.y += size
        self.marks.append(text(x, self.y, words, class_=kind))


def draw(fleet: Sequence[Occupied], levels: Sequence[str], title: str, lead: str) -> str:
    """Draw a fleet as an SVG document of fixed width. Nodes must have GPUs. O(GPUs)."""
    page = _Page()
    page.write(title, "title", 20)
    page.write(lead, "lead", 21)
    page.y += 12
    planned = any(holding.ranks for occupied in fleet for holding in occupied.holdings)
    large = len(fleet) > _LARGE
    style = Style(9 if large else 17, 2 if large else 3, colours(_holders(fleet)), planned)
    _legend(page, fleet, style)
    for product, members in groupby(sorted(fleet, key=_order), lambda occupied: occupied.node.product):
        _section(page, product, list(members), levels, style)
    _left_out(page, fleet)
    return _document(page)


def _order(occupied: Occupied) -> tuple[object, ...]:
    places = tuple(natural(place) for place in reversed(occupied.node.places))
    return occupied.node.product, places, natural(occupied.node.domain), natural(occupied.node.name)


def _holders(fleet: Sequence[Occupied]) -> Counter[str]:
    found: Counter[str] = Counter()
    for occupied in fleet:
        for holding in occupied.holdings:
            found[holding.by] += holding.gpus
    return found


def _legend(page: _Page, fleet: Sequence[Occupied], style: Style) -> None:
    """Name every colour, filling each line."""
    held = _holders(fleet)
    counted = totals(fleet)
    named = [
        (style.colours[by], f"{by or 'others'} ({held[by]})", "none")
        for by in sorted(held, key=lambda by: (not by, by))
    ]
    named.append((FREE, f"free ({counted.free})", "#b9c4cf"))
    if counted.lost:
        named.append(("url(#out)", f"left out ({counted.lost})", ALARM))
    x = MARGIN
    for fill, words, stroke in named:
        width = 30 + 6.6 * len(words)
        if x + width > WIDTH - MARGIN:
            x, page.y = MARGIN, page.y + 21
        page.marks.append(element("rect", x=x, y=page.y, width=13, height=13, rx=3, fill=fill, stroke=stroke))
        page.marks.append(text(x + 19, page.y + 10.5, words, class_="legend"))
        x += width
    page.y += 13


def _section(page: _Page, product: str, nodes: list[Occupied], levels: Sequence[str], style: Style) -> None:
    counted = totals(nodes)
    page.y += 22
    memory = gib(nodes[0].node.memory) if nodes[0].node.memory else "unknown memory"
    said = f"{plural(len(nodes), 'node')}, {counted.free} of {plural(counted.gpus, 'GPU')} free, {memory} each"
    page.write(f"{product or 'No product label'} — {said}", "section", 12)
    page.y += 11
    drawn = list(cards(nodes, levels))
    width = max(card.width(style) for card in drawn)
    columns = max(1, int((WIDTH - 2 * MARGIN + 10) // (width + 10)))
    for start in range(0, len(drawn), columns):
        _shelf(page, drawn[start : start + columns], width, style)


def _shelf(page: _Page, row: Sequence[Card], width: float, style: Style) -> None:
    for index, card in enumerate(row):
        page.marks.append(card.draw(MARGIN + index * (width + 10), page.y, width, style))
    page.y += max(card.height(style) for card in row) + 10


def _left_out(page: _Page, fleet: Sequence[Occupied]) -> None:
    out = [occupied for occupied in fleet if occupied.node.exclusion is not None]
    if not out:
        return
    page.y += 12
    page.write(f"Left out: {plural(len(out), 'node')}", "section", 12)
    page.y += 4
    for line in _reasons(out):
        page.write(line, "why", 19)
    if len(out) > _LISTED:
        page.write(f"and {plural(len(out) - _LISTED, 'other')}", "why", 19)


def _reasons(out: Sequence[Occupied]) -> Iterator[str]:
    for occupied in sorted(out, key=lambda occupied: natural(occupied.node.name))[:_LISTED]:
        yield shortened(f"{occupied.node.name} {exclusion_with_detail(occupied)}", 150)


def _document(page: _Page) -> str:
    height = page.y + MARGIN
    hatch = element(
        "pattern",
        [
            element("rect", width=5, height=5, fill="#fdecea"),
            element("line", x1=0, y1=0, x2=0, y2=5, stroke=ALARM, stroke_width=1.6),
        ],
        id="out",
        width=5,
        height=5,
        patternUnits="userSpaceOnUse",
        patternTransform="rotate(45)",
    )
    paper = element("rect", width=WIDTH, height=height, fill=PAPER)
    inside = [element("style", [_STYLE]), element("defs", [hatch]), paper, *page.marks]
    return (
        element(
            "svg",
            inside,
            xmlns="http://www.w3.org/2000/svg",
            width=WIDTH,
            height=round(height),
            viewBox=f"0 0 {WIDTH:g} {round(height)}",
            role="img",
        )
        + "\n"
    )
