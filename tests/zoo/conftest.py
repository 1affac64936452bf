"""A zoo of tiny models, and the command on it in this process."""

from __future__ import annotations

import os
import types

import pytest

from spa.cli.main import run
from tests.zoo.samples import build


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No variable of the machine may change what a test sees."""
    for name in list(os.environ):
        if name.startswith("SPA_") or name in ("CI", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shell(capfd):
    """Run `spa zoo` here; return its exit code, stdout and stderr."""

    def call(*words):
        code = run(["zoo", *map(str, words)])
        out, err = capfd.readouterr()
        return types.SimpleNamespace(code=code, out=out, err=err)

    return call


@pytest.fixture
def models(tmp_path):
    """Three models that can be pruned, one of them with data beside it."""
    return build(tmp_path / "models")
