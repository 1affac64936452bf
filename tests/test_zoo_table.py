"""scripts/benchmarks/zoo_table.py: what it lists, measures, keeps and prints."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.nets.layers import products

ROOT = Path(__file__).parents[1]
PARTS = ("zoo_table", "zoo")


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The script can be imported, and is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "benchmarks"))
    yield
    for name in [n for n in sys.modules if n.split(".")[0] in PARTS]:
        del sys.modules[name]


def part(name: str) -> Any:
    """A module of the script."""
    return importlib.import_module(name)


def save(path: Path, hidden: int = 8) -> Path:
    onnx.save(products(6, hidden, 3, bias=False), path)
    return path


def listed(folder: Path, *paths: Path) -> Path:
    """A list of networks that are files."""
    entries = [{"source": "file", "family": "made up", "names": [str(p) for p in paths]}]
    (folder / "nets.json").write_text(json.dumps(entries))
    return folder / "nets.json"


def row(spa: dict[str, Any], peers: dict[str, dict[str, Any]] | None = None, **net: Any) -> Any:
    """A row of a made-up network of 1,000 numbers."""
    net = {"source": "timm", "name": "net", "family": "some", **net}
    results = {"spa": {"seconds": 1.0, "frozen": {}, **spa}, **(peers or {})}
    export = {"valid": True, "stored": 1000}
    return part("zoo.table").Row(part("zoo.nets").Net(**net), export, results)


def test_the_list_names_every_network_once_and_the_first_set_whole():
    nets = part("zoo.nets").load()
    assert len({net.key for net in nets}) == len(nets)
    assert sum(net.core for net in nets) == 70
    assert {net.source for net in nets} <= {
        path.stem.removeprefix("source_")
        for path in (ROOT / "scripts/benchmarks/zoo").glob("source_*.py")
    }


def test_a_network_listed_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="twice"):
        part("zoo.nets").load(listed(tmp_path, Path("a.onnx"), Path("a.onnx")))


@pytest.mark.parametrize(
    ("only", "sources", "names"),
    [(["res*"], [], {"resnet18", "rest"}), (["some"], [], {"resnet18"}), ([], ["own"], {"rest"})],
)
def test_networks_are_chosen_by_name_family_and_source(only, sources, names):
    net = part("zoo.nets").Net
    nets = [
        net("timm", "resnet18", "some"), net("own", "rest", "other"), net("timm", "vgg", "other"),
    ]  # fmt: skip
    assert {n.name for n in part("zoo.nets").choose(nets, only, sources, core=False)} == names


def test_results_survive_a_line_cut_short_and_are_kept_by_version(tmp_path):
    results = part("zoo.results").Results
    kept = results(tmp_path / "r.jsonl")
    kept.keep("net", "spa", "1", {"valid": False})
    kept.keep("net", "spa", "2", {"valid": True})
    with (tmp_path / "r.jsonl").open("a") as file:
        file.write('{"net": "net", "tool": "sp')
    again = results(tmp_path / "r.jsonl")
    assert again.of("net", "spa", "1") == {"valid": False}
    assert again.of("net", "spa") == {"valid": True}
    assert again.of("net", "spa", "3") is None


def test_a_command_that_takes_too_long_or_too_much_is_a_result(tmp_path):
    process = part("zoo.process")
    limits = process.Limits(seconds=0.5, memory=1.0)
    late = process.ask([sys.executable, "-c", "import time; time.sleep(999)"], limits, tmp_path)
    assert late["error"] == "took longer than 0.5 s"
    limits = process.Limits(seconds=600, memory=1.0)
    big = process.ask([sys.executable, "-c", "b = bytearray(2 * 2**30)"], limits, tmp_path)
    assert big["error"] == "MemoryError"


def test_depth_is_judged_against_the_deeper_valid_peer():
    peers = {
        "onnxsim": {"valid": True, "stored": 700, "seconds": 1.0},
        "torch-pruning": {"valid": False, "stored": 100, "seconds": 1.0},
    }
    shallow = row({"valid": True, "stored": 750, "frozen": {"no rule (Foo)": 7}}, peers)
    equal = row({"valid": True, "stored": 704}, peers)
    table = part("zoo.table")
    assert shallow.deeper() == ("onnxsim", pytest.approx(0.3))
    assert table.shortfalls([shallow, equal]) == ["* net: 25.0 %, onnxsim 30.0 % (7 no rule (Foo))"]
    page = table.page([shallow, equal], {"spa": "1"}, "words")
    line = next(line for line in page.splitlines() if line.startswith("| all: 2 | spa"))
    assert "| 2 of 2 | 27.3 % |" in line and "| 1 of 2 |" in line


def test_what_is_not_valid_is_named_with_its_reason():
    broken = row({"valid": False, "why": "no rule | at all"})
    page = part("zoo.table").page([broken], {}, "words")
    assert "* net: no rule | at all" in page
    assert "**no**: no rule / at all" in page


def test_a_network_is_measured_once_and_the_page_tells(tmp_path, monkeypatch, capsys):
    script, tools = part("zoo_table"), part("zoo.tools")
    net = save(tmp_path / "tiny.onnx")
    paths = [f"--{name}={tmp_path / name}" for name in ("markdown", "json")]
    folder = str(tmp_path / "work")
    argv = [folder, *paths, "--nets", str(listed(tmp_path, net)), "--tools", "spa", "spa macs"]
    assert script.main(argv) == 0
    [found] = json.loads((tmp_path / "json").read_text())["networks"]
    spa = found["results"]["spa"]
    assert spa["valid"] and spa["level"] == "equivalence" and spa["stored"] == 36
    assert spa["frozen"] == {"graph output (output)": 3}
    assert found["results"]["spa macs"]["reduction"]["macs"] >= 0.4
    page = (tmp_path / "markdown").read_text()
    assert "| 0.00 M | 50.0 % | 50.0 % |" in page
    assert not list(Path(folder).glob("*.onnx"))

    def never(*_: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(tools, "measure", never)
    monkeypatch.setattr(tools, "export", never)
    assert script.main([*argv, "--strict"]) == 0
    assert (tmp_path / "markdown").read_text() == page


def test_strict_fails_where_a_result_is_not_valid(tmp_path):
    script, results = part("zoo_table"), part("zoo.results")
    listing = listed(tmp_path, tmp_path / "net.onnx")
    [net] = part("zoo.nets").load(listing)
    kept = results.Results(tmp_path / "results.jsonl")
    kept.keep(net.key, "export", "torchscript", {"valid": True, "stored": 10})
    kept.keep(net.key, "spa", "1", {"valid": False, "why": "differs", "seconds": 1.0})
    paths = [f"--{name}={tmp_path / name}" for name in ("markdown", "json")]
    argv = [str(tmp_path), "--nets", str(listing), *paths, "--print"]
    assert script.main(argv) == 0
    assert script.main([*argv, "--strict"]) == 1


def test_what_cannot_be_exported_is_listed(tmp_path):
    argv = [str(tmp_path / "work"), "--nets", str(listed(tmp_path, tmp_path / "missing.onnx"))]
    paths = [f"--{name}={tmp_path / name}" for name in ("markdown", "json")]
    assert part("zoo_table").main([*argv, *paths]) == 0
    assert "FileNotFoundError" in (tmp_path / "markdown").read_text()
