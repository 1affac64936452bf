"""The oracle of these nets: what was cut computes what the whole one does, at every length.

The reference is made here, from the stored tensors alone: what was dropped is set to zero.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from spa import runtime
from spa.coupling import Coupling, analyse
from spa.graph import read
from spa.rewrite import rewrite
from tests.oracles import scattered
from tests.symbols.nets import ROWS, WIDTH, build

HIDDEN = 10


def look(name: str, seed: int = 0) -> None:
    """Cut one net and compare; raises if anything differs, or if the stream cannot be cut."""
    coupling = analyse(read(build(name)), strict=True)
    sizes = {group.size for group in coupling.groups}
    assert sizes >= {HIDDEN, WIDTH}, f"only {sorted(sizes)} can be cut"
    alive = scattered(0.4, seed)(coupling)
    small, whole = rewrite(coupling, alive), zeroed(coupling, alive)
    sessions = [runtime.session(model, threads=1) for model in (whole, small)]
    for tokens in range(1, ROWS + 1):
        for rows in (1, 3):
            x = np.random.default_rng(tokens).standard_normal((rows, tokens, 6))
            want, got = (runtime.run(s, {"x": x.astype(np.float32)}) for s in sessions)
            for output, array in want.items():
                np.testing.assert_allclose(got[output], array, rtol=1e-3, atol=1e-4)


def zeroed(coupling: Coupling, alive: np.ndarray) -> onnx.ModelProto:
    """The whole net with what was dropped at zero in every stored tensor."""
    proto = onnx.ModelProto()
    proto.CopyFrom(coupling.graph.proto)
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    for param in coupling.notes.params.values():
        if param.tensor is None:
            continue
        whole = numpy_helper.to_array(stored[param.tensor])
        left = whole.reshape(param.view)
        for _, index_map in param.maps:
            left = left * alive[coupling.root[index_map.ids]]
        changed = left.reshape(whole.shape).astype(whole.dtype)
        stored[param.tensor].CopyFrom(numpy_helper.from_array(changed, param.tensor))
    return proto
