"""Tables in plain text, with aligned columns."""

from collections.abc import Collection, Sequence

_GAP = "  "


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Pad cells to the width of their column. Cells of the columns in ``right`` are aligned to the right.

    All rows must have the same number of cells. Columns that are empty in every row are left out. Lines do not end in
    blanks.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        _GAP.join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ).rstrip()
        for row in rows
    ]
