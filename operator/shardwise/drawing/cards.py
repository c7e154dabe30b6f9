"""An NVLink domain as a card: its name, its free GPUs, and a row of GPUs for each of its nodes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from shardwise.domain.occupancy import Holding, Occupied, totals
from shardwise.drawing.colours import FREE, ink_on
from shardwise.drawing.marks import ALARM, CARD, FAINT, LINE, element, shortened, text, tooltip
from shardwise.explain.exclusions import exclusion_with_detail


@dataclass(frozen=True, slots=True)
class Style:
    """Sizes in pixels. ``cell`` is the side of a GPU, ``gap`` the space between GPUs. Small GPUs show no ranks."""

    cell: float
    gap: float
    colours: Mapping[str, str]
    planned: bool

    @property
    def step(self) -> float:
        """The distance between two neighbouring GPUs."""
        return self.cell + self.gap

    def colour(self, holding: Holding) -> str:
        """Give the colour of a holder."""
        return self.colours.get(holding.by, FAINT)


PADDING = 9.0
TITLE = 17.0
_CHARACTER = 5.9
"""Width of a character of a node's name, about."""


@dataclass(frozen=True, slots=True)
class Card:
    """A domain to draw. ``places`` names its places. A node that is its own domain needs no name beside its GPUs."""

    name: str
    places: str
    nodes: tuple[Occupied, ...]

    @property
    def alone(self) -> bool:
        """Whether the domain is a single node with the same name."""
        return len(self.nodes) == 1 and self.nodes[0].node.name == self.name

    def width(self, style: Style) -> float:
        """Give the width of the card."""
        row = self._names() + max(occupied.node.gpus for occupied in self.nodes) * style.step - style.gap
        return 2 * PADDING + max(row, 88.0)

    def height(self, style: Style) -> float:
        """Give the height of the card."""
        return 2 * PADDING + TITLE + (11 if self.places else 0) + len(self.nodes) * style.step - style.gap

    def _names(self) -> float:
        if self.alone:
            return 0.0
        return 8 + _CHARACTER * max(len(shortened(occupied.node.name, 22)) for occupied in self.nodes)

    def draw(self, x: float, y: float, width: float, style: Style) -> str:
        """Draw the card with its upper left corner at a place."""
        counted = totals(self.nodes)
        room = int((width - 2 * PADDING - 36) / 7.4)
        frame = element("rect", width=width, height=self.height(style), rx=6, fill=CARD, stroke=LINE)
        head = [
            text(PADDING, PADDING + 10, shortened(self.name, max(room, 8)), class_="name"),
            text(width - PADDING, PADDING + 10, f"{counted.free}/{counted.gpus}", class_="count", text_anchor="end"),
        ]
        if self.places:
            head.append(text(PADDING, PADDING + 22, shortened(self.places, int(width / 5.2)), class_="place"))
        rows = self._rows(PADDING + TITLE + (11 if self.places else 0), style)
        return element("g", chain([frame, *head], rows), transform=f"translate({x:g},{y:g})")

    def _rows(self, top: float, style: Style) -> Iterator[str]:
        names = self._names()
        for index, occupied in enumerate(self.nodes):
            y = top + index * style.step
            if not self.alone:
                kind = "node" if occupied.node.exclusion is None else "node out"
                yield text(PADDING, y + style.cell / 2 + 3.2, shortened(occupied.node.name, 22), class_=kind)
            yield from gpus_of(occupied, PADDING + names, y, style)


def gpus_of(occupied: Occupied, x: float, y: float, style: Style) -> Iterator[str]:
    """Draw the GPUs of a node in a row: held GPUs first, then free GPUs, then GPUs that nobody may use."""
    cells = [cell for holding in occupied.holdings for cell in _held(holding)][: occupied.node.gpus]
    for index, (holding, rank) in enumerate(cells):
        yield _held_gpu(x + index * style.step, y, occupied, holding, rank, style)
    for index in range(len(cells), occupied.node.gpus):
        free = index < len(cells) + occupied.free
        yield _empty_gpu(x + index * style.step, y, occupied, style, free=free)


def _held(holding: Holding) -> Iterator[tuple[Holding, int | None]]:
    if holding.ranks:
        return ((holding, rank) for rank in holding.ranks)
    return ((holding, None) for _ in range(holding.gpus))


def _held_gpu(x: float, y: float, occupied: Occupied, holding: Holding, rank: int | None, style: Style) -> str:
    dimmed = style.planned and rank is None
    stage = 0 if rank is None or not holding.tensor else rank // holding.tensor
    square = element(
        "rect",
        x=x,
        y=y,
        width=style.cell,
        height=style.cell,
        rx=style.cell / 5,
        fill=style.colour(holding),
        opacity=0.3 if dimmed else 1 - 0.3 * (stage % 2),
    )
    parts = [tooltip(_said(occupied, holding, rank, stage)), square]
    if rank is not None and style.cell >= 14:  # noqa: PLR2004 - a number is readable in squares of this size
        middle = x + style.cell / 2
        ink = f"fill:{ink_on(style.colour(holding))}"
        parts.append(text(middle, y + style.cell / 2 + 3, str(rank), class_="rank", text_anchor="middle", style=ink))
    return element("g", parts)


def _said(occupied: Occupied, holding: Holding, rank: int | None, stage: int) -> str:
    who = holding.by or "others"
    if rank is None:
        return f"{occupied.node.name}: {who}"
    return f"{occupied.node.name}: {who}, replica {holding.replica}, stage {stage}, rank {rank}"


def _empty_gpu(x: float, y: float, occupied: Occupied, style: Style, *, free: bool) -> str:
    why = "free" if free else exclusion_with_detail(occupied)
    square = element(
        "rect",
        x=x + 0.5,
        y=y + 0.5,
        width=style.cell - 1,
        height=style.cell - 1,
        rx=style.cell / 5,
        fill=FREE if free else "url(#out)",
        stroke="#b9c4cf" if free else ALARM,
    )
    return element("g", [tooltip(f"{occupied.node.name}: {why}"), square])


def cards(fleet: Sequence[Occupied], levels: Sequence[str]) -> Iterator[Card]:
    """Make a card for each domain, in the order of the topology."""
    found: dict[str, list[Occupied]] = {}
    for occupied in fleet:
        found.setdefault(occupied.node.domain, []).append(occupied)
    for name, nodes in found.items():
        places = zip(levels, nodes[0].node.places, strict=False)
        yield Card(name, " · ".join(f"{level} {place}" for level, place in places if place), tuple(nodes))
