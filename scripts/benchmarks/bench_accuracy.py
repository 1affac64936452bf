"""Measure what pruning costs in accuracy: spa beside other methods and tools, as tables.

    bench_accuracy.py own                               # the carried model
    bench_accuracy.py cifar MODEL.onnx ... --data cifar.npz
    bench_accuracy.py imagenet MODEL.onnx ... --data sample.parquet
    bench_accuracy.py sts MODEL.onnx --data stsb.parquet --tokenizer tokenizer.json
    bench_accuracy.py drift MODEL.onnx ...              # no labels: outputs compared
    bench_accuracy.py cost MODEL.onnx ...               # seconds and memory

Data is a path; `accuracy/data.py` says what may lie there.  It is split once, by a fixed
permutation, into a part to tune on (`--split dev`) and a part to report (`--split report`, the
default); real inputs to fit on always come from the part that is not scored, or from --calib.
Needs only what spa needs, and pyarrow for .parquet, Pillow for pictures, tokenizers for text.
onnxsim and Torch-Pruning (with onnxsim, torch, torch-pruning and onnx2torch) run where
--peers-python says, their ratio searched for until the same share of MACs is gone.

Every entry of a table is measured in a process of its own and kept in --results, where later runs
find it, told apart by model, data, method, options, ratio and seed.  What failed is kept too
(--retry tries again); spa's sources may have changed since (--redo measures anew).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
if str(ROOT) not in sys.path:
    sys.path[:0] = [str(HERE), str(ROOT)]

from accuracy import cells, data, methods, tables  # noqa: E402
from accuracy.cells import Cell, Result  # noqa: E402

TASKS = ("own", "cifar", "imagenet", "sts", "drift", "cost")
MODES = {"drift": "drift", "cost": "cost"}
METHODS = {
    "drift": ("l1", "obspa"),
    "cost": ("obspa",),
    "sts": tuple(n.replace("onnxsim", "onnxsim-fixed") for n in methods.DEFAULT),
}
RATIOS = {"drift": (0.25,), "cost": (0.5,)}
OWN = ROOT / "models" / "fashion.onnx"
APART = 100_003
"""Between the seed of the inputs that were fitted on and that of those that measure drift."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("task", choices=TASKS)
    made.add_argument("models", nargs="*", type=Path, metavar="MODEL.onnx")
    _what(made.add_argument_group("what is compared").add_argument)
    _where(made.add_argument_group("data").add_argument)
    _how(made.add_argument_group("running").add_argument)
    return made


def _what(add: Any) -> None:
    add("--methods", nargs="+", metavar="NAME", help=", ".join(methods.METHODS))
    add("--variant", action="append", default=[], type=methods.variant,
        metavar="NAME=BASE,KEY=VALUE", help="a method of your own")  # fmt: skip
    add("--spa", type=methods.settings, default={}, metavar="KEY=VALUE,...",
        help="options of all methods of spa")  # fmt: skip
    add("--ratios", nargs="+", type=float, help="shares to remove; -0.25 and 0.25 are the same")
    add("--of", choices=tables.OF, default="macs", help="what they are shares of")
    add("--seeds", nargs="+", type=int, default=[0])
    add("--round-to", type=widths, default=1,
        help="spa keeps multiples of this many channels; auto: what the kernels like")  # fmt: skip


def widths(text: str) -> int | str:
    """What `round_to` may be."""
    return text if text == "auto" else int(text)


def _where(add: Any) -> None:
    add("--data", type=Path, help="evaluation data")
    add("--split", choices=("report", "dev", "all"), default="report")
    add("--share", type=float, default=0.5, help="of the data that belongs to the report")
    add("--limit", type=int, help="score only the first so many rows of the part")
    add("--mean", nargs="+", type=float, help="of pictures, after --scale")
    add("--std", nargs="+", type=float)
    add("--scale", type=float, help="divides bytes; 255 unless the data says something else")
    add("--classes", type=Path, help="names of class folders, one a line, in the model's order")
    add("--tokenizer", type=Path, help="tokenizer.json for text")
    add("--calib", type=Path, help="real inputs to fit on, as for spa prune --calib")
    add("--calib-rows", type=int, default=256, help="taken from the part that is not scored")
    add("--probe", default="auto", help="inputs that measure drift")
    add("--rows", type=int, default=64, help="how many of them")


def _how(add: Any) -> None:
    add("--results", type=Path, default=Path("build/accuracy.jsonl"))
    add("--print", action="store_true", dest="only_print", help="measure nothing")
    add("--retry", action="store_true", help="measure again what failed")
    add("--redo", action="store_true", help="measure again what spa did")
    add("--jobs", type=int, default=1)
    add("--threads", type=int, default=0, help="of one process; 0: as many as libraries like")
    add("--timeout", type=float, default=1800, help="seconds for one entry")
    add("--peers-python", metavar="PYTHON", help="has onnxsim, torch and torch-pruning")
    add("--torch-source", metavar="MODULE:FUNCTION", help="makes the module, for Torch-Pruning; "
        "see accuracy/sources.py; by default onnx2torch does")  # fmt: skip
    add("--json", type=Path, help="write cells and results here")
    add("--markdown", type=Path, help="write the tables here, too")
    add("--cell", action="store_true", help=argparse.SUPPRESS)


def checked(options: argparse.Namespace, made: argparse.ArgumentParser) -> argparse.Namespace:
    """The options with what a task implies; what makes no sense ends the program."""
    own = options.task == "own"
    options.models = options.models or ([OWN] if own else [])
    if own:
        options.data = options.data or OWN.with_name("fashion_eval.npz")
    if not options.models or (options.task not in MODES and options.data is None):
        made.error(f"{options.task} needs models" + " and --data" * (options.task not in MODES))
    missing = [p for p in (*options.models, options.data, options.calib) if p and not p.exists()]
    if missing:
        made.error(f"there is no {missing[0]}")
    options.ratios = [abs(r) for r in options.ratios or RATIOS.get(options.task, (0.1, 0.25, 0.5))]
    if options.task in ("cifar", "imagenet"):
        options.mean = options.mean or data.TORCHVISION[0]
        options.std = options.std or data.TORCHVISION[1]
    names = options.methods or METHODS.get(options.task, methods.DEFAULT)
    try:
        found = methods.chosen(list(names), options.variant, options.spa)
    except ValueError as error:
        made.error(str(error))
    rivals, source = bool(options.peers_python), options.torch_source or ""
    if Path(source.rpartition(":")[0]).is_file():
        source = str(Path(source).resolve())
    options.methods = [
        replace(m, options={**m.options, "source": source})
        if source and m.tool == "torch-pruning"
        else m
        for m in found
        if rivals or m.tool not in methods.RIVALS
    ]
    return options


def every(options: argparse.Namespace) -> Iterator[Cell]:
    """The cells of the tables, in the order in which they are printed."""
    for model in options.models:
        for method in options.methods:
            dense = method.tool == "none"
            if dense and options.task in MODES:
                continue
            for ratio in [None] if dense else options.ratios:
                for seed in options.seeds if method.seeded else options.seeds[:1]:
                    yield cell(options, model, method, ratio, seed)


def cell(
    options: argparse.Namespace, model: Path, method: methods.Method, ratio: Any, seed: int
) -> Cell:
    """What one entry is made of; what does not decide it is under `files` and `run`."""
    files = {"model": str(model)}
    for role in ("data", "tokenizer", "classes"):
        if getattr(options, role) is not None:
            files[role] = str(getattr(options, role))
    if method.calib and options.calib is not None:
        files["calib"] = str(options.calib)
    mode = MODES.get(options.task, "accuracy")
    fed: dict[str, Any] = {"probe": options.probe, "rows": options.rows, "apart": APART}
    if mode == "accuracy":
        fed = {"kind": "pairs" if options.task == "sts" else "pictures"}
        fed |= {name: getattr(options, name) for name in ("split", "share", "limit", "scale")}
        fed |= {"mean": list(options.mean or [0.0]), "std": list(options.std or [1.0])}
        if method.calib:
            fed["calib_rows"] = options.calib_rows
    run = {"threads": options.threads, "peers_python": options.peers_python, "words": method.words}
    return {
        "mode": mode, "files": files, "run": run, "data": fed, "method": method.facts(),
        "ratio": ratio, "of": options.of, "seed": seed,
        "round_to": options.round_to if method.tool == "spa" else None,
    }  # fmt: skip


def wanted(cell: Cell, result: Result | None, options: argparse.Namespace) -> bool:
    """Whether a cell is to be measured."""
    if result is None or (options.retry and "error" in result):
        return True
    return bool(options.redo and cell["method"]["tool"] == "spa")


def measured(options: argparse.Namespace) -> list[tuple[Cell, Result | None]]:
    """All cells, with what is known of them in the end."""
    asked = list(every(options))
    known = cells.load(options.results)
    todo = [each for each in asked if wanted(each, known.get(cells.key_of(each)), options)]
    if options.only_print:
        todo = []
    running = cells.run(
        HERE / "bench_accuracy.py", todo, options.results,
        jobs=options.jobs, limit=options.timeout, threads=options.threads,
    )  # fmt: skip
    for count, (each, result) in enumerate(running, 1):
        known[cells.key_of(each)] = result
        figure = next((result[k] for k in ("score", "relative", "seconds") if k in result), 0.0)
        said = result.get("error") or f"{figure:.4f}"
        name = Path(each["files"]["model"]).stem
        words = f"{name}, {each['run']['words']}, {each['ratio']}, seed {each['seed']}: {said}"
        print(f"[{count}/{len(todo)}] {words}", file=sys.stderr)
    return [(each, known.get(cells.key_of(each))) for each in asked]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not known yet and print the tables."""
    if list(sys.argv[1:] if arguments is None else arguments) == ["--cell"]:
        from accuracy.prune import say
        from accuracy.work import work

        say(work(json.loads(sys.stdin.read())))
        return 0
    made = parser()
    options = checked(made.parse_intermixed_args(arguments), made)
    found = measured(options)
    mode = MODES.get(options.task, "accuracy")
    text = "\n\n".join(filter(None, (tables.TABLES[mode](found), tables.versions(found))))
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n", encoding="utf-8")
    if options.json:
        rows = [{"cell": each, "result": result} for each, result in found]
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 1 if any(result and "error" in result for _, result in found) else 0


if __name__ == "__main__":
    sys.exit(main())
