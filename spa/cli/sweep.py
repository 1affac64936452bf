"""`spa sweep`: ratio or speed against drift, size and latency, or a search for the best model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from spa.cli import files, values
from spa.cli import options as declare
from spa.cli.shell import Answer, Task, command
from spa.errors import UsageError
from spa.events import Callback
from spa.storage import check_place, replaced

if TYPE_CHECKING:
    from spa.reports.schema import Kind
    from spa.reports.sweep import Sweep

WRITTEN: Mapping[str, Kind] = {"csv": "table", "plot": "plot"}
OUTPUT = "Where the best model that passes goes; without it none is written."
TRYING = (
    declare.option(
        "How much",
        "--ratios",
        type=values.numbers("0.1,0.2,0.3"),
        metavar="A,B,C",
        help="Shares to try, each between 0 and 1.  Default: a search for the largest that passes "
        "--max-drift, or --check with --max-drop or --min-score.",
    ),
    declare.option(
        "How much",
        "--speedups",
        type=values.numbers("1.25,1.5,2"),
        metavar="A,B,C",
        help="Speed-ups to try, each above 1, in place of shares: branches and widths are chosen "
        "together, by the clock of this machine.",
    ),
    declare.option(
        "How much",
        "--fastest",
        is_flag=True,
        help="Search by speed: the fastest model that passes, in place of the smallest.",
    ),
    declare.option(
        "How much",
        "--precision",
        type=float,
        help="How finely a search looks: a share (0.01 by default), or a step of speed (0.05).",
    ),
)
DRAWING = (
    declare.option(
        "Output", "--csv", metavar="FILE", type=click.Path(), help="Write the table as CSV."
    ),
    declare.option(
        "Output",
        "--plot",
        metavar="FILE.(svg|html|png)",
        type=click.Path(),
        help="Draw what is lost against what is gone.",
    ),
)


@command(
    "sweep",
    TRYING,
    declare.recipe(*declare.SECTIONS, without=("ratio", "speedup")),
    declare.RESUME,
    declare.CONFIG,
    declare.SET,
    declare.output(OUTPUT),
    declare.FORCE,
    DRAWING,
    declare.TIMEOUT,
)
@click.argument("source", metavar="INPUT")
def sweep(source: str, **options: Any) -> Task:
    """Try several ratios or speeds on one model, or find the best that passes its gates.

    INPUT is an ONNX file, or - for stdin.  It is read and scored once for all of them.

    Example: spa sweep model.onnx --ratios 0.1,0.2,0.3,0.4,0.5 --plot sweep.svg

    Example: spa sweep model.onnx --speedups 1.25,1.5,2 --threads 1 --plot sweep.html

    Example: spa sweep model.onnx --max-drift 0.1 -o small.onnx
    """
    files.check(options, source, output=options["output"])
    output, force = options["output"], options["force"]
    written = {Path(options[name]): kind for name, kind in WRITTEN.items() if options[name]}

    def work(callback: Callback) -> Answer:
        recipe = declare.recipe_of(options)
        if output == files.STREAM:
            raise UsageError("a sweep writes no model to standard output; give -o FILE")
        if output is not None:
            files.check_output(output, force=force)
        for path in written:
            check_place(path, "the file", force=True)
        from spa.reports import sweep as report
        from spa.reports import sweep_plot

        if options["plot"]:
            sweep_plot.check_path(options["plot"])
        from spa import pipeline

        same = ("fastest", "precision", "output", "force", "resume")
        asked = {name: options[name] for name in same}
        asked |= {name: options[name] or () for name in ("ratios", "speedups")}
        found = pipeline.sweep(files.model_from(source), recipe, callback, **asked)
        made = cast("Sweep", found.report)
        if options["csv"]:
            table = report.to_csv(made).encode("utf-8", "replace")
            replaced(Path(options["csv"]), table, "the table", "name another file")
        if options["plot"]:
            drawn = sweep_plot.drawn(made, options["plot"])
            replaced(Path(options["plot"]), drawn, "the plot", "name another file")
        return Answer(made, made["exit_code"])

    return Task(work, "sweep_text:summary", source, written=written)
