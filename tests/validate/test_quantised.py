"""Files with quantised activations: equal without their quantisers, where a step hides nothing."""

from __future__ import annotations

import numpy as np
import pytest

from spa.coupling import analyse
from spa.errors import VerifyError
from spa.graph import read
from spa.rewrite import rewrite
from spa.validate import verify
from spa.validate.mask import masked
from spa.validate.neutral import unquantised
from spa.validate.proof import is_quantised
from tests import oracles
from tests.nets import Net
from tests.validate.test_verify import changed, weights


def quantised(depth=6):
    """Convolutions with quantisers between them, fine enough that sums fall on their edges."""
    n = Net(opset=17)
    scale, zero = n.const(np.float32(0.02)), n.const(np.int8(3))
    y = n.input("x", 3, 8, 8)
    for k in range(depth):
        y = n.Relu(n.conv(y, 3 if k == 0 else 16, 16))
        y = n.DequantizeLinear(n.QuantizeLinear(y, scale, zero), scale, zero)
    return n.done(n.conv(y, 16, 4))


def pruned(seed=1):
    coupling = analyse(read(quantised()), strict=True)
    alive = oracles.scattered(0.4, seed)(coupling)
    return coupling, alive, rewrite(coupling, alive)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equal_without_the_quantisers(seed):
    verdict = verify(*pruned(seed))
    assert verdict.equivalence is not None and verdict.equivalence < 1e-5


def weights_in_bytes():
    """Products with weights in bytes, which the optimizer gives to kernels that round activations.

    In the masked original they are masked first, so that it does not.
    """
    n = Net(opset=18, batch="N")
    step = n.scalar(1 / 64), n.const(np.uint8(128))
    y = n.DequantizeLinear(n.QuantizeLinear(n.Tanh(n.input("x", "L", 6)), *step), *step)
    for read_, made in ((6, 16), (16, 16), (16, 6)):
        whole = n.const(n.random.integers(-60, 61, (read_, made)).astype(np.int8))
        scale = n.const((n.random.random(made) * 0.01 + 0.005).astype(np.float32))
        y = n.MatMul(n.Relu(y), n.DequantizeLinear(whole, scale, axis=1))
    return n.done(y)


def test_kernels_that_round_have_no_part_in_a_proof():
    coupling = analyse(read(weights_in_bytes()), strict=True)
    alive = oracles.scattered(0.4, 1)(coupling)
    verdict = verify(coupling, alive, rewrite(coupling, alive))
    assert verdict.proof == "complete" and verdict.equivalence < 1e-5
    assert {sizes["L"] for sizes in verdict.sizes} > {coupling.graph.dims["L"]}


def test_a_small_mistake_shows():
    """Less than a quantisation step, which a comparison with quantisers had to allow."""
    coupling, alive, small = pruned()
    name = [k for k, a in weights(small).items() if a.ndim == 4][2]
    wrong = changed(small, name, lambda a: (a * 1.002).astype(a.dtype))
    with pytest.raises(VerifyError, match="differs from the masked original"):
        verify(coupling, alive, wrong)


def test_no_quantiser_is_left_between():
    coupling, alive, small = pruned()
    assert is_quantised(coupling.graph)
    for model in (masked(coupling, alive), small):
        kinds = [node.op_type for node in unquantised(model).graph.node]
        assert "DequantizeLinear" not in kinds and kinds.count("Identity") == 6
        assert any(node.op_type == "DequantizeLinear" for node in model.graph.node)


def test_quantised_weights_stay():
    n = Net(opset=17)
    scale = n.const(np.float32(0.1))
    w = n.DequantizeLinear(n.const(np.ones((4, 3, 1, 1), np.int8)), scale)
    model = n.done(n.Conv(n.input("x", 3, 4, 4), w))
    assert [node.op_type for node in unquantised(model).graph.node] == [
        node.op_type for node in model.graph.node
    ]
    assert not is_quantised(read(model))


def test_a_change_of_type_stays():
    """Quantised from one type and dequantised to another: not the same tensor."""
    n = Net(opset=19)
    half = n.const(np.float16(0.1))
    y = n.QuantizeLinear(n.input("x", 3, 4, 4), n.const(np.float32(0.1)), n.const(np.int8(0)))
    model = n.done(n.Cast(n.DequantizeLinear(y, half, n.const(np.int8(0))), to=1))
    assert "DequantizeLinear" in {node.op_type for node in unquantised(model).graph.node}
