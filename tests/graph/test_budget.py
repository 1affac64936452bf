"""One budget for all that folding makes and computes: what is taken is gone."""

from __future__ import annotations

from onnx import helper

from spa.graph.budget import Budget, work


def test_what_is_made_and_what_is_computed_are_counted_apart() -> None:
    budget = Budget(10, 5)
    assert budget.take(6, 1)
    assert not budget.take(6, 0), "6 of 10 bytes are gone"
    assert not budget.take(0, 5), "1 of 5 steps is gone"
    assert budget.take(4, 4)
    assert not budget.take(1, 0)
    assert not budget.take(0, 1)


def test_what_is_refused_takes_nothing() -> None:
    budget = Budget(10, 5)
    assert not budget.take(11, 1)
    assert not budget.take(1, 6)
    assert budget.take(10, 5)


def test_products_may_cost_more() -> None:
    budget = Budget(0, 10, product=4)
    assert not budget.take(0, 3, products=True)
    assert budget.take(0, 2, products=True)
    assert budget.take(0, 2)


def test_the_work_of_products_is_that_of_all_three_sizes() -> None:
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    assert work(node, [(10, 20), (20, 30)], 300) >= 10 * 20 * 30
    plain = helper.make_node("Add", ["a", "b"], ["c"])
    assert work(plain, [(10, 20), (10, 20)], 200) == 600


def test_the_work_of_a_sum_of_letters_is_their_product() -> None:
    node = helper.make_node("Einsum", ["a", "b"], ["c"], equation="ij, jk -> ik")
    found = work(node, [(10, 20), (20, 30)], 300)
    assert 10 * 20 * 30 <= found <= 10 * 20 * 30 + 200 + 600 + 300
