"""Tiny models, the command in a process that can be killed, and what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import onnx

from tests.nets import Net
from tests.nets.layers import products

ROOT = Path(__file__).parents[2]
QUICK = (
    "--jobs",
    "2",
    "-s",
    "l1",
    "--ratio",
    "0.4",
    "--of",
    "params",
    "--round-to",
    "1",
    "--verify",
    "none",
)


def tiny(seed=0, hidden=16, out=4):
    """Two matrix products with a width between them that can be cut."""
    return products(8, hidden, out, batch=1, seed=seed)


def save(path, seed=0, hidden=16, out=4, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(tiny(seed, hidden, out), path, **how)
    return path


def save_external(path, seed=0, hidden=128, out=512):
    """With data beside it, of which the bias stays there when the rest is cut."""
    how = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 16}
    return save(path, seed, hidden, out, **how)


def build(folder):
    """Three models that can be pruned, one of them with data beside it."""
    save(folder / "one.onnx", 1)
    save(folder / "deep" / "two.onnx", 2, 24)
    save_external(folder / "deep" / "large.onnx", 3)
    return folder


def rigid(path):
    """A model without a weight: nothing can be pruned."""
    n = Net(batch=1)
    onnx.save(n.done(n.Relu(n.input("x", 4))), path)
    return path


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(*words, **how):
    """The command in a process of its own, which a test may kill."""
    command = [sys.executable, "-m", "spa", "zoo", *map(str, words)]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **how}
    return subprocess.Popen(command, env=environment(), **pipe)


def lines(dest):
    """The manifest's lines; one that a kill cut in half is none."""
    found = []
    manifest = Path(dest) / ".zoo" / "manifest.jsonl"
    for text in manifest.read_text().splitlines() if manifest.exists() else ():
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


def workers(dest):
    """Process ids of those that prune for a destination (Linux)."""
    mark = str(Path(dest).absolute() / ".zoo" / "work").encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if b"spa.zoo.job" in words and mark in words:
                found.append(int(folder.name))
    return found


def until(true, seconds=600):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def end(run, expected=0):
    """Wait for a run; its standard error."""
    err = run.communicate(timeout=900)[1]
    assert run.returncode == expected, err
    return err


def summary(dest, stem="summary"):
    return json.loads((Path(dest) / f"{stem}.json").read_text())


def outcome(dest):
    """What must not depend on how a run came about: everything but times."""
    made = summary(dest)
    keep = ("name", "status", "exit_code", "error", "sha256", "params_after", "bytes_after")
    rows = [{key: row[key] for key in keep} for row in made["models"]]
    return rows, made["totals"], made["sums"], made["reasons"]


def partial(dest):
    """Files of a destination that are neither results nor the zoo's own records."""
    dest = Path(dest)
    known = {path for line in lines(dest) for path in line["output"]}
    found = [p for p in dest.rglob("*") if p.is_file() and ".zoo" not in p.parts]
    names = [p.relative_to(dest).as_posix() for p in found]
    left = [n for n in names if n not in known and not n.startswith("summary")]
    return left + [str(p) for p in (dest / ".zoo" / "work").glob("*")]
