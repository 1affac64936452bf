"""The tools of the table, each run on one exported network in processes of its own."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.nets import Net
from zoo.process import Limits, ask, run

Result = dict[str, Any]

COMMON = ("--scorer", "l2", "--no-reconstruct", "--round-to", "1", "--force", "--json")
RUNS: Mapping[str, tuple[str, ...]] = {
    "spa": ("--ratio", "0.5", "--of", "channels", "--scope", "local", *COMMON),
    "spa macs": ("--ratio", "0.5", "--of", "macs", *COMMON),
}
"""What `spa prune` is asked for, by the name of the run."""
PEERS = ("onnxsim", "torch-pruning")
TOOLS = (*RUNS, *PEERS)
TORCH = ("timm", "hf", "own")
"""Sources that give a torch module too."""

DIGEST = """
import hashlib, pathlib, spa
code = hashlib.sha256()
for path in sorted(pathlib.Path(spa.__file__).parent.rglob("*.py")):
    code.update(path.read_bytes())
print(spa.__version__ + "+" + code.hexdigest()[:8])
"""
VERSIONS = """
import importlib.metadata as m
print(m.version("onnxsim"), m.version("torch-pruning"))
"""


@dataclass(frozen=True)
class Places:
    """Which interpreter runs what, and where files go.

    Attributes:
        spa: interpreter of an environment with spa (or what it needs: the one beside is found).
        peers: interpreter of an environment with the other pruners and timm.
        sources: interpreters by source, where they differ from `peers`.
        folder: exported networks lie here.
    """

    spa: str
    peers: str
    sources: Mapping[str, str]
    folder: Path

    def python(self, source: str) -> str:
        """The interpreter that exports a source's networks."""
        return self.sources.get(source, self.peers)

    def model(self, net: Net) -> Path:
        """Where a network's file lies."""
        return self.folder / f"{net.key}.onnx"


def versions(places: Places, limits: Limits) -> dict[str, str]:
    """The version of every tool; spa's has a digest of its code, as it changes between releases.

    Raises:
        RuntimeError: there is no spa.
    """
    done = run([places.spa, "-c", DIGEST], limits, places.folder)
    if done.code:
        raise RuntimeError(f"no spa in {places.spa}: {done.complaint(limits)}")
    found = dict.fromkeys(RUNS, done.out.strip())
    done = run([places.peers, "-c", VERSIONS], limits, places.folder)
    return found | dict(zip(PEERS, done.out.split() or ["missing"] * 2, strict=False))


def export(net: Net, places: Places, limits: Limits) -> Result:
    """Write a network's file."""
    command = [places.python(net.source), "-m", "zoo.export", net.source, net.name]
    path = places.model(net)
    found = ask([*command, str(net.size), net.exporter, str(path)], limits, places.folder)
    if "error" in found:
        path.unlink(missing_ok=True)
    return found


def measure(tool: str, net: Net, places: Places, limits: Limits) -> Result:
    """Prune a network's file by one tool."""
    path = places.model(net)
    output = places.folder / f"{net.key}.{tool.replace(' ', '-')}.pruned.onnx"
    try:
        if tool in RUNS:
            return _spa(tool, path, output, places, limits)
        python = places.peers if tool == "onnxsim" else places.python(net.source)
        command = [python, "-m", "zoo.peers", tool, net.source, net.name, str(net.size)]
        found = ask([*command, str(path), str(output)], limits, places.folder)
        if "error" in found:
            found = {"valid": False, "why": found.pop("error"), **found}
        return found
    finally:
        for each in places.folder.glob(f"{output.name}*"):
            each.unlink()


def _spa(tool: str, path: Path, output: Path, places: Places, limits: Limits) -> Result:
    """Run `spa prune`, then look at what it wrote as at every other tool's file."""
    command = [places.spa, "-m", "spa", "prune", os.fspath(path), "-o", os.fspath(output)]
    done = run([*command, *RUNS[tool]], limits, places.folder)
    try:
        report = json.loads(done.out)
    except ValueError:
        report = {}
    found: Result = {"code": done.code, "wall": round(done.seconds, 3), **_facts(report)}
    if done.code != 0:
        return {**found, "valid": False, "why": report.get("error") or done.complaint(limits)}
    command = [places.spa, "-m", "zoo.check", os.fspath(output), os.fspath(path)]
    seen = ask(command, limits, places.folder)
    seen.pop("wall")
    if "error" in seen:
        seen = {"valid": False, "why": seen.pop("error"), **seen}
    return {**found, **seen}


def _facts(report: Result) -> Result:
    """What the table needs of a report."""
    timings = report.get("timings") or {}
    verify = report.get("verify") or {}
    frozen: Counter[str] = Counter()
    for each in report.get("frozen") or []:
        frozen[f"{each['reason']} ({each['op']})"] += each["channels"] or 0
    stages = ("load", "couple", "score", "allocate", "rewrite")
    return {
        "seconds": sum(timings.get(key, 0.0) for key in stages),
        "load": timings.get("load", 0.0),
        "verify": timings.get("verify", 0.0),
        "peak_mib": round((report.get("peak_rss_bytes") or 0) / 2**20),
        "reduction": report.get("reduction"),
        "level": verify.get("level"),
        "gap": verify.get("equivalence_error"),
        "lossy": len(verify.get("lossy") or []),
        "frozen": dict(frozen.most_common()),
        "status": report.get("status"),
        "whole": sum(
            g["channels_before"] == g["channels_after"] and not g["frozen"]
            for g in report.get("groups") or []
        ),
        "groups": len(report.get("groups") or []),
    }
