"""Nets with branches, coupled."""

from __future__ import annotations

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


def found(make, **options):
    coupling = coupled(make, **options)
    return coupling, branches(coupling)
