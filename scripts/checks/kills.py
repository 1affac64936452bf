"""Kill `spa prune` at random moments and at every single move, and show that no file is lost.

    kills.py --kills 200

Every run replaces (or makes) a model, with or without external data, and a report.  It is ended by
SIGKILL, SIGTERM or SIGINT: after a random time, or exactly before the n-th time that it opens,
moves or removes a file of its folder.  Other runs meet a full disk (a small tmpfs, where this may
be mounted) or a limit on the size of files.  After each, the output is the old one, none or the
new one, complete; the inputs are untouched; and after the next run nothing else is there.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from spa.cli.main import run

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
EVENTS = ("open", "os.rename", "os.remove", "os.rmdir")
OPTIONS = ("-s", "l1", "-r", "0.4", "--of", "params", "--round-to", "1", "--verify", "none", "-q")
HOOKED = f"""
import os, sys
place, count, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
seen = 0
def hook(event, arguments):
    global seen
    if event in {EVENTS} and place in str(arguments[0] if arguments else ""):
        seen += 1
        if seen == count:
            os.kill(os.getpid(), number)
sys.addaudithook(hook)
from spa.cli.main import main
main(sys.argv[4:])
"""

NARROW = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from spa.cli.main import main
main(sys.argv[2:])
"""


@dataclass(frozen=True)
class Case:
    """What is on the disk before, and what may be there after."""

    folder: Path
    external: bool
    old: bool

    @property
    def command(self) -> list[str]:
        """The run that is tormented."""
        names = ("in.onnx", "out/m.onnx", "out/r.json")
        source, target, report = (str(self.folder / name) for name in names)
        return ["prune", source, "-o", target, "--report", report, "--force", *OPTIONS]


def model(width: int) -> onnx.ModelProto:
    """Two products; what is between them can be cut."""
    chance = np.random.default_rng(width)
    stored = [
        numpy_helper.from_array(chance.normal(size=shape).astype(np.float32), name)
        for name, shape in (("a", (8, width)), ("b", (width, 64)))
    ]
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"])]
    nodes.append(helper.make_node("MatMul", ["h", "b"], ["y"]))
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("x", 8), ("y", 64))
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def prepared(case: Case) -> None:
    """Write the input, and what a former run made of another."""
    shutil.rmtree(case.folder / "out", ignore_errors=True)
    (case.folder / "out").mkdir(parents=True)
    how = {"save_as_external_data": True, "location": "in.data", "size_threshold": 0}
    for width in (96, 128) if case.old else (128,):
        onnx.save(model(width), case.folder / "in.onnx", **(how if case.external else {}))
        if width == 96:
            assert calm(case) == (0, "")


def calm(case: Case) -> tuple[int, str]:
    """The same run, left alone, in this process: its exit code and what it says."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        return run(case.command), said.getvalue()


def state(folder: Path) -> dict[str, str]:
    """Every file below a folder, by hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def made(folder: Path) -> dict[str, str] | None:
    """The model in a folder with the data it needs, by hash; None if there is none.

    Raises:
        OSError, AssertionError: it is not complete.
    """
    path = folder / "m.onnx"
    if not path.exists():
        return None
    proto = onnx.load(path, load_external_data=False)
    names = {e.value for t in proto.graph.initializer for e in t.external_data if e.key[0] == "l"}
    found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    assert all(digest[:12] in name for name, digest in found.items()), found
    return {"m.onnx": hashlib.sha256(path.read_bytes()).hexdigest(), **found}


def environment() -> dict[str, str]:
    """Where children find spa, this file's own."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


def after_a_while(case: Case, number: int, seconds: float) -> int:
    """Start a run, end it after some time; its exit code."""
    command = [sys.executable, "-m", "spa", *case.command]
    child = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    child.send_signal(number)
    return child.wait()


def at_a_point(case: Case, number: int, count: int) -> int:
    """Let a run end itself before it touches its output folder for the n-th time."""
    words = [str(case.folder / "out"), str(count), str(int(number)), *case.command]
    command = [sys.executable, "-c", HOOKED, *words]
    return subprocess.run(
        command, env=environment(), stderr=subprocess.DEVNULL, check=False
    ).returncode


@contextlib.contextmanager
def small_disk(folder: Path, room: int) -> Iterator[bool]:
    """Mount a disk of so many bytes over a folder, with what is in it; False where that fails."""
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    command = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    try:
        if done:
            shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield done
    finally:
        if done:
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(kept)


def without_room(case: Case, limit: int) -> tuple[int, str]:
    """Run with a limit on the size of files, which stands for a full disk."""
    command = [sys.executable, "-c", NARROW, str(limit), *case.command]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


class Torment:
    """All trials, what came of them, and what was wrong."""

    def __init__(self, folder: Path, chance: random.Random, seconds: float) -> None:
        self.folder, self.chance, self.seconds = folder, chance, seconds
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.turn = 0

    def trial(self, name: str, end: Callable[[Case], object]) -> None:
        """One run that is ended, and the next, which is not."""
        case = Case(self.folder / "case", bool(self.turn & 1), bool(self.turn & 2))
        self.turn += 1
        prepared(case)
        out = case.folder / "out"
        inputs = {name: h for name, h in state(case.folder).items() if name[:2] == "in"}
        before, reports = made(out), (out / "r.json").exists()
        code = end(case)
        label = f"{name}, {'external' if case.external else 'plain'}, old {case.old}: {code}"
        try:
            found, partial = made(out), state(out)
            left = [n for n in partial if n not in (found or {}) and n != "r.json"]
        except (OSError, AssertionError) as error:
            self.wrong.append(f"{label}: incomplete ({error})")
            return
        again = calm(case)
        final = made(out)
        kind = "old" if found == before else "new" if found == final else "mixed"
        kind = "none" if found is None else kind
        self.counts[kind] += 1
        self.counts[name] += 1
        self.counts["left for the next run"] += bool(left)
        now = {name: h for name, h in state(case.folder).items() if name[:2] == "in"}
        if kind == "mixed" or (kind == "none" and before is not None):
            self.wrong.append(f"{label}: {kind}")
        if now != inputs or again[0] or (reports and "r.json" not in partial):
            self.wrong.append(f"{label}: inputs, report or next run {again}")
        extra = state(out).keys() - {*(final or {}), "r.json"}
        if extra or [*(self.folder / "tmp").iterdir()]:
            self.wrong.append(f"{label}: left {extra}, {[*(self.folder / 'tmp').iterdir()]}")

    def kill(self) -> None:
        """End a run by a signal, after a while or at a point."""
        number = self.chance.choice(SIGNALS)
        if self.chance.random() < 0.4:
            seconds = self.chance.uniform(0, self.seconds)
            words = f"{number.name} after a while"
            self.trial(words, lambda case: after_a_while(case, number, seconds))
        else:
            count = self.chance.randint(1, 12)
            self.trial(f"{number.name} at a point", lambda case: at_a_point(case, number, count))

    def fill(self) -> None:
        """Let a run meet a full disk."""
        limit = self.chance.choice((0, 1024, 4096, 16384))

        def limited(case: Case) -> str:
            return self.judged(*without_room(case, limit))

        def full(case: Case) -> str:
            used = sum(path.stat().st_size + 4096 for path in (case.folder / "out").iterdir())
            with small_disk(case.folder / "out", used + limit + 4096) as mounted:
                return self.judged(*calm(case)) if mounted else "not mounted"

        self.trial("file size limit", limited)
        self.trial("full disk", full)

    def judged(self, code: int, said: str) -> str:
        """One sentence and exit code 2, or it fitted."""
        fine = (code, said) == (0, "") or (code == 2 and said.count("\n") <= 2)
        fine = fine and "internal" not in said and "Traceback" not in said
        if not fine:
            self.wrong.append(f"said {code}: {said}")
        return f"{code} {said.strip()}"


def torment(kills: int, fills: int, seed: int) -> Torment:
    """Run all trials in a folder of their own."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(os.path.realpath(place))
        (folder / "tmp").mkdir()
        known = os.environ.get("TMPDIR")
        os.environ["TMPDIR"], tempfile.tempdir = str(folder / "tmp"), None
        try:
            case = Case(folder / "case", True, False)
            prepared(case)
            began = time.monotonic()
            after_a_while(case, 0, 0)  # signal 0 does nothing
            made = Torment(folder, random.Random(seed), time.monotonic() - began)
            for _ in range(kills):
                made.kill()
            for _ in range(fills):
                made.fill()
        finally:
            del os.environ["TMPDIR"]
            if known is not None:
                os.environ["TMPDIR"] = known
            tempfile.tempdir = None
    return made


def main() -> int:
    """Count, and fail if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--fills", type=int, default=20, help="full disks, and as many limits")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not ignored, as in a background
    made = torment(asked.kills, asked.fills, asked.seed)
    for name, count in sorted(made.counts.items()):
        print(f"{count:5} {name}")
    print("\n".join(made.wrong) or "nothing wrong")
    return bool(made.wrong)


if __name__ == "__main__":
    sys.exit(main())
