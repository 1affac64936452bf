"""What a cell's process does, by mode: `accuracy`, `drift` or `cost`; one dict in, one out."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from accuracy import data, prune, scores
from accuracy.cells import Cell, Result

LONGEST = 64
"""Tokens of a sentence that is fitted on; longer ones are cut."""


def work(cell: Cell) -> Result:
    """Run a cell; what goes wrong is its result."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return MODES[cell["mode"]](cell, Path(folder))
    except Exception as error:
        return {"error": prune.failure(error)}


def accuracy(cell: Cell, folder: Path) -> Result:
    """Prune a model and score it on the rows of one part of the data."""
    model, method = Path(cell["files"]["model"]), cell["method"]
    rows = load(cell, model)
    scored, others = data.split(len(rows), cell["data"]["split"], cell["data"]["share"])
    scored = scored[: cell["data"]["limit"]]
    pruned, facts = model, {}
    if method["tool"] != "none":
        pruned = folder / "pruned.onnx"
        calib = calibration(cell, model, rows, others, folder) if method["calib"] else None
        facts = made(cell, model, pruned, calib, verify="run")
    threads = cell["run"]["threads"]
    score = scores.SCORES[cell["data"]["kind"]](model, pruned, rows, scored, threads)
    return {**score, **facts}


def made(cell: Cell, model: Path, pruned: Path, calib: str | None, verify: str = "none") -> Result:
    """Write the pruned model; what is gone, what it took and, if asked, drift and speed-up."""
    import spa

    method, ratio, of = cell["method"], cell["ratio"], cell["of"]
    threads = cell["run"]["threads"] or None
    options = dict(method["options"])
    if calib is not None:
        options["calib"] = calib
    if method["tool"] == "spa":
        options |= {"seed": cell["seed"], "round_to": cell["round_to"], "verify": verify}
        facts = prune.by_spa(model, pruned, {**options, "threads": threads}, ratio, of)
    else:
        python = cell["run"]["peers_python"]
        facts = prune.by_rival(python, method["tool"], model, pruned, options, ratio, of)
        if verify != "none":
            asked: Any = {"threads": threads, "seed": cell["seed"]}
            facts |= prune.judged(spa.verify(model, pruned, level="run", **asked))
    whole = prune.sizes(model)
    return {**facts, "gone": prune.gone(whole, prune.sizes(pruned)), "whole": whole}


def load(cell: Cell, model: Path) -> data.Pictures | data.Pairs:
    """The evaluation data of a cell, all of it."""
    files, asked = cell["files"], cell["data"]
    path = Path(files["data"])
    if asked["kind"] == "pairs":
        return data.pairs(path, Path(files["tokenizer"]) if "tokenizer" in files else None)
    _, shape = scores.input_of(scores.session(model))
    classes = Path(files["classes"]) if "classes" in files else None
    return data.pictures(
        path, shape, mean=asked["mean"], std=asked["std"], scale=asked["scale"], classes=classes
    )


def calibration(cell: Cell, model: Path, rows: Any, others: np.ndarray, folder: Path) -> str:
    """Where real inputs lie: a file that was given, or one made of rows that are not scored.

    Raises:
        ValueError: every row is scored.
    """
    if "calib" in cell["files"]:
        return str(cell["files"]["calib"])
    if len(others) == 0:
        raise ValueError("every row is scored, none is left to fit on: give --calib")
    # A part of the rows in any order would do; these are spread over all classes.
    order = np.random.default_rng(cell["seed"]).permutation(others)
    few = np.sort(order[: cell["data"]["calib_rows"]])
    path = folder / "calib.npz"
    loaded = scores.session(model)
    if cell["data"]["kind"] == "pictures":
        np.savez(path, **{scores.input_of(loaded)[0]: rows.rows(few)})
        return str(path)
    sentences = [ids[:LONGEST] for k in few for ids in (rows.first[k], rows.second[k])]
    ids = data.padded(sentences)
    mask = (np.arange(ids.shape[1]) < [[len(each)] for each in sentences]).astype(np.int64)
    np.savez(path, **scores.encoded(loaded, ids, mask))
    return str(path)


def drift(cell: Cell, folder: Path) -> Result:
    """Prune a model without labels; how far its outputs then drift from the original's.

    The inputs that measure are drawn with another seed than those that were fitted on.
    """
    import spa
    from spa.probes import probe_for
    from spa.validate.drift import total

    model, pruned = Path(cell["files"]["model"]), folder / "pruned.onnx"
    facts = made(cell, model, pruned, cell["files"].get("calib"))
    asked, threads = cell["data"], cell["run"]["threads"]
    probe = probe_for(spa.read(model), kind=asked["probe"], seed=cell["seed"] + asked["apart"])
    sessions = [scores.session(path, threads) for path in (model, pruned)]
    names = [each.name for each in sessions[0].get_outputs()]
    runs = (
        [dict(zip(names, each.run(None, feeds), strict=True)) for each in sessions]
        for feeds in probe.batches(asked["rows"], 16)
    )
    found = total((before, after) for before, after in runs)
    timed = spa.bench([model, pruned], threads=threads or None)["models"][1]
    return {**facts, **apart(found), "speedup": timed["speedup"], "why": probe.why}


def apart(found: Any) -> Result:
    """Drift and cosine per output, of the worst one and in the middle."""
    moved = {name: d for name, d in found.relative.items() if d is not None}
    if not moved:
        raise ValueError("no output is a float tensor that varies")
    return {
        "relative": max(moved.values()), "middle": float(np.median([*moved.values()])),
        "cosine": min(found.cosine[name] for name in moved), "top1": found.top1,
        "outputs": {name: [d, found.cosine[name]] for name, d in moved.items()},
    }  # fmt: skip


def cost(cell: Cell, folder: Path) -> Result:
    """Prune a model once, nothing else in this process; seconds, memory and stages."""
    model, pruned = Path(cell["files"]["model"]), folder / "pruned.onnx"
    import spa  # noqa: F401 - importing is not timed, nor counted as memory of the run

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    options = {**cell["method"]["options"], "seed": cell["seed"], "round_to": cell["round_to"]}
    if "calib" in cell["files"]:
        options["calib"] = cell["files"]["calib"]
    facts = prune.by_spa(model, pruned, options, cell["ratio"], cell["of"])
    whole = prune.sizes(model)
    return {**facts, "before_mib": before, "gone": prune.gone(whole, prune.sizes(pruned)),
            "whole": whole}  # fmt: skip


MODES: Mapping[str, Callable[[Cell, Path], Result]] = {
    "accuracy": accuracy,
    "drift": drift,
    "cost": cost,
}
