"""Results as Markdown: one table per model for accuracy, one table in all for drift and for cost.

An entry over several seeds is their mean; what follows is the standard error over the scored rows,
and in brackets the standard deviation over the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from accuracy.cells import Cell, Result

Found = Sequence[tuple[Cell, Result | None]]

MISSED = 0.01
"""An entry says what is really gone where it is further than this from what was asked for."""
OF = {"macs": "MACs", "params": "parameters", "encoder": "encoder parameters"}


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "/") for c in line) + " |" for line in lines)


def grouped(found: Found, *keys: Callable[[Cell], Any]) -> dict[Any, Found]:
    """Results by what the keys say, in order of appearance."""
    parts: dict[Any, list[tuple[Cell, Result | None]]] = {}
    for cell, result in found:
        parts.setdefault(tuple(key(cell) for key in keys), []).append((cell, result))
    return dict(parts)


def path_of(cell: Cell) -> str:
    """The model of a cell."""
    return str(cell["files"]["model"])


def ratio_of(cell: Cell) -> Any:
    """The share that goes, None for the dense model."""
    return cell["ratio"]


def words_of(cell: Cell) -> str:
    """The method of a cell."""
    return str(cell["run"]["words"])


def good_of(part: Found) -> list[Result]:
    """Results without errors."""
    return [result for _, result in part if result is not None and "error" not in result]


def trouble(part: Found) -> str:
    """Why there is no number."""
    errors = [r["error"] for _, r in part if r is not None and "error" in r]
    return "failed: " + errors[0][:90] if errors else "–"


def entry(part: Found, key: str, se: str | None, scale: float, digits: int) -> str:
    """One entry: the mean, its standard error, the spread over seeds, what is really gone."""
    good = [result for result in good_of(part) if result.get(key) is not None]
    if not good:
        return trouble(part)
    values = [scale * result[key] for result in good]
    text = f"{mean(values):.{digits}f}"
    if se is not None:
        text += f" ± {scale * mean(result[se] for result in good):.{digits}f}"
    if len(values) > 1:
        text += f" ({stdev(values):.{digits}f})"
    if len(good) < len(part):
        text += f" [{len(good)} of {len(part)}]"
    return text + _missed(part)


def _missed(part: Found) -> str:
    real = [
        (cell["ratio"], result["gone"][cell["of"]])
        for cell, result in part
        if result is not None and "gone" in result
    ]
    away = [got for wanted, got in real if abs(got - wanted) > MISSED]
    return f" [-{100 * mean(away):.1f} %]" if away else ""


def beside(part: Found, scale: float, digits: int) -> str:
    """One entry: the score and how many times as fast the same file is, means over the seeds.

    In round brackets stands the range of the scores, in square ones what is really gone.
    """
    good = good_of(part)
    if not good:
        return trouble(part)
    scores = [scale * result["score"] for result in good]
    text = f"{mean(scores):.{digits}f}"
    if len(scores) > 1:
        text += f" ({min(scores):.{digits}f} .. {max(scores):.{digits}f})"
    fast = [r["speedup"] for r in good if r.get("speedup")]
    if fast:
        text += f", {mean(fast):.2f}x"
    return text + _missed(part)


def accuracy(found: Found) -> str:
    """Score, change against dense, agreement, drift, speed-up and seconds: a section per model.

    Drift and speed-up are those of the files that were scored.
    """
    parts = []
    for (path,), rows in grouped(found, path_of).items():
        cell = rows[0][0]
        pictures = cell["data"]["kind"] == "pictures"
        scale, digits = (100.0, 2) if pictures else (1.0, 4)
        score = "top-1, %" if pictures else "Spearman"
        alike = "same class as dense, %" if pictures else "mean cosine to dense"
        scored = next((r["rows"] for _, r in rows if r and "rows" in r), "no")
        parts.append(
            f"### {Path(path).name}\n\n{scored} rows of part `{cell['data']['split']}`, "
            f"share of {OF[cell['of']]} removed; ± standard error, (spread over seeds)."
        )
        both = partial(beside, scale=scale, digits=1 if pictures else 3)
        parts.append(_by_ratio(rows, f"{score}, times as fast", both, whole=True))
        for words, key, error, factor, places in (
            (score, "score", "se", scale, digits),
            ("change", "change", "change_se", scale, digits),
            (alike, "agreement", None, scale, digits),
            ("drift (NRMSE)", "drift", None, 1.0, 3),
            ("times as fast", "speedup", None, 1.0, 2),
            ("seconds to prune", "seconds", None, 1.0, 1),
        ):
            how = partial(entry, key=key, se=error, scale=factor, digits=places)
            parts.append(_by_ratio(rows, words, how, whole=key == "score"))
    return "\n\n".join(parts)


def _by_ratio(rows: Found, words: str, how: Callable[[Found], str], *, whole: bool) -> str:
    """A line per method, a column per ratio; the dense model only if `whole`."""
    ratios = sorted({c["ratio"] for c, _ in rows if c["ratio"] is not None})
    lines = []
    for (method,), part in grouped(rows, words_of).items():
        by = {ratio: cells for (ratio,), cells in grouped(part, ratio_of).items()}
        if None in by:
            if whole:
                lines.append([method, *[how(by[None])] * max(1, len(ratios))])
            continue
        lines.append([method, *(how(by[r]) if r in by else "–" for r in ratios)])
    return markdown([words, *([f"-{100 * ratio:g} %" for ratio in ratios] or ["0 %"])], lines)


def drift(found: Found) -> str:
    """A line per model, ratio and method."""
    lines = []
    for (path, ratio, words), part in grouped(found, path_of, ratio_of, words_of).items():
        good = good_of(part)
        place = [Path(path).stem, f"-{100 * ratio:g} %", words]
        if not good:
            lines.append([*place, trouble(part), *[""] * 6])
            continue
        agree = entry(part, "top1", None, 100.0, 1) if good[0]["top1"] is not None else "–"
        lines.append([
            *place,
            *(entry(part, key, None, 1.0, 3) for key in ("relative", "middle", "cosine")),
            agree, f"{100 * mean(r['gone'][part[0][0]['of']] for r in good):.1f} %",
            entry(part, "speedup", None, 1.0, 2), entry(part, "seconds", None, 1.0, 1),
        ])  # fmt: skip
    head = ["model", "asked", "method", "drift (NRMSE), worst output", "median output",
            "cosine, worst output", "same class, %", "gone", "times as fast",
            "seconds"]  # fmt: skip
    return markdown(head, lines)


def cost(found: Found) -> str:
    """A line per model and ratio, with a column per stage that took a share of the time."""
    stages = dict.fromkeys(
        name for _, r in found if r for name in r.get("timings", ()) if name != "total"
    )
    lines = []
    for (path, ratio, words), part in grouped(found, path_of, ratio_of, words_of).items():
        good = good_of(part)
        place = [Path(path).stem, words, f"-{100 * ratio:g} %"]
        if not good:
            lines.append([*place, trouble(part)])
            continue
        whole = good[0]["whole"]
        times = {s: mean(r["timings"].get(s, 0.0) for r in good) for s in stages}
        lines.append([
            *place, f"{whole['macs'] / 1e9:.2f}", f"{whole['params'] / 1e6:.1f}",
            *(f"{mean(r[key] for r in good):.1f}" for key in ("seconds", "cpu_seconds")),
            f"{max(r['peak_mib'] for r in good):.0f}",
            *(f"{seconds:.1f}" for seconds in times.values()),
        ])  # fmt: skip
    head = ["model", "method", "asked", "GMACs", "M params", "seconds", "CPU seconds", "peak MiB"]
    lines = [line + [""] * (len(head) + len(stages) - len(line)) for line in lines]
    return markdown([*head, *stages], lines)


def versions(found: Found) -> str:
    """A note where results of different sources of spa stand side by side."""
    codes = {r["code"] for _, r in found if r and "code" in r}
    return (
        f"Results of {len(codes)} different states of the sources; --redo makes them anew."
        if len(codes) > 1
        else ""
    )


TABLES: Mapping[str, Callable[[Found], str]] = {"accuracy": accuracy, "drift": drift, "cost": cost}
