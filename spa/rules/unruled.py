"""What operators without a rule are like: those that decide, count, draw or state sizes."""

from __future__ import annotations

from spa.rules.traits import trait
from spa.trace.registry import MICROSOFT

trait("NonZero", "Unique", decides=(0,), counts=True)
trait("NonMaxSuppression", decides=(0, 1, 2, 3, 4), counts=True)
trait("Compress", decides=(1,), sized=(1,))
trait("OneHot", decides=(0,), sized=(1,))
trait("MaxUnpool", sized=(2,))
trait("StringSplit", "RegexFullMatch", counts=True)
trait("Multinomial", draws=True)
trait("SplitToSequence", sized=(1,))
trait("AffineGrid", sized=(1,))
trait("BlackmanWindow", "HammingWindow", "HannWindow", sized=(0,))
trait("DFT", sized=(1,))
trait("Loop", sized=(0, 1))
trait("Binarizer", decides=(0,), domain="ai.onnx.ml")
trait("TreeEnsemble", "TreeEnsembleClassifier", decides=(0,), domain="ai.onnx.ml")
trait("TreeEnsembleRegressor", decides=(0,), domain="ai.onnx.ml")
trait("Sampling", draws=True, counts=True, domain=MICROSOFT)
trait("BeamSearch", "GreedySearch", counts=True, domain=MICROSOFT)
trait("Unique", decides=(0,), counts=True, domain=MICROSOFT)
