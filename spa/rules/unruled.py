"""What operators without a rule are like: those that decide, count, draw or state sizes."""

from __future__ import annotations

from spa.rules.traits import Lookup, trait
from spa.trace import MICROSOFT

trait("NonZero", "Unique", decides=(0,), counts=True)
trait("NonMaxSuppression", decides=(0, 1, 2, 3, 4), counts=True)
trait("Compress", decides=(1,), sized=(1,))
trait("OneHot", decides=(0,), sized=(1,), lookups=(Lookup(0, 1, depth=True),))
trait("MaxUnpool", sized=(2,))
trait("StringSplit", "RegexFullMatch", counts=True)
trait("Multinomial", draws=True)
trait("SplitToSequence", sized=(1,))
trait("AffineGrid", sized=(1,))
trait("BlackmanWindow", "HammingWindow", "HannWindow", sized=(0,))
trait("DFT", sized=(1,))
trait("DFT", "STFT", spectral=True)
trait("TensorScatter", writes=True)
trait("Loop", sized=(0, 1))
trait("Binarizer", decides=(0,), domain="ai.onnx.ml")
trait("TreeEnsemble", "TreeEnsembleClassifier", decides=(0,), domain="ai.onnx.ml")
trait("TreeEnsembleRegressor", decides=(0,), domain="ai.onnx.ml")
trait("Sampling", draws=True, counts=True, domain=MICROSOFT)
trait("BeamSearch", "GreedySearch", counts=True, domain=MICROSOFT)
trait("Unique", decides=(0,), counts=True, domain=MICROSOFT)
trait("GatherND", domain=MICROSOFT, lookups=(Lookup(1, 0, each=True),))
trait("DynamicSparseAttention", domain=MICROSOFT, past=(3, 4))
trait("PagedAttention", "SparseAttention", "SparsePagedAttention", domain=MICROSOFT, past=(3, 4))
trait("LinearAttention", domain=MICROSOFT, past=(3,))
trait("DecoderMaskedSelfAttention", domain=MICROSOFT, past=(4,))
trait("DecoderMaskedMultiHeadAttention", domain=MICROSOFT, past=(5, 6))
trait("DecoderAttention", domain=MICROSOFT, past=(6, 7))
trait("QOrderedAttention", domain=MICROSOFT, past=(18,))
