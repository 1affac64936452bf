"""Checkpoints: one file per pair of models and setting, replaced at once, removed in the end."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from spa.errors import UsageError
from spa.storage import replaced

ADVICE = "make room there, or turn checkpoints off with SPA_CACHE=off"
NOTHING = (
    "there is no unfinished run of this pair, inputs, budget and seed to resume; "
    "leave out --resume to begin one"
)


def check_any(folder: Path | None) -> None:
    """Say before anything is computed that there is nothing to go on from.

    Raises:
        UsageError: the folder has no checkpoint, of no run at all.
    """
    if folder is None:
        raise UsageError("nothing was kept to resume, as SPA_CACHE is off; leave out --resume")
    if not any(folder.glob("*.pt")):
        raise UsageError(NOTHING)


class Store:
    """Where the state of one run lies between two processes.

    Args:
        path: of the file; None where nothing is kept.
        resume: whether to go on from what is there; else a run begins anew.
        needed: whether something must be there then, and can be read.
        lasting: whether the state of a run that has ended stays, for `forget`.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        resume: bool = False,
        needed: bool = True,
        lasting: bool = False,
    ) -> None:
        self.path, self.resume, self.needed, self.lasting = path, resume, needed, lasting

    def read(self) -> dict[str, Any] | None:
        """The state to go on from; None to begin anew.

        Raises:
            UsageError: there must be something to go on from, and there is not.
        """
        if not self.resume:
            return None
        try:
            return self._found()
        except UsageError:
            if self.needed:
                raise
            return None

    def _found(self) -> dict[str, Any]:
        check_any(self.path and self.path.parent)
        assert self.path is not None
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            found = None
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise UsageError(
                f"the checkpoint {self.path} cannot be read; leave out --resume to begin anew"
            ) from error
        if not isinstance(found, dict):
            raise UsageError(NOTHING)
        return found

    def write(self, state: dict[str, Any]) -> bool:
        """Keep a state in place of the one before; whether anything is kept.

        Raises:
            UsageError: there is no room for it.
        """
        if self.path is None:
            return False
        held = io.BytesIO()
        torch.save(state, held)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make {self.path.parent}; {ADVICE}") from error
        replaced(self.path, held.getvalue(), "the checkpoint", ADVICE)
        return True

    def forget(self) -> None:
        """Nothing is left to go on with."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
