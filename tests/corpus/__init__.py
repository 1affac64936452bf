"""The node tests that ship inside the onnx wheel, as squares."""
