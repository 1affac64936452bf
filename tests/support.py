"""Which nets the installed onnxruntime runs at all: older ones lack kernels and opsets."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

import pytest
from onnx import ModelProto

from spa import runtime
from spa.errors import ReadError
from spa.graph import read
from tests.oracles import BATCHES, feeds_at

ALL_RUN = (1, 32)
"""From this version of onnxruntime on, every net of the tests must run."""


@cache
def installed() -> tuple[int, int]:
    """Major and minor version of onnxruntime."""
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            major, minor = version(package).split(".")[:2]
            return int(major), int(minor)
        except PackageNotFoundError:
            continue
    return (0, 0)


def needs_runtime(model: ModelProto) -> None:
    """Skip the test if an older onnxruntime refuses this net, before anything is cut."""
    if trouble := refused(model):
        major, minor = installed()
        pytest.skip(f"onnxruntime {major}.{minor} does not run the net itself: {trouble}"[:300])


def refused(model: ModelProto) -> str:
    """Why an older onnxruntime does not run this net itself, "" where it does."""
    if installed() >= ALL_RUN:
        return ""
    graph = read(model)
    try:
        for optimize in (False, True):
            session = runtime.session(graph.proto, optimize=optimize, device="cpu")
            for batch in (None, *BATCHES) if graph.dynamic else (None,):
                runtime.run(session, feeds_at(graph, batch))
    except ReadError as error:
        return str(error)
    return ""
