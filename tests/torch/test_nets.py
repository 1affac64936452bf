"""The small nets, and the models that the repository carries, beside onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import spa.torch  # noqa: E402
from spa.graph import read  # noqa: E402
from spa.validate.bytes import unsigned  # noqa: E402
from tests.nets import MOTIFS  # noqa: E402
from tests.support import needs_runtime  # noqa: E402
from tests.torch.beside import Beside, apart  # noqa: E402

MODELS = Path(__file__).parents[2] / "models"
COARSE = {
    "softmax_of_bytes": 0.1,  # one step of a byte
    "half_precision": 0.005,
    "mixed_precision": 0.005,
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", MOTIFS)
def test_motif(name):
    model = MOTIFS[name].build()
    needs_runtime(model)
    # exact on any processor: some kernels for products of bytes saturate
    beside = Beside(unsigned(model, read(model).dtypes))
    module = spa.torch.load(model)
    for seed, size in ((0, 3), (1, 3 if MOTIFS[name].fixed else 2)):
        feeds = beside.feeds(size, seed)
        wanted = beside.run(feeds)
        with torch.no_grad():
            found = module.run(feeds)
        for key, value in wanted.items():
            assert apart(found[key].numpy(), value) <= COARSE.get(name, 1e-4)


@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_carried_models(name):
    module = spa.torch.load(MODELS / f"{name}.onnx")
    beside = Beside(str(MODELS / f"{name}.onnx"))
    with np.load(MODELS / f"{name}_eval.npz") as held:
        pictures = next(v for v in held.values() if v.ndim == 4)[:32].astype(np.float32)
    key = module.input_names[0]
    feeds = {key: pictures}
    wanted = beside.run(feeds)
    found = module(torch.from_numpy(feeds[key]))
    assert apart(found.detach().numpy(), wanted[module.output_names[0]]) <= 1e-4


def test_every_weight_of_a_net_learns():
    """Each parameter gets a gradient, and a step along it lowers the loss."""
    module = spa.torch.load(MODELS / "digits.onnx").train()
    x = torch.randn(8, *_rest(module))
    target = torch.arange(8) % 10

    def loss():
        return torch.nn.functional.cross_entropy(module(x), target)

    before = loss()
    before.backward()
    learning = [p for p in module.parameters() if p.requires_grad]
    assert len(learning) > 10
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in learning)
    with torch.no_grad():
        for p in learning:
            p -= 1e-3 * p.grad / p.grad.norm()
    assert loss() < before


def _rest(module):
    proto = module.source.model()
    return [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim][1:]
