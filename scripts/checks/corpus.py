"""Every node test that ships with onnx, as squares: a table by operator of what came of them.

    corpus.py                 everything
    corpus.py "Conv*"         only these operators or cases
    corpus.py --most 40       a sample of so many squares per operator

Exit codes: 0 all squares commute, 5 some do not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.corpus.square import OUTCOMES
from tests.corpus.sweep import Table, matching, sweep


def show(table: Table, why: bool) -> None:
    """Print the table, the reasons if wanted, and the failures."""
    print(f"{'operator':36}" + "".join(f"{o:>12}" for o in OUTCOMES))
    for key, counts in sorted(table.counts.items()):
        print(f"{key:36}" + "".join(f"{counts[o] or '':>12}" for o in OUTCOMES))
        for outcome in OUTCOMES if why else ():
            for note, n in table.notes[key, outcome].most_common(6):
                print(f"{'':6}{n:5} {outcome}: {note[:150]}")
    total = sum(table.counts.values(), start=type(next(iter(table.counts.values())))())
    print(f"{'all':36}" + "".join(f"{total[o]:>12}" for o in OUTCOMES))
    for failure in table.failures:
        print(failure, file=sys.stderr)


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("glob", nargs="?", default="*", help="operators or cases")
    parser.add_argument("--most", type=int, help="squares per operator (default: all)")
    parser.add_argument("--why", action="store_true", help="say why squares froze or were refused")
    options = parser.parse_args()
    begin = time.perf_counter()
    table = sweep(matching(options.glob), options.most)
    if table.counts:
        show(table, options.why)
    print(f"{sum(map(len, [table.failures]))} failures in {time.perf_counter() - begin:.0f} s")
    return 5 if table.failures else 0


if __name__ == "__main__":
    sys.exit(main())
