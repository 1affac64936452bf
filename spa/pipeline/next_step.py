"""The one command to type next, where a report leaves something to better.

What can be typed at once comes before what needs more of a person: gradients, where PyTorch is
installed, then inputs of one's own, then a milder cut.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spa.pipeline.invert import installed
from spa.recipe import OPTIONS, Recipe
from spa.reports.run import model
from spa.reports.schema import Report

INPUTS = "INPUTS"
"""Stands for a .npz, a .npy or a folder of images; after some were given, for others."""
MILDER = {"risky": 0.75, "broken": 0.5}
"""By how much to ask for less."""
TUNED = "5m"
REFITTED: Mapping[str, Any] = {"scorer": "auto", "repair": "auto", "reconstruct": None}
"""What keeps most, where weights alone were looked at."""
FED = ("Inputs", "Model")
"""Sections of the options that say how a model is fed."""
NOT_TO_COMPARE = ("memory", "samples", "labels", "invert")


def next_step(report: Report, recipe: Recipe) -> str | None:
    """The command, as a shell takes it; None where the outputs are as good as they get.

    Args:
        report: of the run, with its verdicts.
        recipe: what was asked for, before anything was settled.
    """
    found, source = report["verdicts"], model(report, "input").get("path")
    if found is None or source is None or found["rewrite"]["verdict"] == "failed":
        return None
    quality, small = found["quality"]["verdict"], model(report, "output").get("path")
    if quality == "good":
        return None
    both = (source, small) if small not in (None, "-") else None
    if both and recipe.verify == "none":
        return _line("verify", *both)
    if quality == "unknown":
        if both and (report["command"] != "prune" or recipe.calib is not None):
            fed = _said(replace(recipe, probe="auto"), FED)
            return _line("verify", *both, *_words({**fed, "calib": INPUTS}))
    elif not recipe.repairs and report["command"] == "prune":
        return _again(report, recipe, **REFITTED)
    elif both and installed() and not report.get("tune"):
        return _line("tune", *both, *_words(_said(recipe, FED)), "--time", TUNED)
    if recipe.calib is None:
        return _again(report, recipe, calib=INPUTS, probe="auto")
    return _again(report, recipe, milder=MILDER.get(quality, 1.0))


def _again(report: Report, recipe: Recipe, milder: float = 1.0, **changed: Any) -> str | None:
    """The same cut with other options; after commands that make none, one as large as was found."""
    if report.get("bypassed"):
        return None  # what goes with branches is no matter of a ratio
    ratio, asked = recipe.share, report["command"] == "prune"
    if not asked:
        gone: Mapping[str, Any] = report["reduction"] or {}
        ratio = gone.get("macs") or 0.0
    share = round(ratio * milder, 3)
    if share <= 0:
        return None
    settings = replace(recipe, ratio=share, **changed)
    if asked and recipe.searches:
        settings = replace(settings, ratio=None)
        settings = replace(settings, min_quality="good") if milder < 1 else settings
    elif recipe.speedup is not None:
        settings = replace(settings, speedup=round(1 + (recipe.speedup - 1) * milder, 3))
    path, sections = model(report, "input")["path"], None if asked else FED
    return prune_line(path, settings, _place(report), sections)


def prune_line(
    path: str | Path,
    recipe: Recipe,
    place: Sequence[str] = (),
    sections: Sequence[str] | None = None,
) -> str:
    """The command that prunes a file as a recipe says, or as some sections of its options do."""
    wanted = {"ratio": recipe.ratio, **_said(recipe, sections)}
    if recipe.ratio is None or recipe.speedup is not None:  # other options say how much
        del wanted["ratio"]
    return _line("prune", str(path), *_words(wanted), *place)


def _line(*words: str) -> str:
    return shlex.join(["spa", *words])


def _said(recipe: Recipe, sections: Sequence[str] | None = None) -> dict[str, Any]:
    """The options that are not as they are by default, those of some sections or all."""
    plain = Recipe()
    return {
        name: getattr(recipe, name)
        for name, option in OPTIONS.items()
        if (sections is None or (option.section in sections and name not in NOT_TO_COMPARE))
        and getattr(recipe, name) != getattr(plain, name)
    }


def _words(asked: Mapping[str, Any]) -> Iterator[str]:
    """Options as words of a command line; arrays of a caller have a stand-in."""
    for name, value in asked.items():
        spelt = name.replace("_", "-")
        for one in _values(name, value):
            shown = OPTIONS[name].shown and not isinstance(value, bool)
            yield from (f"--{spelt}", one) if shown else ("--set", f"{spelt}={one}")


def _values(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, Mapping):
        mark = ":" if name == "input_shape" else "="
        for key, each in value.items():
            yield f"{key}{mark}{','.join(map(str, each)) if isinstance(each, tuple) else each}"
    elif isinstance(value, tuple):
        each = [str(one) for one in value]
        yield from each if OPTIONS[name].form == "GLOB" else [",".join(each)]
    elif isinstance(value, (str, int, float)):
        yield str(value)
    elif name in ("calib", "labels"):
        yield INPUTS if name == "calib" else name.upper()


def _place(report: Report) -> list[str]:
    """Where the result goes, in place of what lies there."""
    source = Path(str(model(report, "input")["path"]))
    small = Path(model(report, "output").get("path") or "")
    usual = source.with_name(f"{source.stem}.spa.onnx")
    if report["command"] != "prune" or str(small) in (".", "-", str(usual)):
        return ["--force"] if usual.exists() else []
    return ["-o", str(small), "--force"]
