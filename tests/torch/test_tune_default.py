"""What is tuned although nobody asked: where it is possible, the same again, and never an error."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch")

import spa  # noqa: E402
from spa.errors import ReadError, UsageError  # noqa: E402
from spa.pipeline import heal, tuning  # noqa: E402
from tests.carried import DIGITS  # noqa: E402
from tests.torch.ended import TRIED, Interrupts  # noqa: E402

pytestmark = pytest.mark.usefixtures("tuned_by_default")
STEPS = 24


@pytest.fixture(autouse=True)
def briefly(tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("SPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(heal, "MOST", STEPS)
    monkeypatch.setattr(heal, "FEWEST", 1)
    yield
    torch.set_num_threads(threads)


def pruned(**options):
    return spa.prune(DIGITS, 0.4, **{"samples": 192, "threads": 1, "invert": "off", **options})


def stored(result):
    """All weights, by name."""
    held = result.model.graph.initializer
    return {each.name: numpy_helper.to_array(each).tobytes() for each in held}


def told(result, words):
    return [note for note in (*result["notes"], *result["warnings"]) if words in note]


def test_it_is_tuned_as_if_so_many_steps_were_asked_for():
    made = pruned()
    assert made["tune"]["steps"] == STEPS and not made["tune"]["asked"]
    assert made["recipe"]["tune"] == "auto"
    assert told(made, f"{STEPS} steps in five minutes at most") and told(made, 'tune="off"')
    asked = pruned(tune=f"{STEPS}steps")
    assert stored(made) == stored(asked) != stored(pruned(tune="off"))


@pytest.mark.parametrize(
    "options", [{"tune": "off"}, {"scorer": "l1"}, {"repair": "none"}, {"reconstruct": False}]
)
def test_who_only_cuts_gets_only_a_cut(options):
    made = pruned(**options)
    assert "tune" not in made.report and not told(made, "teaches")


def test_a_model_that_torch_cannot_follow_is_pruned_all_the_same(monkeypatch):
    whole = pruned(tune="off")

    def refuses(*_, **__):
        raise ReadError("no function for Odd node 'n'")

    monkeypatch.setattr("spa.torch.load", refuses)
    made = pruned()
    assert made.exit_code == 0 and stored(made) == stored(whole)
    assert told(made, "nothing was tuned by gradients: no function for Odd")
    with pytest.raises(ReadError, match="Odd"):
        pruned(tune="4steps")


def test_few_inputs_of_ones_own_are_too_few_to_judge_by():
    x = np.random.default_rng(0).random((60, 1, 8, 8), np.float32)
    made = pruned(calib=x)
    assert "tune" not in made.report and told(made, "inputs only")


def test_a_model_that_two_minutes_are_too_few_for_is_left(monkeypatch):
    monkeypatch.setattr(heal, "OVERHEAD", 100.0)
    made = pruned()
    assert "tune" not in made.report and told(made, "of this size")


def test_a_slow_machine_takes_fewer_steps_and_says_so(monkeypatch):
    monkeypatch.setattr("spa.torch.tuning.tuner.affordable", lambda *_: 20)
    made = pruned()
    assert (made["tune"]["steps"], made["tune"]["stopped"]) == (20, "end")
    assert told(made, f'enough for 20 of {STEPS} steps of tuning here; tune="{STEPS}steps"')


def test_a_machine_that_is_far_too_slow_does_not_begin(monkeypatch):
    monkeypatch.setattr("spa.torch.tuning.tuner.affordable", lambda *_: 3)
    made, steps = pruned(callback=(seen := Interrupts(-1))), seen.taken
    assert (made["tune"]["steps"], made["tune"]["stopped"], steps) == (0, "time", 0)
    assert made["status"] == "ok" and not made["tune"]["kept"]


def test_what_takes_too_long_ends_with_the_best_so_far(monkeypatch, tmp_path):
    monkeypatch.setattr("spa.torch.tuning.tuner.affordable", lambda *_: STEPS)
    late = Late(TRIED + 10, monkeypatch)
    made = pruned(callback=late)
    assert (made["tune"]["steps"], made["tune"]["stopped"]) == (10, "time")
    assert made["status"] == "ok" and told(made, f"enough for 10 of {STEPS} steps")
    assert not list((tmp_path / "cache" / "tune").glob("*"))


class Late(Interrupts):
    """The clock jumps at a step."""

    def __init__(self, at, monkeypatch):
        super().__init__(at)
        self.monkeypatch, self.now = monkeypatch, tuning.time.perf_counter

    def reached(self):
        clock = self.now
        self.monkeypatch.setattr("spa.pipeline.tuning.time.perf_counter", lambda: clock() + 1000)


def test_it_is_resumed_where_ctrl_c_ended_it(tmp_path):
    whole = pruned()
    part = pruned(callback=Interrupts(TRIED + 10))
    assert part.exit_code == 130 and "resume=True goes on" in part["error"]
    assert pruned(resume=True).model == whole.model


def test_a_sweep_tunes_only_where_it_is_told_to():
    options = {"samples": 192, "threads": 1, "invert": "off", "max_drift": 10.0}
    made = spa.sweep(DIGITS, [0.3], **options)
    assert "tune" not in made.report["timings"]
    with pytest.raises(UsageError, match="none is asked for"):
        spa.sweep(DIGITS, [0.3], resume=True, **options)


def test_tuning_alone_wants_to_know_how_long():
    with pytest.raises(UsageError, match="such as 5m"):
        spa.tune(DIGITS, DIGITS, "auto")
