"""Nets with branches, coupled."""

from __future__ import annotations

from dataclasses import replace

from spa.coupling import analyse
from spa.depth import branches
from spa.graph import read
from tests.nets.net import Net


def net(make, **options):
    n = Net(**options)
    made = make(n)
    return n.done(*([made] if isinstance(made, str) else made))


def coupled(make, **options):
    return analyse(read(net(make, **options)), strict=True)


def every(make, **options):
    coupling = coupled(make, **options)
    return coupling, branches(coupling)


def found(make, **options):
    """Those that end in sums."""
    coupling, known = every(make, **options)
    sums = tuple(each for each in known.found if each.kind == "residual")
    return coupling, replace(known, found=sums)
