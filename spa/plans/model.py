"""The plan as a frozen value and as JSON."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spa._version import __version__
from spa.errors import UsageError

PLAN_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """What to keep.

    Attributes:
        tensors: per changed initializer `{"shape", "new_shape", "keep"}`; `keep` maps an axis (as
            text, for JSON) to the kept positions, ascending, or to one list per block of the
            preceding axis where a grouped convolution keeps different inputs in every group.
        groups: per group `{"id", "name", "before", "after", "tensors"}`.
        source: `{"sha256", "opset", "producer"}` of the model the plan was made on.
        recipe: the options that led to it.
        report: the report of the run that made it; not part of the file.
    """

    tensors: Mapping[str, Mapping[str, Any]]
    groups: tuple[Mapping[str, Any], ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

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
        return json.dumps(body, separators=(",", ":"), sort_keys=True) + "\n"

    @property
    def sha256(self) -> str:
        """Hash of what is kept (not of where the plan came from)."""
        kept = json.dumps({k: dict(v) for k, v in self.tensors.items()}, sort_keys=True)
        return hashlib.sha256(kept.encode()).hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan atomically, replacing what is there."""
        target = Path(path)
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=target.parent, prefix=f".{target.name}.", delete=False, encoding="utf-8"
            ) as file:
                file.write(self.to_json())
            os.replace(file.name, target)
        except OSError as error:
            raise UsageError(
                f"cannot write the plan {target} ({error.strerror}); choose another place with -o"
            ) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan; raises UsageError with one sentence if it is none."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"cannot read the plan {path} ({error.strerror}); make one with `spa plan`"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path} is not a plan of spa ({error}); make one with `spa plan`"
            ) from error

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Parse a plan; raises ValueError, KeyError or TypeError if it is none."""
        body = json.loads(text)
        if body["plan_version"] != PLAN_VERSION:
            raise ValueError(f"plan_version is {body['plan_version']}, not {PLAN_VERSION}")
        for name, tensor in body["tensors"].items():
            if not isinstance(tensor["keep"], dict) or len(tensor["shape"]) != len(tensor["new_shape"]):
                raise ValueError(f"the entry of {name} is incomplete")
        return cls(body["tensors"], tuple(body["groups"]), body["source"], body["recipe"])
