"""Random nets of blocks without some of their branches; every family makes what it is there for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from spa.coupling import Coupling, analyse
from spa.depth import Branch, branches
from spa.depth.reach import Reach
from spa.graph import read
from tests.fuzz.test_random_depth import take_the_branch
from tests.fuzz.trial import NOWHERE, OK, WRONG, refusals, trial_blocks
from tests.nets.random_blocks import random_blocks_net
from tests.nets.random_blocks_steps import FAMILIES

COUNT = max(112, int(os.environ.get("SPA_FUZZ", "320")))
FIRST = int(os.environ.get("SPA_FUZZ_SEED", "0"))
BATCHES = 4
WITH = 0.95
"""Share of nets that have a branch, at least; measured 0.98."""


def judge(seeds: range) -> None:
    verdicts = [trial_blocks(seed) for seed in seeds]
    refusals(verdicts, NOWHERE)
    assert Counter(v.state for v in verdicts)[OK] >= WITH * len(verdicts) - 2


@pytest.mark.fuzz
@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_blocks(batch: int) -> None:
    judge(range(FIRST + batch, FIRST + COUNT, BATCHES))


def test_a_few_of_them() -> None:
    judge(range(3 * len(FAMILIES)))


EVERYWHERE = {"nested", "residual", "sizes are symbols", "sizes are numbers"}
MAKES = {
    "images": {"run", "projected", "an output", "Add", "Sum", "Conv", "Concat"},
    "levels": {"run", "Conv", "Concat", "Resize", "ConvTranspose", "Add", "the embedding"},
    "tokens": {"run", "projected", "an output", "MatMul", "Softmax", "Concat"},
    "norms": {"SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "Softmax"},
    "recurrent": {"run", "LSTM", "GRU", "RNN", "Concat"},
    "memories": {"run", "Softmax", "GRU", "the memory", "the memory, in several"},
    "bytes": {"QLinearAdd", "QLinearConv", "QLinearConcat", "Resize"},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_branches_of_its_kind(family: str) -> None:
    seen: Counter[str] = Counter()
    seeds = range(16)
    for seed in seeds:
        net = random_blocks_net(seed, family)
        coupling = analyse(read(net.model, input_shapes=net.analysed), strict=True)
        known = branches(coupling).found
        seen.update(set(kinds(coupling, known)), found=len(known))
        seen["sizes are " + ("symbols" if "open" in net.steps[0] else "numbers")] += 1
    assert EVERYWHERE | MAKES[family] <= seen.keys()
    assert seen["found"] >= 1.5 * len(seeds)


def kinds(coupling: Coupling, known: tuple[Branch, ...]) -> Iterator[str]:
    """What the branches of a net are like, what ends them, what is in them and read in them."""
    graph, reach = coupling.graph, Reach(coupling.graph)
    readers: Counter[str] = Counter()
    for each in known:
        yield each.kind
        if each.kind == "residual":
            yield graph.nodes[each.add].op
            readers.update({n for k in each.nodes for n in reach.reads(graph.nodes[k])})
        yield from (graph.nodes[k].op for k in each.nodes)
        if any(each.nodes < other.nodes for other in known):
            yield "nested"
        if each.name in graph.outputs:
            yield "an output"
        if not reach.is_of(each.end, each.shortcut):
            yield "projected"
    for name, words in (("memory", "the memory"), ("step", "the embedding")):
        if name not in graph.inputs:
            continue
        of_it = [t for t in readers if reach.is_of(t, name) and not reach.is_of(t, "x")]
        if of_it:
            yield words
        if max((readers[t] for t in of_it), default=0) > 1:
            yield f"{words}, in several"


def test_a_seed_is_a_net() -> None:
    first, second = (random_blocks_net(5).model.SerializeToString() for _ in range(2))
    assert first == second
    assert first != random_blocks_net(12).model.SerializeToString()


@pytest.mark.parametrize("family", ["norms", "bytes"])
def test_a_sum_that_becomes_the_wrong_operand_is_found(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the sum is part of another operator."""
    take_the_branch(monkeypatch)
    place = [*FAMILIES].index(family)
    seeds = range(place, 4 * len(FAMILIES), len(FAMILIES))
    assert any(trial_blocks(seed).state == WRONG for seed in seeds)
