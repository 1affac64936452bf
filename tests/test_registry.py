"""What is chosen by name: spa's own is found by its source, a package's by its entry points."""

from __future__ import annotations

import json
import subprocess
import sys

import onnx
import pytest

from spa.coupling import analyse
from spa.coupling.cost import Cost
from spa.errors import UsageError
from spa.graph import read
from spa.registry import CRITERIA, NAMED, REPORTS
from tests.carried import DIGITS
from tests.plugins import ROOT, install, spa

CRITERION = '''
import numpy as np
from spa.criteria import Context, Scores, criterion

@criterion(comparable=True)
def last(context: Context) -> Scores:
    """Keep the first channels."""
    scores = context.zeros()
    for group in context.coupling.groups:
        scores[group.cells] = -np.arange(group.size, dtype=float)
    return scores
'''
ALL = {**NAMED, "report": REPORTS}
MEASURING = '''
from spa.criteria import Context, criterion

@criterion(measures=True, comparable=True)
def mine(context: Context):
    """How often it was asked."""
    rows = sum(len(array) for feed in context.feeds for array in feed.values())
    if rows != 20:
        raise ValueError(f"{rows} rows")
    scores = context.zeros()
    for group in context.coupling.groups:
        scores[group.cells] = range(group.size)
    return scores
'''
BROKEN = "import a_module_that_nobody_has\n"
FAILING = "def mine(context):\n    return {}['x']\n"


def prune(folder, *words):
    out = folder / "out.onnx"
    return spa(folder, "prune", str(DIGITS), "-o", str(out), "-r", "0.3", *words), out


# Spa's own


@pytest.mark.parametrize("registry", ALL.values(), ids=ALL)
def test_every_one_has_a_line_and_is_a_function(registry):
    assert registry.own
    for name, entry in registry.own.items():
        assert entry.name == name and entry.help.endswith(".") and len(entry.help) < 90
        assert callable(registry.get(name)) and not entry.origin


@pytest.mark.parametrize("registry", ALL.values(), ids=ALL)
def test_what_the_source_says_is_what_the_decorator_was_told(registry):
    for entry in registry.own.values():
        said = {**registry.facts, **entry.function.spa_facts}
        assert entry.known.facts == said and set(said) == set(registry.facts)


def test_a_decorator_takes_facts_of_its_kind_only():
    with pytest.raises(TypeError, match="knows nothing of meassures"):
        CRITERIA(meassures=True)


def test_names_and_words_are_read_without_running_anything():
    code = (
        "import sys\nfrom spa.registry import NAMED\n"
        "assert all(entry.help for each in NAMED.values() for entry in each.own.values())\n"
        "assert not {'numpy', 'onnx', 'importlib.metadata'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# Of others


def test_a_criterion_from_outside(tmp_path):
    install(tmp_path, CRITERION, criteria="mine = my_package:last")
    ran, out = prune(tmp_path, "--scorer", "mine", "--round-to", "1")
    assert (ran.returncode, ran.stderr) == (0, "")
    before, after = onnx.load(DIGITS), onnx.load(out)
    whole = {t.name: onnx.numpy_helper.to_array(t) for t in before.graph.initializer}
    cut = 0
    for tensor in after.graph.initializer:
        small = onnx.numpy_helper.to_array(tensor)
        if small.ndim == 1 and small.shape != whole[tensor.name].shape:
            assert (small == whole[tensor.name][: len(small)]).all()  # the first ones
            cut += 1
    assert cut


def test_a_criterion_that_measures_is_given_inputs_and_refits(tmp_path):
    install(tmp_path, MEASURING, criteria="mine = my_package:mine")
    ran, _ = prune(tmp_path, "--scorer", "mine", "--set", "samples=20", "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["verify"]["inputs"] == "leaves"
    stages = report["timings"]
    assert "reconstruct" in stages and "score" in stages
    plan, out = str(tmp_path / "plan.json"), str(tmp_path / "applied.onnx")
    given = "-r", "0.3", "--scorer", "mine", "--set", "samples=20"
    assert spa(tmp_path, "plan", str(DIGITS), "-o", plan, *given).returncode == 0
    few = "--set", "samples=20", "--json"
    ran = spa(tmp_path, "apply", str(DIGITS), plan, "-o", out, *few)
    assert ran.returncode == 0, ran.stderr
    assert "reconstruct" in json.loads(ran.stdout)["timings"]


def test_help_names_it_and_does_not_import_it(tmp_path):
    install(tmp_path, BROKEN, criteria="mine = my_package:last")
    ran = spa(tmp_path, "prune", "--help")
    assert ran.returncode == 0 and "|mine]" in ran.stdout
    assert "mine: from my-package 1.2" in " ".join(ran.stdout.split())


@pytest.mark.parametrize(
    ("source", "point", "words"),
    [
        (BROKEN, "my_package:last", "cannot be loaded: ModuleNotFoundError: No module named"),
        (CRITERION, "my_package:gone", "cannot be loaded: AttributeError"),
        ("x = 1\n", "my_package:x", "is no function (my_package:x)"),
        (FAILING, "my_package:mine", "failed: KeyError: 'x'"),
    ],
)
def test_a_broken_package_is_one_sentence(tmp_path, source, point, words):
    install(tmp_path, source, criteria=f"mine = {point}")
    ran, out = prune(tmp_path, "--scorer", "mine")
    assert ran.returncode == 2 and not out.exists()
    assert ran.stderr.startswith("spa: error: the scorer 'mine' of the package my-package 1.2")
    assert words in ran.stderr and ran.stderr.count("\n") == 1


def test_a_package_cannot_take_the_place_of_ours(tmp_path):
    install(tmp_path, BROKEN, criteria="l2 = my_package:last\nauto = my_package:last")
    ran, out = prune(tmp_path, "--scorer", "l2")
    assert ran.returncode == 0 and out.exists()


def test_two_packages_with_one_name(tmp_path):
    install(tmp_path, CRITERION, criteria="mine = my_package:last")
    install(tmp_path, CRITERION, name="other", criteria="mine = other:last")
    ran, _ = prune(tmp_path, "--scorer", "mine")
    assert ran.returncode == 2 and "my-package 1.2" in ran.stderr and "other 1.2" in ran.stderr


def test_scores_of_another_shape_are_one_sentence(tmp_path):
    source = "import numpy as np\ndef mine(context):\n    return np.zeros(3)\n"
    install(tmp_path, source, criteria="mine = my_package:mine")
    ran, _ = prune(tmp_path, "--scorer", "mine")
    assert ran.returncode == 2 and "gives an array of shape (3,)" in ran.stderr


def test_an_unknown_name_lists_all(tmp_path):
    with pytest.raises(UsageError, match="there is no scorer 'l3'; choose one of auto, act, "):
        CRITERIA.get("l3")


UNIT = '''
from spa.budgets import unit
from spa.coupling.cost import Cost

@unit()
def energy(coupling):
    """Picojoules."""
    cost = Cost(coupling)
    return lambda alive: cost(alive).macs + 200.0 * cost(alive).params
'''
ALLOCATION = '''
from spa.budgets import Choice, Task, allocation

@allocation()
def half(task: Task) -> Choice:
    """As even as can be."""
    return task.reach(task.moves(task.scores, "local"))

def whole(task):
    return Choice(task.coupling.everything(), 0.0)

def ragged(task):
    alive = task.coupling.everything()
    alive[task.coupling.groups[0].cells[:, :-1]] = False
    return Choice(alive, 0.0)
'''


def test_a_unit_from_outside(tmp_path):
    install(tmp_path, UNIT, units="energy = my_package:energy")
    gate = "--set", "min-reduction=0.3", "--report", str(tmp_path / "r.json")
    ran, out = prune(tmp_path, "--of", "energy", "-s", "l2", "--round-to", "1", *gate)
    assert (ran.returncode, ran.stderr) == (0, "")
    whole, left = (Cost(c)(c.everything()) for c in (analyse(read(p)) for p in (DIGITS, out)))
    before, after = (each.macs + 200 * each.params for each in (whole, left))
    assert 0.69 < after / before <= 0.7
    told = json.loads((tmp_path / "r.json").read_text())["reduction"]["energy"]
    assert told == pytest.approx(1 - after / before)


def test_a_target_in_a_foreign_unit_may_be_out_of_reach(tmp_path):
    install(tmp_path, UNIT, units="energy = my_package:energy")
    ran, _ = prune(tmp_path, "--of", "energy", "-s", "l2", "--max-layer-ratio", "0.1")
    assert ran.returncode == 4 and "of the energy can be removed, not 30 %" in ran.stderr


def test_an_allocation_from_outside(tmp_path):
    install(tmp_path, ALLOCATION, allocations="half = my_package:half")
    ran, out = prune(tmp_path, "--allocation", "half", "-s", "l2")
    mine = onnx.load(out)
    ran, out = prune(tmp_path, "--allocation", "uniform", "-s", "l2", "--force")
    assert (ran.returncode, ran.stderr) == (0, "")
    ours = onnx.load(out)
    assert list(mine.graph.initializer) == list(ours.graph.initializer)


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        ("whole", 4, "removes 0 % of the macs, not 30 %"),
        ("ragged", 2, "units from the group"),
        ("Choice", 2, "failed: TypeError"),
    ],
)
def test_an_allocation_from_outside_keeps_to_the_limits(tmp_path, function, code, words):
    install(tmp_path, ALLOCATION, allocations=f"mine = my_package:{function}")
    ran, out = prune(tmp_path, "--allocation", "mine", "-s", "l2")
    assert ran.returncode == code and words in ran.stderr and not out.exists()
    assert ran.stderr.count("\n") == 1 or code == 4


REPAIR = '''
from spa.repairs import Fit, repair

@repair(shared=False)
def double(fit: Fit):
    """Weights twice as large."""
    return 2 * fit.weight, fit.bias

def same(fit):
    return fit.weight, fit.bias

def wide(fit):
    return fit.weight[:, :, :-1], fit.bias
'''


def weights(path):
    return {t.name: onnx.numpy_helper.to_array(t).copy() for t in onnx.load(path).graph.initializer}


def test_a_repair_from_outside_is_taken_where_it_helps(tmp_path):
    install(tmp_path, REPAIR, repairs="same = my_package:same\ndouble = my_package:double")
    fast = "-s", "l2", "--samples", "16"
    ran, out = prune(tmp_path, "--repair", "same", *fast)
    assert (ran.returncode, ran.stderr.count("\n")) == (0, ran.stderr.count("did not help"))
    same = weights(out)
    ran, out = prune(tmp_path, "--no-reconstruct", *fast, "--force")
    cut = weights(out)
    assert same.keys() == cut.keys()
    assert all((same[name] == cut[name]).all() for name in cut)
    ran, out = prune(tmp_path, "--repair", "double", *fast, "--force")
    assert ran.returncode == 0
    twice = weights(out)
    rows = [(twice[n] == 2 * cut[n]) | (twice[n] == cut[n]) for n in cut]
    assert all(found.all() for found in rows)
    assert any((twice[n] != cut[n]).any() for n in cut), "rows of few weights left are too small"


def test_a_repair_of_another_shape_is_one_sentence(tmp_path):
    install(tmp_path, REPAIR, repairs="wide = my_package:wide")
    ran, out = prune(tmp_path, "--repair", "wide", "-s", "l2", "--samples", "16")
    assert ran.returncode == 2 and "the repair 'wide' gives shapes" in ran.stderr
    assert not out.exists()


def test_a_report_from_outside(tmp_path):
    source = "def told(report):\n    return f\"{report['command']} {report['status']}\"\n"
    install(tmp_path, source, reports="txt = my_package:told")
    ran, _ = prune(tmp_path, "-s", "l2", "--report", str(tmp_path / "r.txt"))
    assert (ran.returncode, (tmp_path / "r.txt").read_text()) == (0, "prune ok")
    ran, _ = prune(tmp_path, "--report", str(tmp_path / "r.pdf"))
    assert ran.returncode == 2 and "use .json, .html, .md, .xml, .txt" in ran.stderr


INPUTS = '''
import numpy as np
from spa.probes import inputs

@inputs(of="pictures", noun="stripes")
def stripes(rows, shape, *, seed, name):
    """Stripes, as wide as their number."""
    width = np.arange(shape[2]) // 3 % 2
    found = [np.broadcast_to((width + row) % 2, shape) for row in rows]
    return np.asarray(found, np.float32)

@inputs(of="numbers")
def ones(rows, shape, *, seed, name):
    return np.ones((len(rows), *shape), np.float32)
'''
ENGINE = '''
from spa.devices import CPU

def mine(timed):
    """The processor by another name."""
    return [(CPU, {})]

def other(timed):
    return [("MyExecutionProvider", {}), (CPU, {})]
'''


@pytest.mark.parametrize(("kind", "words"), [("stripes", ": stripes, "), ("ones", ": ones")])
def test_inputs_from_outside(tmp_path, kind, words):
    install(tmp_path, INPUTS, inputs=f"{kind} = my_package:{kind}")
    ran, _ = prune(tmp_path, "--probe", kind, "--samples", "16", "-s", "act", "--json", "-v")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["verify"]["inputs"] == kind
    assert any(note.startswith("inputs ") and words in note for note in report["notes"])


def test_an_engine_from_outside(tmp_path):
    install(tmp_path, ENGINE, engines="mine = my_package:mine\nother = my_package:other")
    ran, out = prune(tmp_path, "--device", "mine", "-s", "l2")
    assert (ran.returncode, out.exists()) == (0, True)
    ran, _ = prune(tmp_path, "--device", "other", "-s", "l2", "--force")
    assert ran.returncode == 3 and ran.stderr.count("\n") == 1
    assert "--device other needs MyExecutionProvider, and this onnxruntime only has" in ran.stderr
