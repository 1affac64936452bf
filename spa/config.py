"""Options from outside and back: of a config file, a report, a shell or a Python program.

A config is TOML (also the table `[tool.spa]` of a pyproject.toml), YAML, or the JSON of a report or
a plan, whose recipe it repeats.  Its keys are the names of options.  A key that is a glob holds the
options of the models of a zoo that it matches.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spa import allowed
from spa.errors import ReadError, UsageError, install
from spa.recipe import OPTIONS, Recipe, checked
from spa.spelling import in_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = dict[str, Any]
PROJECT = "pyproject.toml"
OF_A_MODEL = (*(name for name in OPTIONS if name != "memory"), "skip", "timeout", "memory")
"""What a table under a glob may hold."""
PLACES = frozenset(
    ("calib", "labels", "saliency", "plan", "output", "report", "csv", "plot", "dest")
)
"""Options that name files, as seen from the config's folder."""
GLOB = re.compile(r"[*?\[./]")


@dataclass(frozen=True)
class Config:
    """What a file says: options by name, and in order those under globs.

    The values of the latter are not checked yet: they are a matter of the models they are for.
    """

    path: str
    options: Table
    models: list[tuple[str, Table]] = field(default_factory=list)


def read_config(path: str, known: Collection[str]) -> Config:
    """The options of a file, among those that are known.

    Raises:
        UsageError: it is missing, unreadable, or says what is no option or no value of one.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        table = _table(text, path)
    except OSError as error:
        raise UsageError(f"cannot read --config {path} ({error.strerror}); check it") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--config {path} is no text; name a TOML file") from error
    except ReadError as error:
        raise UsageError(str(error)) from error
    globs = {key: value for key, value in table.items() if GLOB.search(key)}
    for glob, value in globs.items():
        if not isinstance(value, Mapping):
            raise UsageError(f'{glob} in {path} is no table; write ["*.onnx"] above the options')
    said = {key: value for key, value in table.items() if key not in globs}
    folder = None if path.endswith(".json") else Path(path).parent
    return Config(
        path,
        options_of(said, path, known, folder),
        [(g, _named(v, f"[{g}] of {path}", OF_A_MODEL, folder)) for g, v in globs.items()],
    )


def project_config(known: Collection[str]) -> Config | None:
    """What the nearest pyproject.toml says in `[tool.spa]`, if it does."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        path = folder / PROJECT
        if path.is_file():
            own = "[tool.spa" in path.read_text(encoding="utf-8", errors="replace")
            return read_config(os.path.relpath(path), known) if own else None
    return None


def options_of(
    table: Mapping[str, Any], where: str, known: Collection[str], folder: Path | None = None
) -> Table:
    """Options by the names that a recipe has, with checked values.

    Args:
        table: what was written.
        where: where, for the sentence about what is wrong.
        known: the names that there may be.
        folder: what paths are relative to; None leaves them.

    Raises:
        UsageError: a name is not known, or a value is none that the option takes.
    """
    named = _named(table, where, known, folder)
    return {name: _checked(name, value, where) for name, value in named.items()}


def _named(
    table: Mapping[str, Any], where: str, known: Collection[str], folder: Path | None
) -> Table:
    """Options by the names that a recipe has, with paths as seen from here."""
    made: Table = {}
    for key, value in table.items():
        name = str(key).replace("-", "_")
        if name not in known:
            names = [each.replace("_", "-") for each in known]
            raise UsageError(f"{unknown(str(key), names)} ({where})")
        made[name] = _placed(name, value, folder)
    return made


def _checked(name: str, value: object, where: str) -> object:
    try:
        if name in OPTIONS:
            sized = isinstance(value, str) and OPTIONS[name].form == "SIZE"
            return checked(name, allowed.size(str(value)) if sized else value)
    except (UsageError, ValueError) as error:
        raise UsageError(f"{where}: {in_file(str(error))}") from error
    return tuple(value) if isinstance(value, list) else value


def _placed(name: str, value: Any, folder: Path | None) -> Any:
    if folder is None or name not in PLACES:
        return value
    if isinstance(value, list):
        return tuple(_placed(name, each, folder) for each in value)
    return str(folder / value) if isinstance(value, str) and value != "-" else value


def _table(text: str, path: str) -> Table:
    if path.lower().endswith((".yaml", ".yml")):
        return read_yaml(text, path)
    if path.lower().endswith(".json"):
        return recipe_of(_json(text, path))
    table = read_toml(text, path)
    return table.get("tool", {}).get("spa", {}) if Path(path).name == PROJECT else table


def _json(text: str, path: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path} is no JSON; name a report, or write TOML") from error
    return found if isinstance(found, Mapping) else {}


def recipe_of(report: Mapping[str, object]) -> Table:
    """The options that a report or a plan was made with, as JSON has them; see `recipe_from`.

    Raises:
        UsageError: it carries no recipe.
    """
    found = report.get("recipe")
    if not isinstance(found, Mapping):
        raise UsageError("this JSON carries no recipe; name a report of spa prune, or a plan")
    return {name: value for name, value in found.items() if value is not None}


def recipe_from(given: Mapping[str, object]) -> Recipe:
    """A recipe of values from outside; None leaves a field as it is.

    Raises:
        UsageError: a name or a value is none that a recipe has, or two contradict each other.
    """
    for name in given:
        if name not in OPTIONS:
            raise UsageError(unknown(name, OPTIONS))
    made: Table = {name: checked(name, value) for name, value in given.items() if value is not None}
    return Recipe(**made).validate()


def unknown(name: str, known: Collection[str]) -> str:
    """The sentence about an option that does not exist, with the nearest that does."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
    return f"there is no option {name!r}; {hint}"


def as_json(recipe: Recipe) -> dict[str, object]:
    """A recipe as JSON carries it; `recipe_from` reads it."""
    return {name: _told(getattr(recipe, name)) for name in OPTIONS}


def _told(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _told(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return list(value)
    if callable(value):
        from spa.check import name_of

        return name_of(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def read_toml(text: str, name: str) -> Table:
    """The table that TOML text holds.

    Raises:
        ReadError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ReadError(f"{name} is no TOML ({error}); correct that place") from error


def read_yaml(text: str, name: str) -> Table:
    """The table that YAML text holds.

    Raises:
        ReadError: it is no YAML, no table, or PyYAML is missing.
    """
    try:
        import yaml
    except ImportError as error:
        raise ReadError(
            f"{name} needs PyYAML; install it with {install('yaml')}, or write TOML"
        ) from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise ReadError(f"{name} is no YAML ({why}); correct that place") from error
    if not isinstance(data or {}, dict):
        raise ReadError(f"{name} holds no table; write one entry per option")
    return {str(key): value for key, value in (data or {}).items()}
