"""What an edit is that breaks spa."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """In `file`, `old` (there exactly once) becomes `new`; `what` says what is wrong then.

    `by` names the motifs that are looked at first, which makes the search shorter.
    `also` are further edits, `(file, old, new)`, where one line alone is caught by another.
    `tests` are files of tests that have to notice it instead of the oracles: what judges a cut is
    no part of it, so that no motif comes out wrong.
    """

    what: str
    file: str
    old: str
    new: str
    by: tuple[str, ...] = ()
    also: tuple[tuple[str, str, str], ...] = ()
    tests: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[tuple[str, str, str], ...]:
        """All that is edited."""
        return ((self.file, self.old, self.new), *self.also)

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


UNTRIED = (
    "spa/coupling/analyse.py",
    "        errors, steady = _try_out(notes, roots, parts)",
    "        errors, steady = [], frozenset()",
)
UNCHECKED = ("spa/rewrite/build.py", "    if errors:\n        raise errors[0]", "    pass")
BLIND = (UNTRIED, UNCHECKED)
"""Without these, what is missing in a rule shows in numbers only."""
