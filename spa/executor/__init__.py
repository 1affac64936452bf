"""Run a graph piece by piece on probe inputs, and fit what its sites should compute."""
