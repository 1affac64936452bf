"""Sabotage spa one line at a time; the oracles must notice: `mutants.py [-j JOBS] [WORD ...]`.

Applies every edit of tests/mutants/edits.py (or those whose file or purpose contains a word) to a
copy of the package and runs tests/mutants/probe.py, or the tests that the edit names, against it.
Prints what survives; exits with 1 if anything does, if an edit no longer applies, or if the probe
or such a test fails without any edit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.mutants.edit import Edit  # noqa: E402
from tests.mutants.edits import EDITS  # noqa: E402

PATIENCE = 300  # seconds of a processor, however busy it is; a package that hangs is noticed, too
ASLEEP = 3600  # seconds, for those that wait for ever


def sabotaged(edit: Edit) -> dict[str, str]:
    """The sources of the files it changes; raises ValueError where it does not apply."""
    sources: dict[str, str] = {}
    for file, old, new in edit.parts:
        source = sources.get(file) or (ROOT / file).read_text()
        if source.count(old) != 1:
            raise ValueError(f"{edit}: the text is in {file} {source.count(old)} times, not once")
        sources[file] = source.replace(old, new)
    return sources


def noticed(edit: Edit | None, only: bool = False, tests: tuple[str, ...] = ()) -> str:
    """What the probe says about a copy of the package with the edit in it; empty if nothing.

    Where the edit names tests, or `tests` are given, these are asked in its place.
    """
    tests = edit.tests if edit else tests
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        shutil.copytree(ROOT / "spa", place / "spa", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("tests", "models", "scripts"):
            (place / name).symlink_to(ROOT / name, target_is_directory=True)
        if edit is not None:
            for file, source in sabotaged(edit).items():
                (place / file).write_text(source)
        command = [sys.executable, "-m", "tests.mutants.probe", *(edit.by if edit else ())]
        command += ["--only"] * only
        if tests:
            quietly = ("-q", "-x", "-p", "no:cacheprovider", "--tb=no", "--rootdir=.")
            command = [sys.executable, "-m", "pytest", *quietly, *tests]
        try:
            done = subprocess.run(
                ["sh", "-c", f'ulimit -t {PATIENCE}; exec "$@"', "sh", *command],
                cwd=place,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                timeout=ASLEEP,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "hangs"
    if done.returncode == 0:
        return ""
    said = done.stdout.strip() or done.stderr.strip() or f"ended by {-done.returncode}"
    return said.splitlines()[-1]


def judged(edit: Edit) -> tuple[Edit, str]:
    """The edit and what was noticed; an edit that does not apply speaks for itself."""
    try:
        return edit, noticed(edit)
    except ValueError as error:
        return edit, f"! {error}"


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only edits that contain one of these")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what killed each")
    options = parser.parse_args()
    chosen = [e for e in EDITS if not options.words or any(w in str(e) for w in options.words)]
    begin, killed, failed = time.perf_counter(), 0, 0
    named = sorted({test for edit in chosen for test in edit.tests})
    for tests in ((), *((name,) for name in named)):
        if sane := noticed(None, tests=tests):
            print(f"{' '.join(tests) or 'the probe'} fails without any edit: {sane}")
            return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        for edit, what in pool.map(judged, chosen):
            killed += bool(what) and not what.startswith("!")
            if not what or what.startswith("!"):
                failed += 1
                print(f"SURVIVES  {edit}" if not what else f"STALE  {what[2:]}", flush=True)
            elif options.verbose:
                print(f"killed  {edit}  by  {what[:120]}", flush=True)
    print(f"{killed} of {len(chosen)} killed in {time.perf_counter() - begin:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
