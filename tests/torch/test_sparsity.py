"""DepGraph's regulariser over the groups of a file."""

from __future__ import annotations

import numpy as np
import pytest

import spa.torch
from spa.errors import UsageError
from tests.carried import DIGITS
from tests.checkpoints.test_carry import tiny

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


class Net(torch.nn.Module):
    """The two matrices as another framework has them."""

    def __init__(self, arrays):
        super().__init__()
        self.one = torch.nn.Parameter(torch.from_numpy(arrays["a"].T.copy()))
        self.two = torch.nn.Parameter(torch.from_numpy(arrays["b"].copy()))


def test_penalty_and_gradient_are_the_formula():
    """Equations 4 and 5: channel k is a column of the first matrix, a row of the second."""
    model, arrays, _, _ = tiny()
    net = Net(arrays)
    penalty = spa.torch.GroupSparsity(model, net)
    penalty().backward()
    a, b = arrays["a"].astype(float), arrays["b"].astype(float)
    power = (a**2).sum(0) + (b**2).sum(1)
    gamma = 2 ** (4 * (power.max() - power) / (power.max() - power.min()))
    assert penalty().item() == pytest.approx((gamma * power).sum(), rel=1e-5)
    np.testing.assert_allclose(net.one.grad.numpy(), 2 * (a * gamma).T, rtol=1e-4)
    np.testing.assert_allclose(net.two.grad.numpy(), 2 * b * gamma[:, None], rtol=1e-4)
    assert gamma.max() == pytest.approx(16) and gamma.min() == 1


def test_the_groups_of_a_real_net_shrink_the_weak_ones_most():
    module = spa.torch.load(DIGITS)
    penalty = spa.torch.GroupSparsity(DIGITS, module)
    before = penalty.importance().detach()
    gamma = penalty.gamma(before)
    optimizer = torch.optim.SGD(module.parameters(), 1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        penalty().backward()
        optimizer.step()
    left = penalty.importance().detach() / before
    assert (left < 1).all()
    for group in penalty.group.unique():
        mine = penalty.group == group
        assert left[mine][gamma[mine].argmax()] < left[mine][gamma[mine].argmin()]


def test_a_module_that_the_file_does_not_hold_is_refused():
    model, _, _, _ = tiny()
    with pytest.raises(UsageError, match="no parameter of the module"):
        spa.torch.GroupSparsity(model, torch.nn.Linear(3, 4))
