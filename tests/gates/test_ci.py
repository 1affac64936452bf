"""What the documents say about CI, run: the action's steps, the GitLab job, a build in a shell."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.carried import DIGITS, MODELS

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
DOCUMENT = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
WORKFLOW, GITLAB = map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.S | re.M))
(EVALUATION,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.S | re.M)

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("bash"), reason="needs a Unix shell"
)


@pytest.fixture
def folder(tmp_path):
    """A checkout: a model, its evaluation, and this `spa` on the path; pip only takes notes."""
    work, tools = tmp_path / "work", tmp_path / "tools"
    work.mkdir()
    tools.mkdir()
    (work / "model.onnx").write_bytes(DIGITS.read_bytes())
    (work / "eval.py").write_text(EVALUATION)
    with np.load(MODELS / "digits_eval.npz") as data:
        images = (data["images"] / data["scale"]).astype(np.float32)
        np.savez(work / "eval.npz", images=images, labels=data["labels"])
    real = shlex.quote(sys.executable)
    log = shlex.quote(str(tmp_path / "installed"))
    tool(tools / "spa", f'exec {real} -m spa "$@"')
    tool(tools / "pip", f'echo "$@" >> {log}')
    tool(tools / "python", f'[ "$2" != pip ] || {{ shift; shift; echo "$@" >> {log}; exit; }}\n'
         f'exec {real} "$@"')  # fmt: skip
    return work


def tool(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def call(folder, script, *words, shell=("bash", "-eo", "pipefail"), **variables):
    """Run a script in a folder as a CI server does."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SPA_")}
    environment |= {
        "PATH": f"{folder.parent / 'tools'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CI": "true",
        **variables,
    }
    command = [*shell, script, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


# A gate that fails a build, and one that passes


@pytest.mark.parametrize(
    ("gates", "code"),
    [
        (["--max-drift", "5", "--check", "python eval.py {model}", "--max-drop", "1"], 0),
        (["--check", "python eval.py {model}", "--max-drop", "0.0001"], 5),
    ],
)
def test_a_gate_decides_over_a_build(folder, gates, code):
    done = call(folder, str(HERE / "build.sh"), "model.onnx", *gates, shell=["sh"])
    assert done.returncode == code, done.stderr
    assert (folder / "shipped.onnx").exists() == (folder / "slim.onnx").exists() == (code == 0)
    summary, tests = ((folder / name).read_text() for name in ("report.md", "ci.xml"))
    assert ("exit code 5" in summary) == ("<failure" in tests) == (code == 5)
    assert done.stderr.count("spa: error: the gate") == (code == 5)


# The action


def inputs_of(**given):
    """The environment of each step, as GitHub works out its expressions."""
    known = {name: each.get("default", "") for name, each in ACTION["inputs"].items()}
    assert given.keys() <= known.keys()
    values = {f"inputs.{k}": v for k, v in {**known, **given}.items()}
    values["github.action_path"] = str(ROOT)
    return {
        step["id"]: {
            name: re.sub(r"\$\{\{ (.*?) \}\}", lambda m: values[m[1]], text)
            for name, text in step["env"].items()
        }
        for step in ACTION["runs"]["steps"]
    }


def act(folder, **given):
    """Run the steps of the action; return the last process, the summary and the outputs."""
    files = {"GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "outputs"}
    paths = {name: folder.parent / file for name, file in files.items()}
    variables = {name: str(path) for name, path in paths.items()}
    variables["RUNNER_TEMP"] = str(folder.parent)
    environments = inputs_of(**given)
    for step in ACTION["runs"]["steps"]:
        assert step["shell"] == "bash"
        script = folder.parent / "step.sh"
        script.write_text(step["run"])
        done = call(folder, str(script), **variables, **environments[step["id"]])
        if done.returncode:
            break
    text = [p.read_text() if p.exists() else "" for p in paths.values()]
    return done, text[0], dict(line.split("=", 1) for line in text[1].splitlines())


def test_the_action_prunes_and_shows_the_report(folder):
    asked = "--scorer l2 --check 'python eval.py {model}' --max-drop 1"
    done, summary, outputs = act(folder, model="model.onnx", ratio="0.3", args=asked)
    assert done.returncode == 0, done.stderr
    assert summary.startswith("# spa prune: model.onnx") and "| max-drop |" in summary
    assert outputs["model"] == "model.spa.onnx" and (folder / "model.spa.onnx").exists()
    report = json.loads(Path(outputs["report"]).read_text())
    assert report["check"]["command"] == "python eval.py {model}" and report["exit_code"] == 0
    installed = (folder.parent / "installed").read_text().split()
    assert installed == ["install", "--quiet", f"{ROOT}[cpu]"]


def test_the_action_fails_with_the_gate_and_still_shows_the_report(folder):
    asked = "-s l2 --max-drift 0.0001"
    done, summary, outputs = act(
        folder, model="model.onnx", ratio="0.3", output="slim.onnx", args=asked, package="x[gpu]"
    )
    assert done.returncode == 5 and "the gate --max-drift 0.0001 failed" in done.stderr
    assert "**failed**, exit code 5" in summary and not (folder / "slim.onnx").exists()
    assert json.loads(Path(outputs["report"]).read_text())["exit_code"] == 5
    assert (folder.parent / "installed").read_text() == "install --quiet x[gpu]\n"


def test_the_action_runs_no_words_of_its_inputs(folder):
    done, _, _ = act(
        folder,
        model="model.onnx",
        args="-r 0.3 -s l2 --ignore '$(touch injected)' --ignore `touch` ; touch injected",
    )
    assert done.returncode == 2 and not (folder / "injected").exists()


def test_the_workflow_in_the_document_uses_what_the_action_has():
    steps = WORKFLOW["jobs"]["slim"]["steps"]
    (own,) = [step for step in steps if step.get("id") == "spa"]
    assert own["with"].keys() <= ACTION["inputs"].keys()
    used = re.findall(r"steps\.spa\.outputs\.(\w+)", DOCUMENT)
    assert used and {*used} <= ACTION["outputs"].keys()
    for name in (*ACTION["inputs"], *ACTION["outputs"]):
        assert f"`{name}`" in DOCUMENT, name


def test_the_workflow_in_the_document_runs(folder):
    steps = WORKFLOW["jobs"]["slim"]["steps"]
    (own,) = [step for step in steps if step.get("id") == "spa"]
    given = {**own["with"], "args": f"{own['with']['args']} -s l2 --max-drift 9 --max-drop 1"}
    done, summary, outputs = act(folder, **given)
    assert done.returncode == 0, done.stderr
    assert "Checked with python eval.py" in summary and (folder / outputs["model"]).exists()


# GitLab


@pytest.mark.parametrize(("drift", "code"), [("9", 0), ("0.0001", 5)])
def test_the_gitlab_job_runs(folder, drift, code):
    job = GITLAB["slim"]
    script = folder.parent / "job.sh"
    script.write_text("\n".join(job["script"]).replace("--max-drift 0.2", f"--max-drift {drift}"))
    done = call(folder, str(script), SPA_PRUNE_SCORER="l2")
    assert done.returncode == code, done.stderr
    installed = (folder.parent / "installed").read_text()
    assert installed == "install onnx-spa[cpu] @ git+https://HOST/OWNER/REPOSITORY\n"
    made = {p.name for p in folder.iterdir()}
    named = {*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]}
    assert named - made == (set() if code == 0 else {"model.spa.onnx"})


def test_gitlab_installs_what_the_project_is_called():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'name = "onnx-spa"' in project and "\ncpu = [" in project
