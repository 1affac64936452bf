"""Options per model: tables of a TOML or YAML file, each under a glob; later ones win."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from spa._version import __version__
from spa.errors import ReadError, SpaError, UsageError
from spa.recipe import Recipe
from spa.zoo.model import Found, Job
from spa.zoo.paths import sha256
from spa.zoo.tables import read_toml, read_yaml

OWN = ("skip", "timeout", "memory")
OPTIONS = (*(field.name for field in fields(Recipe) if field.name != "memory"), *OWN)
FILES = ("calib", "saliency")  # options that name a file, whose contents count
Rules = Sequence[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Common:
    """What holds for every model unless its own options say otherwise.

    Attributes:
        recipe: the options of `spa prune`; its ratio counts only if `ratio_given`.
        timeout: seconds per attempt.
        memory: resident bytes per attempt; half of it may be used to measure.
        retries: how often a crash is tried again.
        force: whether to prune what is known already.
    """

    recipe: Recipe
    ratio_given: bool = True
    timeout: float | None = None
    memory: int | None = None
    retries: int = 1
    force: bool = False


def read_rules(path: str) -> Rules:
    """The tables of a file, in order.

    Raises:
        UsageError: it is missing, unreadable, or states options that do not exist.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        yaml = path.lower().endswith((".yaml", ".yml"))
        tables = (read_yaml if yaml else read_toml)(text, path)
    except OSError as error:
        raise UsageError(f"cannot read --config {path} ({error.strerror}); check it") from error
    except ReadError as error:
        raise UsageError(str(error)) from error
    for glob, table in tables.items():
        if not isinstance(table, Mapping):
            raise UsageError(f'{glob} in {path} is no table; write ["*.onnx"] above the options')
    return [(str(glob), _named(table, f"[{glob}] in {path}")) for glob, table in tables.items()]


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
        for glob, table in rules:
            if fnmatchcase(each.name, glob):
                given |= table
        try:
            if each.error is not None:
                raise each.error
            given |= _named(each.options, f"the options of {each.name}")
            if not given.pop("skip", False):
                jobs.append(_job(each, common, given, dest, hashes))
        except SpaError as error:
            if isinstance(error, _NoRatio):
                raise  # what the command left out
            errors.append(error)
            jobs.append(_refused(each, common, error, dest))
    if errors and len(errors) == len(jobs):
        raise errors[0]
    return jobs


class _NoRatio(UsageError):
    """Neither the command nor the options of a model say how much is to go."""


def _refused(found: Found, common: Common, error: SpaError, dest: Path) -> Job:
    """The job of a model of which nothing can be made, so that the others are."""
    return Job(
        name=found.name,
        source=found.source,
        size=0,
        sha256=found.sha256,
        recipe=_plain(common.recipe),
        options="",
        dest=str(dest),
        refused=(error.exit_code, str(error)),
    )


def _job(
    found: Found, common: Common, given: dict[str, Any], dest: Path, hashes: dict[str, str]
) -> Job:
    timeout = given.pop("timeout", common.timeout)
    memory = given.pop("memory", common.memory)
    _check_limits(found.name, timeout, memory)
    if not common.ratio_given and "ratio" not in given:
        raise _NoRatio(
            f"nothing says how much of {found.name} is to go; give --ratio (0.5 removes half) or "
            "a ratio in --config"
        )
    try:
        recipe = replace(common.recipe, **given).validate()
    except UsageError as error:
        raise UsageError(f"{found.name}: {error}" if given else str(error)) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the options of {found.name} do not fit ({error})") from error
    options = _hash(recipe, hashes)
    if memory is not None:
        recipe = replace(recipe, memory=memory)
    return Job(
        name=found.name,
        source=found.source,
        size=found.size,
        sha256=found.sha256,
        recipe=_plain(recipe),
        options=options,
        dest=str(dest),
        timeout=timeout,
        memory=memory,
        retries=common.retries,
        force=common.force,
    )


def _check_limits(name: str, timeout: object, memory: object) -> None:
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise UsageError(f"the timeout of {name} is {timeout!r}; give seconds above 0")
    if memory is not None and not (isinstance(memory, int) and memory >= 1 << 26):
        raise UsageError(f"the memory of {name} is {memory!r}; give at least 64M, in bytes here")


def _named(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Options with the names that Recipe has; lists become tuples, as there."""
    found = {}
    for key, value in table.items():
        name = str(key).replace("-", "_")
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f"did you mean {near[0].replace('_', '-')}?" if near else "see spa prune --help"
            raise UsageError(f"the option {key!r} of {where} does not exist; {hint}")
        found[name] = tuple(value) if isinstance(value, list) else value
    return found


def _plain(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON carries it."""
    made: dict[str, Any] = json.loads(
        json.dumps({field.name: getattr(recipe, field.name) for field in fields(recipe)})
    )
    for name in FILES:  # workers need not stand in the same folder
        if made[name] is not None:
            made[name] = os.path.abspath(made[name])
    return made


def recipe_from(plain: Mapping[str, Any]) -> Recipe:
    """The recipe that `plain` carries."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
    return Recipe(**fields)


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
