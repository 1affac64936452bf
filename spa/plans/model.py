"""The plan as a frozen value and as JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from spa._version import __version__
from spa.errors import UsageError
from spa.storage import check_place, replaced

PLAN_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """What to keep.

    Attributes:
        tensors: per changed initializer `{"shape", "new_shape", "keep"}`; `keep` maps an axis (as
            text, for JSON) to the kept positions, ascending.  Where they differ from block to block
            (the groups of a grouped convolution), it holds one list per living block, and `blocks`
            says how many blocks lie along which earlier axes, as in `{"1": {"0": 4}}`: cut the
            other axes first, then every block.  A tensor whose uses keep different positions also
            has `use` (which of its uses, counted from 0, this is) and `others`.
        groups: per group `{"id", "name", "before", "after", "tensors"}`.
        source: `{"sha256", "opset", "producer"}` of the model the plan was made on.
        recipe: the options that led to it.
        report: the report of the run that made it; not part of the file.
        rotated: tensors whose channels were mixed before the choice, so that positions count in the
            new basis; absent from the file where there are none.
    """

    tensors: Mapping[str, Mapping[str, Any]]
    groups: tuple[Mapping[str, Any], ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    rotated: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The file's text; the same plan gives the same text."""
        body = {
            "plan_version": PLAN_VERSION,
            "spa_version": __version__,
            "source": dict(self.source),
            "recipe": dict(self.recipe),
            "groups": [dict(g) for g in self.groups],
            "tensors": {k: dict(v) for k, v in self.tensors.items()},
        }
        if self.rotated:
            body["rotated"] = list(self.rotated)
        return json.dumps(body, separators=(",", ":"), sort_keys=True) + "\n"

    @property
    def sha256(self) -> str:
        """Hash of what is kept (not of where the plan came from)."""
        kept = json.dumps({k: dict(v) for k, v in self.tensors.items()}, sort_keys=True)
        return hashlib.sha256(kept.encode()).hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan atomically, replacing what is there.

        Raises:
            UsageError: it cannot be written.
        """
        place = Path(path)
        check_place(place, "the plan", force=True)
        replaced(place, self.to_json().encode(), "the plan", "choose another place with -o")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan; raises UsageError with one sentence if it is none."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"cannot read the plan {path} ({error.strerror}); make one with `spa plan`"
            ) from error
        except ValueError as error:
            raise UsageError(
                f"{path} is not a plan of spa ({error}); make one with `spa plan`"
            ) from error

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Parse a plan; raises ValueError if it is none."""
        try:
            body = json.loads(text)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        _demand(isinstance(body, dict), "it is no JSON object")
        version = body.get("plan_version")
        _demand(version == PLAN_VERSION, f"plan_version is {version}, not {PLAN_VERSION}")
        tensors, groups = body.get("tensors"), body.get("groups")
        _demand(isinstance(tensors, dict), "it has no tensors")
        for name, entry in tensors.items():
            _demand(_is_entry(entry), f"the entry of {name} is damaged")
        _demand(isinstance(groups, list) and all(map(_is_group, groups)), "its groups are damaged")
        for key in ("source", "recipe"):
            _demand(isinstance(body.get(key), dict), f"its section {key} is damaged")
        rotated = body.get("rotated", [])
        named = isinstance(rotated, list) and all(isinstance(name, str) for name in rotated)
        _demand(named, "its rotated tensors are damaged")
        return cls(tensors, tuple(groups), body["source"], body["recipe"], rotated=tuple(rotated))


def _demand(fulfilled: bool, otherwise: str) -> None:
    if not fulfilled:
        raise ValueError(otherwise)


def _is_entry(entry: Any) -> bool:
    """Whether this describes a tensor, so that `place` can rely on it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("keep"), dict):
        return False
    shape, new, blocks = entry.get("shape"), entry.get("new_shape"), entry.get("blocks", {})
    if not (_are_numbers(shape) and _are_numbers(new) and isinstance(blocks, dict)):
        return False
    axes = {str(axis) for axis in range(len(shape))}
    if len(shape) != len(new) or not blocks.keys() <= entry["keep"].keys() <= axes:
        return False
    for axis, kept in entry["keep"].items():
        rows = kept if axis in blocks else [kept]
        if not isinstance(rows, list) or not all(map(_are_numbers, rows)):
            return False
    others = entry.get("others", [])
    return (
        _are_numbers([entry.get("use", 0)])
        and isinstance(others, list)
        and all(map(_is_entry, others))
    )


def _are_numbers(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in values
    )


def _is_group(group: Any) -> bool:
    return (
        isinstance(group, dict)
        and _are_numbers([group.get("before"), group.get("after")])
        and isinstance(group.get("name"), str)
        and isinstance(group.get("tensors"), list)
        and all(isinstance(name, str) for name in group["tensors"])
    )
