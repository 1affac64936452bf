"""Small pieces of every screen; names are always Text, so that brackets in them stay brackets."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from spa.reports import wording

STYLES = {"good": "green", "bad": "red", "warning": "yellow", "dim": "dim", "title": "bold"}
LABEL_WIDTH = 10


def text(words: object, tone: str = "plain") -> Text:
    """One printable line in one tone."""
    return Text(wording.printable(words), style=STYLES.get(tone, ""))


def line(label: str, words: object, tone: str = "plain") -> Table:
    """A labelled line below a table; long words continue under themselves."""
    made = Table.grid()
    made.add_column(width=LABEL_WIDTH, style="bold")
    made.add_column(overflow="fold")
    made.add_row(Text(label), text(words, tone))
    return made


def table(*heads: str, left: int = 1, title: str | None = None) -> Table:
    """A table whose first `left` columns are words and the others numbers."""
    made = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        show_edge=False,
        show_header=any(heads),
        pad_edge=False,
        header_style="bold",
    )
    for index, head in enumerate(heads):
        made.add_column(head, justify="left" if index < left else "right", overflow="fold")
    return made


def filled(made: Table, lines: Sequence[Sequence[object]]) -> Padding:
    """Fill a table; a Text keeps its style, anything else becomes printable text."""
    for each in lines:
        made.add_row(*(cell if isinstance(cell, Text) else text(cell) for cell in each))
    return Padding(made, (0, 0, 1, 0), expand=False)
