"""Cases of control flow, whose node tests in the wheel hold nothing that could be cut."""

from __future__ import annotations

import numpy as np
from onnx import parser

from tests.corpus.build import model_of, noise
from tests.corpus.cases import Case

LOOP = """h, all = Loop(trips, go, state) <body = body (int64 i, bool c, float[2, 6] s)
  => (bool again, float[2, 6] t, float[2, 6] u)
  { again = Identity(c) t = Tanh(s) u = Neg(t) }>"""


def bodies() -> list[Case]:
    """A Loop of three steps with a state that is stacked."""
    arrays = {"trips": np.array(3), "go": np.array(True), "state": noise(2, 6)}
    node = parser.parse_node(LOOP)
    return [model_of([node], opset, arrays, "Loop", f"loop_{opset}") for opset in (13, 21)]
