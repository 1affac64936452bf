"""Draw the pictures of the documents from real runs on a carried model.

    pictures.py [groups curves widths run ...]

groups: which axes of which weights are one group of channels.  curves: what removing the cheapest
channels of each group costs.  widths: what is left of each group.  run: `spa prune` on a screen.
They land in docs/pictures; all but the last have the same sizes whatever the figures are.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import spa

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "pictures"
MODEL = ROOT / "models" / "fashion.onnx"
RATIOS = (0.25, 0.5)
COLOURS = (
    "#2f6fde", "#d9822b", "#147a48", "#b8336a", "#7a5195", "#0f8b8d", "#8a6d1d", "#c0392b",
    "#5d6878", "#3f88c5",
)  # fmt: skip
STYLE = """
text { font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1b2330; }
.dim { fill: #5d6878; } .head { font-weight: bold; } .on { fill: #ffffff; }
.grid { stroke: #e2e6ec; } .axis { stroke: #5d6878; } .curve { fill: none; stroke-width: 2; }
"""


def tag(name: str, words: str = "", **attributes: object) -> str:
    """An element of SVG; underscores in names of attributes stand for hyphens."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{value}"' for key, value in attributes.items()
    )
    return f"<{name}{told}>{escape(words)}</{name}>" if words else f"<{name}{told}/>"


def picture(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """A whole file; it has a ground of its own, so that it can be read on a dark page."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">'
    )
    ground = tag("rect", width=width, height=height, rx=6, fill="#ffffff")
    top = tag("text", title, x=16, y=26, class_="head")
    return "\n".join([head, f"<style>{STYLE}</style>", ground, top, *parts, "</svg>"]) + "\n"


@cache
def inspected() -> dict[str, Any]:
    """The groups of the model."""
    return spa.inspect(MODEL)


def colour(group: int | None) -> str:
    """A group's colour, the same in every picture."""
    return "#c9ced6" if group is None else COLOURS[group % len(COLOURS)]


# Groups


def groups() -> str:
    """Every weight of a convolution or linear layer: what it reads, what it makes."""
    found = {
        (member["tensor"], member["axis"]): number
        for number, group in enumerate(inspected()["groups"])
        for member in group["members"]
    }
    stored = {tensor.name: tensor.dims for tensor in onnx.load(MODEL).graph.initializer}
    nodes = [n for n in onnx.load(MODEL).graph.node if n.op_type in ("Conv", "Gemm")]
    parts = [
        tag("text", "channels read", x=250, y=52, class_="dim"),
        tag("text", "channels made", x=480, y=52, class_="dim"),
    ]
    for row, node in enumerate(nodes):
        name, y = node.input[1], 62 + 26 * row
        apart = any(a.name == "group" and a.i > 1 for a in node.attribute)  # depthwise, here
        parts.append(tag("text", name.removesuffix(".weight"), x=16, y=y + 15))
        words = "each its own" if apart else f"{stored[name][1]}"
        parts += half(250, y, found.get((name, 0 if apart else 1)), words)
        parts += half(480, y, found.get((name, 0)), f"{stored[name][0]}")
    height = 76 + 26 * len(nodes)
    title = f"{len(inspected()['groups'])} groups of channels in a residual network, a colour each"
    return picture(720, height, title, parts)


def half(x: int, y: int, group: int | None, words: str) -> Iterator[str]:
    """One axis of a weight."""
    yield tag("rect", x=x, y=y, width=222, height=20, rx=3, fill=colour(group))
    yield tag("text", words, x=x + 10, y=y + 14, class_="on" if group is not None else "dim")


# Curves


def curves() -> str:
    """What the cheapest channels of every group cost, in the unit that they are compared in."""
    from spa.events import quiet
    from spa.pipeline.context import Context
    from spa.pipeline.load import couple, load
    from spa.pipeline.score import score
    from spa.pipeline.settle import settle
    from spa.recipe import Recipe

    recipe, context = Recipe(scorer="obspa"), Context("plan", quiet)
    groups = couple(load(str(MODEL), recipe, context), recipe, context)
    ranked = score(groups, settle(groups, recipe, context), context)
    left, top, width, height, decades = 60, 48, 430, 300, 4
    lines = [
        np.concatenate([[0], np.sort(ranked.values[group.cells.ravel()]).cumsum()])
        for group in ranked.coupling.groups
    ]
    most = max(line[-1] for line in lines)
    parts = list(frame(left, top, width, height, decades))
    for number, (group, line) in enumerate(zip(ranked.coupling.groups, lines, strict=True)):
        x = left + width * np.arange(len(line)) / (len(line) - 1)
        y = top - height * np.log10(np.maximum(line / most, 10.0**-decades)) / decades
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        parts.append(tag("polyline", points=points, class_="curve", stroke=colour(number)))
        parts += legend(520, top + 8 + 22 * number, number, group.name)
    return picture(760, 400, "What channels cost, relative to the dearest group as a whole", parts)


def frame(left: int, top: int, width: int, height: int, decades: int) -> Iterator[str]:
    """Axes: shares from left to right, powers of ten from bottom to top."""
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + width * share
        yield tag("line", x1=x, x2=x, y1=top, y2=top + height, class_="grid")
        yield tag("text", f"{share:.0%}", x=x - 10, y=top + height + 18, class_="dim")
    for step in range(decades + 1):
        y = top + height * step / decades
        yield tag("line", x1=left, x2=left + width, y1=y, y2=y, class_="grid")
        yield tag("text", f"{10.0**-step:g}", x=12, y=y + 4, class_="dim")
    words = "share of a group that is removed, cheapest channels first"
    yield tag("text", words, x=left + 60, y=top + height + 38, class_="dim")


def legend(x: int, y: int, number: int, name: str) -> Iterator[str]:
    """A group's colour and name."""
    yield tag("rect", x=x, y=y, width=12, height=12, rx=2, fill=colour(number))
    yield tag("text", name.removesuffix(".weight"), x=x + 18, y=y + 11)


# Widths


def widths() -> str:
    """How many channels of every group are left, at several ratios."""
    runs = [spa.prune(MODEL, ratio=ratio).report["groups"] for ratio in RATIOS]
    parts = list(key(("before", *(f"-{ratio:.0%} MACs" for ratio in RATIOS))))
    most = max(group["channels_before"] for group in runs[0])
    for number, group in enumerate(runs[0]):
        y = 70 + 44 * number
        parts += legend(16, y + 8, number, group["name"])
        kept = [run[number]["channels_after"] for run in runs]
        for row, count in enumerate([group["channels_before"], *kept]):
            length = 420 * count / most
            at = {"x": 230, "y": y + 12 * row, "height": 10, "width": f"{length:.1f}"}
            parts.append(tag("rect", **at, fill=colour(number), opacity=(0.3, 0.65, 1)[row]))
            where = {"x": f"{236 + length:.1f}", "y": y + 9 + 12 * row}
            parts.append(tag("text", str(count), **where, class_="dim", style="font-size: 10px"))
    return picture(720, 84 + 44 * len(runs[0]), "Channels left in every group", parts)


def key(words: Sequence[str]) -> Iterator[str]:
    """What the strengths of a colour mean."""
    for number, each in enumerate(words):
        x = 230 + 130 * number
        fill = {"fill": "#5d6878", "opacity": (0.3, 0.65, 1)[number]}
        yield tag("rect", x=x, y=42, width=12, height=12, rx=2, **fill)
        yield tag("text", each, x=x + 18, y=53, class_="dim")


# A run


def run() -> str:
    """`spa prune` as a terminal shows it."""
    from rich.console import Console
    from rich.text import Text

    words = ["prune", "models/fashion.onnx", "--speedup", "1.5",
             "--calib", "models/fashion_calib.npz", "--threads", "1", "-o"]  # fmt: skip
    variables = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "100"}
    quiet = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CI")}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "slim.onnx"
        said = subprocess.run(
            [sys.executable, "-m", "spa", *words, str(place)],
            cwd=ROOT, env={**quiet, **variables}, capture_output=True, text=True, check=True,
        ).stdout.replace(str(place), "slim.onnx")  # fmt: skip
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=100, file=nowhere, force_terminal=True)
        console.print(Text(f"$ spa {' '.join(words)} slim.onnx\n", "bold"))
        console.print(Text.from_ansi(said.rstrip()))
    drawn = console.export_svg(title="spa", unique_id="spa")
    return re.sub(r"@font-face \{.*?\}\n?|<!--.*?-->\n?", "", drawn, flags=re.DOTALL)


PICTURES = {"groups": groups, "curves": curves, "widths": widths, "run": run}


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*PICTURES, []], default=[])
    for name in parser.parse_args().names or PICTURES:
        path = FOLDER / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PICTURES[name](), encoding="utf-8")
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()
