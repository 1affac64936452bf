"""Options per model: the command's, then those under globs of a config, of which later ones win."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from spa._version import __version__
from spa.config import OF_A_MODEL, as_json, options_of
from spa.errors import ReadError, SpaError, UsageError
from spa.recipe import Recipe
from spa.zoo.model import Found, Job
from spa.zoo.paths import sha256

FILES = ("calib", "labels", "saliency")  # options that name a file, whose contents count
Rules = Sequence[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Common:
    """What holds for every model unless its own options say otherwise.

    Attributes:
        recipe: the options of `spa prune`.
        timeout: seconds per attempt.
        memory: resident bytes per attempt; half of it may be used to measure.
        retries: how often a crash is tried again.
        force: whether to prune what is known already.
    """

    recipe: Recipe
    timeout: float | None = None
    memory: int | None = None
    retries: int = 1
    force: bool = False


def jobs_of(found: Iterable[Found], common: Common, rules: Rules, dest: Path) -> list[Job]:
    """A job per model, with every option checked before any work is done.

    What is wrong with some models alone is told in their rows.

    Raises:
        UsageError: options of all models contradict each other or name nothing.
    """
    jobs, errors = [], []
    hashes: dict[str, str] = {}
    for each in found:
        given: dict[str, Any] = {}
        plain = Job(
            name=each.name,
            source=each.source,
            size=each.size,
            sha256=each.sha256,
            recipe=_plain(common.recipe),
            options="",
            dest=str(dest),
            retries=common.retries,
            force=common.force,
        )
        try:
            for glob, table in rules:
                if fnmatchcase(each.name, glob):
                    given |= options_of(table, f"[{glob}]", OF_A_MODEL)
            if each.error is not None:
                raise each.error
            given |= options_of(each.options, f"the options of {each.name}", OF_A_MODEL)
            if not given.pop("skip", False):
                jobs.append(_job(plain, common, given, hashes))
        except SpaError as error:
            if isinstance(error, _NoRatio):
                raise  # what the command left out
            errors.append(error)
            jobs.append(replace(plain, size=0, refused=(error.exit_code, str(error))))
    if errors and len(errors) == len(jobs):
        raise errors[0]
    return jobs


class _NoRatio(UsageError):
    """Neither the command nor the options of a model say how much is to go."""


def _job(plain: Job, common: Common, given: dict[str, Any], hashes: dict[str, str]) -> Job:
    """The job of a model with options of its own."""
    timeout = given.pop("timeout", common.timeout)
    memory = given.pop("memory", common.memory)
    _check_limits(plain.name, timeout, memory)
    budgets = {"ratio", "speedup"}
    if len(own := budgets.intersection(given)) == 1:  # its own beats that of all
        given |= dict.fromkeys(budgets - own)
    try:
        recipe = replace(common.recipe, **given).validate()
    except UsageError as error:
        raise UsageError(f"{plain.name}: {error}" if given else str(error)) from error
    if recipe.ratio is None and recipe.speedup is None and not recipe.searches:
        raise _NoRatio(
            f"nothing says how much of {plain.name} is to go; give --ratio (0.5 removes half), "
            "--speedup, or a ratio in --config; or a gate on quality, for the fastest that passes"
        )
    options = _hash(recipe, hashes)
    if memory is not None:
        recipe = replace(recipe, memory=memory)
    made = _plain(recipe)
    return replace(plain, recipe=made, options=options, timeout=timeout, memory=memory)


def _check_limits(name: str, timeout: object, memory: object) -> None:
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise UsageError(f"the timeout of {name} is {timeout!r}; give seconds above 0")
    if memory is not None and not (isinstance(memory, int) and memory >= 1 << 26):
        raise UsageError(f"the memory of {name} is {memory!r}; give at least 64M")


def recipe_of(common: Common) -> dict[str, object]:
    """The recipe of all models, as their summary has it: what they have of their own is missing."""
    return {**_plain(common.recipe), "memory": common.memory}


def _plain(recipe: Recipe) -> dict[str, object]:
    """A recipe as JSON carries it."""
    made = as_json(recipe)
    for name in FILES:  # workers need not stand in the same folder
        if made[name] is not None:
            made[name] = os.path.abspath(str(made[name]))
    return made


def _hash(recipe: Recipe, hashes: dict[str, str]) -> str:
    """Hash of the options that decide what comes out, with the contents of files they name.

    `hashes` keeps those of files, each of which is read once.
    """
    said: dict[str, Any] = _plain(recipe) | {"spa": __version__}
    for name in FILES:
        if said[name] is not None:
            path = said[name]
            hashes[path] = said[name] = hashes.get(path) or _contents(path)
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _contents(path: str) -> str:
    """Hash of a file, or of the names, sizes and times of what is in a folder."""
    place = Path(path)
    try:
        if place.is_file():
            return sha256(place)
        state = [
            (str(p.relative_to(place)), p.stat().st_size, p.stat().st_mtime_ns)
            for p in sorted(place.rglob("*"))
            if p.is_file()
        ]
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}); check it") from error
    if not place.is_dir():
        raise ReadError(f"{path} does not exist; check the path")
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()
