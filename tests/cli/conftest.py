"""A pipeline that does nothing but remember how it was called."""

from __future__ import annotations

import os
import sys
import types
from dataclasses import dataclass, field

import onnx
import pytest

import spa
from spa.cli.main import run
from spa.events import Done, Note, Started, Step
from spa.pipeline.result import Result
from tests.reports.samples import success


@dataclass
class Calls:
    """What the command line asked for, and what the pipeline shall answer."""

    made: list = field(default_factory=list)
    answer: dict = field(default_factory=success)
    exit_code: int = 0
    error: BaseException | None = None

    @property
    def last(self):
        return self.made[-1]


def pruned():
    return onnx.ModelProto(producer_name="pruned")


class Plan:
    report = success()

    def save(self, path):
        with open(path, "w") as file:
            file.write(self.to_json())

    def to_json(self):
        return '{"plan": 1}'


@pytest.fixture
def calls(monkeypatch):
    calls = Calls()

    def answer(name, callback, **seen):
        calls.made.append(types.SimpleNamespace(name=name, **seen))
        callback(Started("load", 2))
        callback(Step("load"))
        callback(Note("a decision"))
        callback(Note("a worry", warning=True))
        callback(Done("load", 0.25))
        if calls.error is not None:
            raise calls.error
        return calls.answer

    def outcome(name, callback, **seen):
        report = answer(name, callback, **seen)
        return types.SimpleNamespace(
            report=report, model=pruned(), plan=Plan(), exit_code=calls.exit_code, base_dir=None
        )

    def prune(model, recipe, callback, output=None, force=False, dry_run=False, plan=None,
              resume=False):  # fmt: skip
        seen = {"output": output, "force": force, "dry_run": dry_run, "plan": plan}
        return outcome("prune", callback, model=model, recipe=recipe, **seen)

    def apply(model, plan_path, recipe, callback, output=None, force=False, resume=False):
        seen = {"plan": plan_path, "output": output, "force": force}
        return outcome("apply", callback, model=model, recipe=recipe, **seen)

    def make_plan(model, recipe, callback, plan=None):
        told = answer("plan", callback, model=model, recipe=recipe, plan=plan)
        return Result(told, plan=Plan())

    def inspect(model, recipe, callback):
        return Result(answer("inspect", callback, model=model, recipe=recipe))

    def verify(original, pruned, recipe, callback, *, level):
        seen = {"models": [original, pruned], "recipe": recipe, "level": level}
        return Result(answer("verify", callback, **seen))

    def bench(models, recipe, callback, runs, warmup, threads):
        seen = {"runs": runs, "warmup": warmup, "threads": threads}
        answer("bench", callback, models=models, recipe=recipe, **seen)
        measured = [{"path": str(m), "median_ms": 10.0} for m in models]
        found = {"provider": "CPU", "threads": threads, "runs": runs or 60, "warmup": warmup}
        return Result({**found, "models": measured})

    def doctor():
        return {"spa": "0.1.0", "versions": {"onnx": "1.23"}, "problems": []}

    pipeline = types.ModuleType("spa.pipeline")
    for function in (prune, apply, make_plan, inspect, verify, bench, doctor):
        setattr(pipeline, function.__name__, function)
    monkeypatch.setitem(sys.modules, "spa.pipeline", pipeline)
    monkeypatch.setattr(spa, "pipeline", pipeline, raising=False)
    return calls


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No variable of the machine may change what a test sees."""
    for name in list(os.environ):
        if name.startswith("SPA_") or name in ("CI", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shell(capsys):
    """Run a command line; return its exit code, stdout and stderr."""

    def call(*argv):
        code = run([str(each) for each in argv])
        out, err = capsys.readouterr()
        return types.SimpleNamespace(code=code, out=out, err=err)

    return call
