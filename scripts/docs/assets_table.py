"""Run `spa prune` on every model of a folder and say what became of each, one row per file.

    assets_table.py MODEL_DIR [--ratio 0.5 --of channels --scorer l1] [--markdown]
                                   [--match TEXT] [--timeout 120] [--json FILE] [-- MORE OPTIONS]

Every file is pruned by the real command in a process of its own, into an empty folder.  A run must
end with an exit code of the documented ones, show no traceback, leave the input as it was, write
nothing when it fails and a model when it succeeds; what breaks this is listed at the end, and
makes this script fail.  Refused means that a model cannot be read or gives no channels away (exit
codes 3 and 4), failed is everything else that is no success.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KNOWN_CODES = {0, 2, 3, 4, 5, 7}
REFUSED = {3, 4}
HEAD = ("model", "exit", "status", "params", "MACs", "channels", "verified", "seconds", "note")


@dataclass(frozen=True)
class Row:
    """What one run did."""

    model: str
    exit: int
    status: str
    params: str
    macs: str
    channels: str
    verified: str
    seconds: float
    note: str
    broken: tuple[str, ...]  # promises of the command line that this run did not keep

    @property
    def verdict(self) -> str:
        """Pruned, refused or failed."""
        return "pruned" if self.exit == 0 else "refused" if self.exit in REFUSED else "failed"

    def cells(self) -> tuple[str, ...]:
        """The columns of the table."""
        figures = (self.params, self.macs, self.channels, self.verified)
        return (self.model, str(self.exit), self.status, *figures, f"{self.seconds:.1f}", self.note)


def run(path: Path, options: Sequence[str], limit: float) -> Row:
    """Prune one file with the command line and look at all it left behind."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "pruned.onnx")
        command = [sys.executable, "-m", "spa", "prune", os.fspath(path), "-o", os.fspath(output)]
        before = digest(path)
        start = time.perf_counter()
        try:
            done = subprocess.run(
                [*command, "--json", *options],
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
                env={**os.environ, "PYTHONPATH": os.fspath(ROOT), "NO_COLOR": "1"},
            )
            code, out, err = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired:
            code, out, err = 7, "", f"took longer than {limit:g} s"
        seconds = time.perf_counter() - start
        report = parse(out)
        broken = promises(code, out, err, report, output)
        if digest(path) != before:
            broken.append("the input was changed")
    reduction = report.get("reduction") or {}
    return Row(
        path.stem,
        code,
        str(report.get("status") or "-"),
        *(share(reduction.get(key)) for key in ("params", "macs", "channels")),
        verified(report.get("verify")),
        seconds,
        note(report, err),
        tuple(broken),
    )


def digest(path: Path) -> str:
    """What tells whether a file was changed."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def parse(out: str) -> dict[str, Any]:
    """The report on standard output, or nothing."""
    try:
        found = json.loads(out)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def promises(code: int, out: str, err: str, report: dict[str, Any], output: Path) -> list[str]:
    """The promises of the command line that were broken."""
    broken = []
    if code not in KNOWN_CODES:
        broken.append(f"exit code {code}")
    if "Traceback (most recent call last)" in err + out:
        broken.append("a traceback")
    left = sorted(p.name for p in output.parent.iterdir())
    if code and left:
        broken.append(f"failed and left {', '.join(left)}")
    if not code and not output.exists():
        broken.append("succeeded and wrote no model")
    if not report:
        broken.append("no report on standard output")
    elif report.get("exit_code") != code:
        broken.append(f"the report says exit code {report.get('exit_code')}")
    if code and not err.strip():
        broken.append("failed without a word")
    return broken


def share(value: float | None) -> str:
    """A share removed, as a percentage."""
    return "-" if value is None else f"-{100 * value:.1f} %"


def verified(facts: dict[str, Any] | None) -> str:
    """The level reached and what was measured there."""
    if not facts:
        return "-"
    text = f"{facts.get('level')} {'passed' if facts.get('passed') else 'FAILED'}"
    error = facts.get("equivalence_error")
    return text if error is None else f"{text} ({error:.0e})"


def note(report: dict[str, Any], err: str) -> str:
    """Why there is no model."""
    error = report.get("error") or ("" if report else err.strip().splitlines()[-1:])
    if isinstance(error, dict):
        error = error.get("message", "")
    text = "".join(error).strip()
    return text if len(text) <= 110 else text[:109] + "…"


def table(rows: Sequence[Row], markdown: bool) -> str:
    """Aligned columns, or a Markdown table."""
    if markdown:
        lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
        escaped = ([cell.replace("|", "\\|") for cell in row.cells()] for row in rows)
        return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in escaped)])
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(HEAD) - 1)]
    return "\n".join(
        "  ".join(
            [*(text.ljust(n) for text, n in zip(row, widths, strict=False)), row[-1]]
        ).rstrip()
        for row in cells
    )


def summary(rows: Sequence[Row]) -> str:
    """How many were pruned, refused or failed, and the promises that were broken."""
    counts = Counter(row.verdict for row in rows)
    lines = [" / ".join(f"{counts[k]} {k}" for k in ("pruned", "refused", "failed"))]
    lines += [f"BROKEN {row.model}: {'; '.join(row.broken)}" for row in rows if row.broken]
    return "\n".join(lines)


def main() -> int:
    """Prune all, print the table; 1 if a run failed or broke a promise."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--ratio", default="0.5")
    parser.add_argument("--of", default="channels")
    parser.add_argument("--scorer", default="l1")
    parser.add_argument("--match", default="", help="only files whose name holds this")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one file")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", type=Path, help="keep every row here")
    parser.add_argument("more", nargs="*", help="further options of spa prune, after --")
    options = parser.parse_args()
    chosen = ["--ratio", options.ratio, "--of", options.of, "--scorer", options.scorer]
    paths = sorted(p for p in options.folder.rglob("*.onnx") if options.match in p.name)
    rows = [run(path, [*chosen, *options.more], options.timeout) for path in paths]
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    print(table(rows, options.markdown), "", summary(rows), sep="\n")
    return int(not rows or any(row.broken or row.verdict == "failed" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
