"""The plan as a frozen value and as JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

import msgspec

from spa._version import __version__
from spa.errors import UsageError
from spa.storage import check_place, replaced

PLAN_VERSION = 1
Index = Annotated[int, msgspec.Meta(ge=0)]


class _Cut(TypedDict):
    shape: list[Index]
    new_shape: list[Index]
    keep: dict[str, list[Index | list[Index]]]


class Entry(_Cut, total=False):
    """What is kept of a tensor, or of one of its uses; see `Plan.tensors`."""

    blocks: dict[str, dict[str, Index]]
    use: Index
    node: str
    input: Index
    others: list[Entry]


class GroupEntry(TypedDict):
    """What is left of a group of channels, and the tensors that it cuts."""

    id: int | str
    name: str
    before: Index
    after: Index
    tensors: list[str]


class _Said(TypedDict):
    plan_version: object
    tensors: dict[str, Entry]
    groups: list[GroupEntry]
    source: dict[str, Any]
    recipe: dict[str, Any]


class _File(_Said, total=False):
    rotated: list[str]
    bypass: list[str]


@dataclass(frozen=True)
class Plan:
    """What to keep.

    Attributes:
        tensors: per changed initializer `{"shape", "new_shape", "keep"}`; `keep` maps an axis (as
            text, for JSON) to the kept positions, ascending.  Where they differ from block to block
            (the groups of a grouped convolution), it holds one list per kept block, and `blocks`
            says how many blocks lie along which earlier axes, as in `{"1": {"0": 4}}`: cut the
            other axes first, then every block.  A tensor whose uses keep different positions also
            has `use` (which of its uses, counted from 0, this is) and `others`.
        groups: per group `{"id", "name", "before", "after", "tensors"}`.
        source: `{"sha256", "opset", "producer"}` of the model the plan was made on.
        recipe: the options that led to it.
        report: the report of the run that made it; not part of the file.
        rotated: tensors whose channels were mixed before the choice, so that positions count in the
            new basis; absent from the file where there are none.
        bypass: names of branches, which are the sums that become their shortcuts; of groups and
            tensors inside them nothing need be said.  Absent from the file where there are none.
    """

    tensors: Mapping[str, Entry]
    groups: tuple[GroupEntry, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    rotated: tuple[str, ...] = ()
    bypass: tuple[str, ...] = ()

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
        if self.bypass:
            body["bypass"] = list(self.bypass)
        return json.dumps(body, separators=(",", ":"), sort_keys=True) + "\n"

    @property
    def sha256(self) -> str:
        """Hash of what is kept (not of where the plan came from)."""
        kept = json.dumps({k: dict(v) for k, v in self.tensors.items()}, sort_keys=True)
        kept += json.dumps(sorted(self.bypass)) if self.bypass else ""
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
            file = msgspec.json.decode(text, type=_File)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error
        if file["plan_version"] != PLAN_VERSION:
            raise ValueError(f"plan_version is {file['plan_version']}, not {PLAN_VERSION}")
        for name, entry in file["tensors"].items():
            if not all(map(_is_whole, (entry, *entry.get("others", ())))):
                raise ValueError(f"the entry of {name} is damaged")
        return cls(
            file["tensors"],
            tuple(file["groups"]),
            file["source"],
            file["recipe"],
            rotated=tuple(file.get("rotated", ())),
            bypass=tuple(file.get("bypass", ())),
        )


def rows_of(entry: Entry, axis: str) -> list[list[int]]:
    """The positions that an entry keeps along an axis, one list per kept block."""
    kept = entry["keep"][axis]
    return cast("list[list[int]]", kept if axis in entry.get("blocks", {}) else [kept])


def _is_whole(entry: Entry) -> bool:
    """Whether the parts of an entry fit each other, so that `place` can rely on it."""
    axes = {str(axis) for axis in range(len(entry["shape"]))}
    if len(entry["shape"]) != len(entry["new_shape"]):
        return False
    if not entry.get("blocks", {}).keys() <= entry["keep"].keys() <= axes:
        return False
    rows = [row for axis in entry["keep"] for row in rows_of(entry, axis)]
    return all(isinstance(row, list) and not any(isinstance(i, list) for i in row) for row in rows)
