"""The node tests that ship inside the onnx wheel, as squares: op(select(x)) == select(op(mask(x)))."""
