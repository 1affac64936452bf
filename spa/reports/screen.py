"""Small pieces of every screen; names are always Text, so that brackets in them stay brackets."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import JustifyMethod
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from spa.reports import wording
from spa.reports.wording import Cell, Table

STYLES = {"good": "green", "bad": "red", "warning": "yellow", "dim": "dim", "title": "bold"}
LABEL_WIDTH = 10


def text(words: object, tone: str | None = None) -> Text:
    """One printable line in one tone: the one given, or that of a cell."""
    tone = tone or (words.kind if isinstance(words, Cell) else "plain")
    return Text(wording.printable(words), style=STYLES.get(tone, ""))


def line(label: str, words: object, tone: str | None = None) -> Grid:
    """A labelled line below a table; long words continue under themselves."""
    made = Grid.grid()
    made.add_column(width=LABEL_WIDTH, style="bold")
    made.add_column(overflow="fold")
    made.add_row(Text(label), text(words, tone))
    return made


def lines(label: str, words: Iterable[object], tone: str | None = None) -> list[Grid]:
    """Several of them, of which the first has the label."""
    return [line("" if k else label, each, tone) for k, each in enumerate(words)]


def shown(table: Table, title: str | None = None) -> Padding:
    """A table; its cells become printable text of their tone."""
    made = Grid(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        show_edge=False,
        show_header=any(table.heads),
        pad_edge=False,
        header_style="bold",
    )
    for index, head in enumerate(table.heads):
        side: JustifyMethod = "left" if index < table.left else "right"
        made.add_column(head, justify=side, overflow="fold")
    for row in table.rows:
        made.add_row(*map(text, row))
    return Padding(made, (0, 0, 1, 0), expand=False)
