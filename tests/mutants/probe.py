"""A quick run of the oracles, up to the first failure: a sabotaged package must not pass it.

`python -m tests.mutants.probe [motif ...]` looks at the named motifs first, then at all, then at
some random nets; with `--only`, at nothing but those named.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from spa.coupling import analyse
from spa.graph import read
from spa.rewrite import rewrite
from tests import oracles
from tests.fuzz.trial import OK, trial
from tests.nets import BATCH, MOTIFS, Motif

SEEDS = range(60)
WHOLE: frozenset[int] = frozenset()
"""Seeds of nets in which all channels lead to an output, or one channel drags all along: none."""

CHOICES = {
    name: choose
    for name, choose in oracles.all_choices()
    if name in ("scattered 0.5", "single 0", "local channels", "rounded to 2")
}


def look(motif: Motif) -> None:
    """All oracles on one motif; raises if any fails."""
    for options in {}, {"batch": BATCH, "sizes": "computed"}:
        if motif.fixed and options:
            continue
        for norms in (True, False) if motif.lossy else (True,):
            coupling = analyse(read(motif.build(norms=norms, **options)), strict=True)
            assert oracles.groups_of(coupling) == motif.groups, "other groups"
            losses = tuple(sorted(loss.op for loss in coupling.notes.losses))
            assert losses == (motif.lossy if norms else ()), "other losses"
            oracles.identity(coupling)
            for choose in CHOICES.values():
                alive = choose(coupling)
                small = rewrite(coupling, alive)
                oracles.works(coupling, alive, small, exact=not losses)
                oracles.cost(coupling, alive, small)
                if not losses:
                    oracles.masked(coupling, alive, small)


def failures(first: list[str], only: bool = False) -> Iterator[str]:
    """What fails, in a sentence each."""
    rest = [] if only else [name for name in MOTIFS if name not in first]
    for name in (*first, *rest):
        try:
            look(MOTIFS[name])
        except Exception as error:
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            yield f"{name}: {type(error).__name__}: {text}"
    for seed in () if only else SEEDS:
        verdict = trial(seed)
        if (verdict.state != OK) != (seed in WHOLE):
            yield f"random net {seed}: {verdict.state} {verdict.reason}"


def main(arguments: list[str]) -> int:
    """1 as soon as anything fails, else 0."""
    only = "--only" in arguments
    for failure in failures([a for a in arguments if a != "--only"], only):
        print(failure)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
