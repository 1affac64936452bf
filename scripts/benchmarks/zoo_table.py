"""Prune a zoo of networks with spa and with its peers, and write the compatibility table.

    zoo_table.py FOLDER [--only 'resnet*' ...] [--source timm ...] [--core]
        [--spa-python PYTHON] [--peers-python PYTHON] [--python keras=PYTHON ...]
        [--limit 150] [--memory 4] [--keep] [--json FILE] [--markdown FILE] [--list] [--print]
        [--strict]

Every network of zoo/nets.json is exported with random weights (BatchNorm statistics and all
1-D parameters moved, so that no two tensors are equal), halved by spa (`--of channels --scope local
--scorer l2 --round-to 1`, no reconstruction), cut to half of its multiply-accumulates, and halved
by onnxsim and, where there is a torch module, by Torch-Pruning.  spa proves each of its files
against the masked original; every file is then run by onnxruntime.  Every step has a process of its
own, with a limit on time and memory.  Results stand in FOLDER/results.jsonl, by network, tool and
version: a run that was stopped goes on, and what has not changed is not measured again
(--any-version: not even where spa's code has).  Exported files are deleted unless --keep.

spa runs in --spa-python.  The peers and the exporters of timm and torchvision run in
--peers-python, which needs torch, torchvision, timm, onnx, onnxruntime, onnxsim and torch-pruning;
other sources need the packages that their module in zoo/ names, in an interpreter given by
--python SOURCE=PYTHON (networks of a source without packages are not exported).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo import table, tools
from zoo.nets import Net, choose, load
from zoo.process import ROOT, Limits
from zoo.results import Results

WORDS = """
Written by `scripts/benchmarks/zoo_table.py FOLDER` from what it measured; do not edit. Networks
have random weights, so this says nothing about accuracy: it says which networks can be pruned, how
deeply, and what is left alone. spa halves every group of channels by L2 norm (`spa prune --ratio
0.5 --of channels --scope local --scorer l2 --round-to 1 --no-reconstruct`) and, in another run,
half of the multiply-accumulates; it proves each file against the original with the dropped channels
held at zero, and onnxruntime then runs the file. onnxsim halves by `apply_structured_pruning` and
`apply_attention_head_pruning` after `simplify`; Torch-Pruning halves the PyTorch module by
`BasePruner` with `GroupMagnitudeImportance(p=2)`, the last layer left alone, the number of heads
given for fused projections, and counts as valid where the module still runs. Each tool has one
thread, 150 s and 4 GiB. *Removed* is the share of the floating-point numbers in the exported file.
A share within half a point of the deeper peer's counts as equal. Inputs are small where a network
takes them (the size stands beside its name): couplings do not depend on it. The first set are the
70 networks the peers were first compared on; TorchScript cannot write three, which PyTorch's
newer exporter can. A model whose output is its hidden state (an encoder without a head) shows that
state, so it cannot be cut there: that is what "graph output" says at the end of this page.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, then write the page."""
    options = parse(argv)
    nets = load(options.nets) if options.nets else load()
    chosen = choose(nets, options.only, options.source, options.core)
    if options.list:
        print("\n".join(f"{net.key}  {net.family}" for net in chosen))
        return 0
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    places = tools.Places(options.spa_python, options.peers_python, options.python, folder)
    limits = Limits(options.limit, options.memory, options.threads)
    results = Results(folder / "results.jsonl")
    versions = tools.versions(places, limits)
    if not options.print:
        for k, net in enumerate(chosen):
            print(f"[{k + 1}/{len(chosen)}] {net.key}", file=sys.stderr, flush=True)
            measure(net, places, limits, results, versions, options)
    write([row_of(net, results) for net in nets], versions, options, folder)
    rows = [row for row in (row_of(net, results) for net in chosen) if row.exported]
    return int(options.strict and bool(table.invalid(rows) or table.shortfalls(rows)))


def measure(
    net: Net, places: tools.Places, limits: Limits, results: Results, versions: dict[str, str],
    options: argparse.Namespace,
) -> None:  # fmt: skip
    """Run every tool on a network that has no result of its version; export first if need be."""

    def known(tool: str) -> bool:
        exact = None if options.any_version and tool in tools.RUNS else versions[tool]
        return results.of(net.key, tool, exact) is not None

    wanted = [tool for tool in options.tools if not known(tool) or options.again]
    if net.source not in tools.TORCH:
        wanted = [tool for tool in wanted if tool != "torch-pruning"]
    exported = results.of(net.key, "export") or {}
    again = options.again or (options.retry_exports and not exported.get("valid"))
    from_file = [tool for tool in wanted if tool != "torch-pruning"]
    needed = from_file and exported.get("valid") and not places.model(net).exists()
    if again or needed or not exported:
        exported = _exported(net, places, limits, results)
    if exported.get("valid"):
        for tool in wanted:
            found = tools.measure(tool, net, places, limits)
            results.keep(net.key, tool, versions[tool], found)
            tell(tool, found, exported)
    if not options.keep:
        for each in places.folder.glob(f"{places.model(net).name}*"):
            each.unlink()


def _exported(net: Net, places: tools.Places, limits: Limits, results: Results) -> dict[str, Any]:
    found = tools.export(net, places, limits)
    results.keep(net.key, "export", net.exporter, found)
    tell("export", found, found)
    return found


def tell(tool: str, found: dict[str, Any], exported: dict[str, Any]) -> None:
    """One line on what has just been measured."""
    if not found.get("valid"):
        words = "no: " + str(found.get("error") or found.get("why"))[:150]
    elif "stored" in found and exported.get("stored"):
        words = table.percent(1 - found["stored"] / exported["stored"])
    else:
        words = table.percent(found.get("removed"))
    print(f"    {tool:14} {words}  ({found.get('wall', 0):.1f} s)", file=sys.stderr, flush=True)


def row_of(net: Net, results: Results) -> table.Row:
    """What has been measured of a network, by whatever version."""
    found = {tool: results.of(net.key, tool) for tool in tools.TOOLS}
    known = {tool: result for tool, result in found.items() if result is not None}
    return table.Row(net, results.of(net.key, "export") or {}, known)


def write(
    rows: list[table.Row], versions: dict[str, str], options: argparse.Namespace, folder: Path
) -> None:
    """Write the page and the JSON, of all networks that have been tried."""
    tried = [row for row in rows if row.export]
    shown = {name: versions[name] for name in ("spa", *tools.PEERS)}
    shown["spa"] = shown["spa"].split("+")[0]
    options.markdown.write_text(table.page(tried, shown, WORDS), encoding="utf-8")
    path = options.json or folder / "table.json"
    found = [{**vars(row.net), "export": row.export, "results": row.results} for row in tried]
    path.write_text(json.dumps({"versions": versions, "networks": found}, indent=1) + "\n")
    print(table.summary(tried))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("folder", type=Path, nargs="?", default=ROOT / "build" / "zoo", help="for what is made")
    add("--only", nargs="+", default=[], metavar="GLOB", help="names, families or keys")
    add("--source", nargs="+", default=[], help="only networks of these sources")
    add("--core", action="store_true", help="only the first set")
    add("--nets", type=Path, help="another list than scripts/benchmarks/zoo/nets.json")
    add("--tools", nargs="+", choices=tools.TOOLS, default=list(tools.TOOLS))
    add("--spa-python", default=sys.executable)
    add("--peers-python", default=sys.executable)
    add("--python", action="append", default=[], metavar="SOURCE=PYTHON")
    add("--limit", type=float, default=150.0, help="seconds for one step of one tool")
    add("--memory", type=float, default=4.0, help="GiB for one step of one tool")
    add("--threads", type=int, default=1, help="of every tool")
    add("--keep", action="store_true", help="keep exported files")
    add("--any-version", action="store_true", help="spa's results stay when its code changes")
    add("--again", action="store_true", help="measure even what is known")
    add("--retry-exports", action="store_true", help="try again what could not be exported")
    add("--json", type=Path, help="default: FOLDER/table.json")
    add("--markdown", type=Path, default=ROOT / "docs" / "compatibility.md")
    add("--strict", action="store_true", help="fail unless spa is valid and deep everywhere")
    add("--list", action="store_true", help="only list the networks")
    add("--print", action="store_true", help="measure nothing, write the page")
    options = parser.parse_args(argv)
    options.python = dict(each.split("=", 1) for each in options.python)
    return options


if __name__ == "__main__":
    # Ended as by Ctrl-C: what has been started ends too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
