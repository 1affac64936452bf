"""What stays makes up for lost branches: it is refitted towards the original, not what is left."""

from __future__ import annotations

import numpy as np
import pytest

from spa import pipeline, runtime
from spa.depth import branches
from spa.graph import read
from spa.plans import Plan
from spa.recipe import Recipe
from spa.rewrite.bypass import bypassed, collapse, stands_for
from tests.depth.cases import coupled, found, net
from tests.nets import deep

NOTHING = Plan({})


def absorbing(n):
    """A branch that is linear, behind a convolution that can take it over."""
    x = n.conv(n.input("x", 3, 8, 8), 3, 6)
    y = n.Add(x, n.conv(n.conv(x, 6, 5, 1), 5, 6, 1))
    return n.head(n.Relu(y), 6)


def following(n):
    """Linear branches, the first upon an input, so that only the second can make up for it."""
    x = n.input("x", 6, 8, 8)
    y = n.Add(x, n.conv(x, 6, 6, 1))
    y = n.Add(y, n.conv(y, 6, 6, 1))
    return n.head(n.Relu(y), 6)


def activated(n):
    """The sum and its shortcut go through the same activation."""
    x = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 6))
    y = n.Relu(n.Add(x, n.conv(n.conv(x, 6, 5, 1), 5, 6, 1)))
    return n.head(y, 6)


def lost(make, **options):
    """Relative error of the outputs without the first branch, on inputs nothing was fitted on."""
    model = net(make, batch="N")
    known = branches(coupled(make, batch="N")).found
    first = next(each.name for each in known if each.kind == "residual")
    how = {"samples": 512, "invert": "off", "probe": "gaussian", "batch_norm": False}
    recipe = Recipe(verify="none", bypass=(first,), **how, **options)
    done = pipeline.prune(model, recipe, plan=NOTHING, dry_run=True)
    random = np.random.default_rng(7)
    shape = [64, *(d.dim_value or 6 for d in model.graph.input[0].type.tensor_type.shape.dim[1:])]
    feeds = {model.graph.input[0].name: random.standard_normal(shape).astype(np.float32)}
    want, got = (
        next(iter(runtime.run(runtime.session(m, optimize=False, device="cpu"), feeds).values()))
        for m in (read(model).proto, done.model)
    )
    return float(np.linalg.norm(got - want) / np.linalg.norm(want - want.mean(0)))


@pytest.mark.parametrize("make", [absorbing, following], ids=lambda make: make.__name__)
def test_a_linear_branch_is_made_up_for_wholly(make):
    assert lost(make) < 0.1 * lost(make, scorer="l2")  # which only cuts


@pytest.mark.parametrize(
    ("make", "share"),
    [(activated, 0.6), (deep.resnet, 0.8), (deep.inverted, 0.8), (deep.post_norm, 0.9)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_other_branches_are_made_up_for_in_part(make, share):
    assert lost(make) < share * lost(make, scorer="l2")


def test_a_sum_behind_an_activation_stands_for_that_of_the_branch():
    coupling, known = found(activated)
    (branch,) = (each for each in known.found if each.kind == "residual")
    maker = {name: node for node in coupling.graph.nodes for name in node.outputs}
    (second,) = coupling.graph.readers[branch.name]
    first = maker[branch.shortcut]
    assert collapse(coupling.graph, [branch]) == {
        branch.name: branch.shortcut,
        second.outputs[0]: branch.shortcut,  # Relu of Relu
    }
    assert stands_for(coupling.graph, [branch]) == {
        branch.shortcut: second.outputs[0],
        first.inputs[0]: branch.name,
    }
    left = bypassed(coupling.graph, [branch]).graph.node
    relus = [node for node in left if node.op_type == "Relu"]
    assert len(relus) == 1


def test_what_is_read_elsewhere_stands_for_nothing_else():
    def skipping(n):
        x = n.conv(n.input("x", 3, 8, 8), 3, 6)
        y = n.Add(x, n.conv(n.conv(x, 6, 5, 1), 5, 6, 1))
        return n.head(n.Relu(y), 6), x

    coupling, known = found(skipping)
    (branch,) = (each for each in known.found if each.kind == "residual")
    assert not stands_for(coupling.graph, [branch])
