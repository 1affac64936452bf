"""The networks of the table: what `nets.json` lists, expanded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

LIST = Path(__file__).with_name("nets.json")


@dataclass(frozen=True)
class Net:
    """One network of the table.

    Attributes:
        source: the module of this package that makes it, without `source_`.
        name: what the source calls it.
        family: the heading it stands under.
        size: height and width of the input in pixels; 0 where the source has its own.
        exporter: what writes the ONNX file.
        core: whether it is one of the networks that the rivals were first measured on.
    """

    source: str
    name: str
    family: str
    size: int = 0
    exporter: str = "torchscript"
    core: bool = False

    @property
    def key(self) -> str:
        """What tells it from every other network: usable as a file name."""
        words = [self.source, self.name.replace("/", "-").replace(":", "-")]
        if self.size:
            words.append(str(self.size))
        return ".".join([*words, self.exporter])


def load(path: Path = LIST) -> list[Net]:
    """Every network of the list.

    Raises:
        ValueError: a network is listed twice.
    """
    entries = json.loads(path.read_text(encoding="utf-8"))
    nets = [
        Net(
            entry["source"],
            name,
            entry["family"],
            entry.get("size", 0),
            exporter,
            entry.get("core", False),
        )
        for entry in entries
        for exporter in entry.get("exporters", ["torchscript"])
        for name in entry["names"]
    ]
    seen: set[str] = set()
    for net in nets:
        if net.key in seen:
            raise ValueError(f"{path.name} lists {net.key} twice: remove one")
        seen.add(net.key)
    return nets


def choose(
    nets: Iterable[Net], only: Sequence[str], sources: Sequence[str], core: bool
) -> list[Net]:
    """The networks whose name, family or key a glob of `only` matches, of these sources."""
    return [
        net
        for net in nets
        if (not sources or net.source in sources)
        and (net.core or not core)
        and (not only or any(_matches(net, glob) for glob in only))
    ]


def _matches(net: Net, glob: str) -> bool:
    return any(fnmatchcase(word, glob) for word in (net.name, net.family, net.key))
