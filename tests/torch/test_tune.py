"""Tuning a pruned model: never worse, the same bits again, resumed, interrupted, refused."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch")

import spa  # noqa: E402
from spa import reports, runtime  # noqa: E402
from spa.cli.main import run as shell  # noqa: E402
from spa.errors import ReadError, UsageError, VerifyError  # noqa: E402
from spa.events import Started  # noqa: E402
from spa.torch.tuning import tuner as tuning  # noqa: E402
from spa.torch.tuning.fit import Rate  # noqa: E402
from tests.carried import DIGITS, FASHION  # noqa: E402
from tests.torch.ended import TRIED, Interrupts, Killed, Kills  # noqa: E402

pytestmark = pytest.mark.usefixtures("alone")
STEPS = 24


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    spa.prune(DIGITS, 0.4, scorer="l2", repair="none", output=path)
    return path


def tuned(small, output=None, steps=STEPS, **options):
    options = {"samples": 192, "threads": 1, "invert": "off", **options}
    return spa.tune(DIGITS, small, steps=steps, output=output, force=True, **options)


def pictures(count):
    graph = spa.read(DIGITS)
    shape = graph.shapes[graph.inputs[0]][1:]
    return np.random.default_rng(0).random((count, *shape), np.float32)


def test_it_comes_nearer_to_the_original_and_only_values_change(small, tmp_path):
    result = tuned(small, tmp_path / "out.onnx")
    told = result["tune"]
    assert told["kept"] and told["after"] < 0.9 * told["before"]
    assert (told["steps"], told["planned"], told["stopped"]) == (STEPS, STEPS, "end")
    assert told["held_rows"] >= 100 and told["rows"] == 192
    assert result["status"] == "ok" and result.exit_code == 0
    old, new = onnx.load(small), onnx.load(tmp_path / "out.onnx")
    assert bare(old) == bare(new)
    assert old.opset_import == new.opset_import
    said = {entry.key: entry.value for entry in new.metadata_props}
    assert said["spa.reconstructed"] == "true"
    assert spa.verify(DIGITS, tmp_path / "out.onnx")["verify"]["passed"]


def bare(model):
    """A graph without the values of its weights."""
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    shapes = sorted((t.name, tuple(t.dims), t.data_type) for t in graph.initializer)
    del graph.initializer[:]
    return graph.SerializeToString(deterministic=True), shapes


def test_the_file_computes_what_the_module_does(small, tmp_path):
    result = tuned(small, tmp_path / "out.onnx")
    session = runtime.session(tmp_path / "out.onnx", device="cpu")
    feeds = {spa.read(DIGITS).inputs[0]: pictures(5)}
    want = runtime.run(session, feeds)
    module = spa_torch().load(result)
    for name, value in module.run(feeds).items():
        assert np.allclose(value.detach().numpy(), want[name], atol=1e-4)


def spa_torch():
    import spa.torch

    return spa.torch


def test_a_seed_and_a_number_of_steps_give_the_same_bits(small, tmp_path):
    for name in "ab":
        tuned(small, tmp_path / f"{name}.onnx")
    tuned(small, tmp_path / "c.onnx", seed=1)
    a, b, c = ((tmp_path / f"{name}.onnx").read_bytes() for name in "abc")
    assert a == b != c


def test_a_time_is_a_number_of_steps_that_can_be_given_back(small, tmp_path):
    first = spa.tune(DIGITS, small, "3s", samples=192, invert="off", output=tmp_path / "a.onnx")
    steps = first["tune"]["steps"]
    assert steps == first["tune"]["planned"] >= tuning.FEWEST
    tuned(small, tmp_path / "b.onnx", steps=steps)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_what_nothing_makes_better_is_delivered_as_it_came(small, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "RATES", (Rate(30.0), Rate(50.0)))
    result = tuned(small, tmp_path / "out.onnx")
    assert not result["tune"]["kept"]
    assert result["tune"]["before"] == result["tune"]["after"]
    assert (tmp_path / "out.onnx").read_bytes() == small.read_bytes()
    assert any("stay as they came in" in words for words in result["warnings"])


@pytest.mark.parametrize("folder", ["beside", "elsewhere"])
def test_what_came_in_with_data_files_is_delivered_with_its_own(
    small, tmp_path, monkeypatch, folder
):
    """The output never leans on files of the input, and the report lists all that was written."""
    monkeypatch.setattr(tuning, "RATES", (Rate(30.0),))
    given = tmp_path / "given" / "small.onnx"
    given.parent.mkdir()
    everything = {"save_as_external_data": True, "size_threshold": 0, "location": "w.bin"}
    onnx.save(onnx.load(small), given, **everything)
    output = given.with_name("out.onnx") if folder == "beside" else tmp_path / "out.onnx"
    before = {path.name: path.read_bytes() for path in given.parent.iterdir()}
    result = tuned(given, output)
    assert not result["tune"]["kept"]
    assert {name: (given.parent / name).read_bytes() for name in before} == before
    for path in before:
        (given.parent / path).unlink()
    assert stored(onnx.load(output)) == stored(onnx.load(small))
    listed = [Path(each["path"]) for each in result["files"]]
    assert [each["kind"] for each in result["files"]] == ["model", "data"]
    assert [each["bytes"] for each in result["files"]] == [p.stat().st_size for p in listed]
    assert {*listed} == {*output.parent.glob("out.*")}


def stored(model):
    """All weights, by name."""
    return {t.name: numpy_helper.to_array(t).tobytes() for t in model.graph.initializer}


def test_a_file_that_was_replaced_meanwhile_is_not_delivered_unseen(small, tmp_path, monkeypatch):
    """What is delivered as it came is what was read and judged, or nothing."""
    monkeypatch.setattr(tuning, "RATES", (Rate(30.0),))
    given = tmp_path / "small.onnx"
    given.write_bytes(small.read_bytes())

    def replaced(event):
        if isinstance(event, Started) and event.stage == "tune":
            given.write_bytes(DIGITS.read_bytes())

    with pytest.raises(ReadError, match="was changed since"):
        tuned(given, tmp_path / "out.onnx", callback=replaced)
    assert not (tmp_path / "out.onnx").exists()


def test_a_rate_that_destroys_the_model_is_given_up(small, monkeypatch):
    monkeypatch.setattr(tuning, "RATES", (Rate(30.0),))
    told = tuned(small, steps=200)["tune"]
    assert told["stopped"] == "lost" and told["steps"] < 200


def test_the_rate_with_the_least_error_after_a_short_run_is_taken(small, monkeypatch):
    monkeypatch.setattr(tuning, "RATES", (Rate(30.0), Rate(1e-3), Rate(1e-9)))
    told = tuned(small)["tune"]
    assert told["rate"] == "0.001"
    assert told["rates"]["0.001"] == min(each or 1e9 for each in told["rates"].values())
    monkeypatch.setattr(tuning, "RATES", (Rate(1.001e-3), Rate(1e-3), Rate(0.999e-3)))
    assert tuned(small)["tune"]["rate"] == "0.001001"  # of those that are as good the first


@pytest.mark.parametrize("at", [TRIED + 1, TRIED + 10])
def test_an_interrupted_run_resumed_equals_one_that_was_not(small, tmp_path, at):
    whole = tuned(small, tmp_path / "whole.onnx")
    part = tuned(small, tmp_path / "part.onnx", callback=Interrupts(at))
    told = part["tune"]
    assert (part.exit_code, part["status"], told["stopped"]) == (130, "interrupted", "interrupted")
    assert told["steps"] == at - TRIED
    assert told["after"] <= told["before"]
    assert "--resume" in part["error"] or "resume" in part["error"]
    runtime.session(tmp_path / "part.onnx", device="cpu")
    rest = tuned(small, tmp_path / "rest.onnx", resume=True)
    assert (tmp_path / "rest.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()
    assert rest["tune"]["after"] == whole["tune"]["after"]
    assert not list((tmp_path / "cache").rglob("*.pt"))


def test_interrupted_before_the_first_step_that_counts_nothing_changes(small, tmp_path):
    result = tuned(small, tmp_path / "out.onnx", callback=Interrupts(3))
    assert result.exit_code == 130 and not result["tune"]["kept"]
    assert "before the first step" in result["error"]
    assert (tmp_path / "out.onnx").read_bytes() == small.read_bytes()


def test_ctrl_c_means_what_it_did_before_afterwards(small):
    before = signal.getsignal(signal.SIGINT)
    tuned(small, callback=Interrupts(3))
    assert signal.getsignal(signal.SIGINT) is before


def test_there_must_be_something_to_resume(small):
    with pytest.raises(UsageError, match="no unfinished run"):
        tuned(small, resume=True)


def test_a_damaged_checkpoint_is_said(small, tmp_path):
    tuned(small, callback=Interrupts(TRIED + 2))
    (kept,) = (tmp_path / "cache").rglob("*.pt")
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(UsageError, match="cannot be read"):
        tuned(small, resume=True)


def test_another_pair_has_no_part_in_a_checkpoint(small):
    tuned(small, callback=Interrupts(TRIED + 2))
    with pytest.raises(UsageError, match="no unfinished run"):
        tuned(small, resume=True, seed=5)


def test_files_that_are_no_pair_are_refused(small):
    with pytest.raises(VerifyError) as error:
        spa.tune(FASHION, small, steps=2)
    assert "\n" not in str(error.value)


def test_labels_must_fit(small, tmp_path):
    x = pictures(300)
    for labels, words in [
        (np.zeros(3, np.int64), "holds 3"),
        (np.zeros(300, np.float32), "whole numbers"),
        (np.full(300, 10), "10 classes"),
    ]:
        with pytest.raises(UsageError, match=words):
            tuned(small, calib=x, labels=labels)
    with pytest.raises(UsageError, match="add calib"):
        tuned(small, labels=np.zeros(300, np.int64))
    np.savez(tmp_path / "y.npz", y=np.arange(300) % 10)
    told = tuned(small, calib=x, labels=tmp_path / "y.npz", steps=8)["tune"]
    assert told["rows"] == 192


def test_labels_are_learned(small):
    """Rows whose labels say something else than the original."""
    x = pictures(400)
    free, bound = (
        tuned(small, calib=x, labels=labels, steps=60) for labels in (None, np.full(400, 7))
    )
    modules = [spa_torch().load(each) for each in (free, bound)]
    share = [module(torch.tensor(x)).softmax(1)[:, 7].mean() for module in modules]
    assert bound["tune"]["kept"] and share[1] > 2 * share[0]


def test_too_few_inputs_are_refused_and_few_are_warned_of(small):
    x = pictures(60)
    with pytest.raises(UsageError, match="100 or more"):
        tuned(small, calib=x[:3])
    found = tuned(small, calib=x, steps=4)
    assert any("inputs only" in words for words in found["warnings"])
    assert found["tune"]["rows"] + found["tune"]["held_rows"] == 60


def test_prune_tunes_what_it_cut(tmp_path):
    options = {"scorer": "l2", "repair": "none", "samples": 192, "invert": "off"}
    plain = spa.prune(DIGITS, 0.4, **options)
    result = spa.prune(DIGITS, 0.4, tune="24steps", output=tmp_path / "out.onnx", **options)
    told = result["tune"]
    assert told["kept"] and told["after"] < told["before"]
    assert worst(result) < worst(plain)
    assert result["verify"]["passed"] and result["verify"]["proof"]["status"] == "complete"
    assert result["recipe"]["tune"] == "24steps"
    assert spa.verify(DIGITS, tmp_path / "out.onnx")["verify"]["passed"]
    names = {t.name: t for t in plain.model.graph.initializer}
    changed = [
        t.name
        for t in result.model.graph.initializer
        if not np.array_equal(numpy_helper.to_array(t), numpy_helper.to_array(names[t.name]))
    ]
    assert changed


def cut_and_tuned(output, **options):
    """A run of `prune` with all of its stages; once inputs were moved they are in the cache."""
    more = {"tune": f"{STEPS}steps", "invert": 120, "samples": 192, "threads": 1, "scorer": "obspa"}
    return spa.prune(DIGITS, 0.4, output=output, force=True, **more, **options)


def test_a_pruning_whose_tuning_was_interrupted_is_resumed(tmp_path):
    whole = cut_and_tuned(tmp_path / "whole.onnx")
    part = cut_and_tuned(tmp_path / "part.onnx", callback=Interrupts(TRIED + 10))
    assert (part.exit_code, part["status"], part["tune"]["steps"]) == (130, "interrupted", 10)
    assert "resume=True goes on" in part["error"]
    rest = cut_and_tuned(tmp_path / "rest.onnx", resume=True)
    assert (tmp_path / "rest.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()
    assert (tmp_path / "rest.onnx").read_bytes() != (tmp_path / "part.onnx").read_bytes()
    assert rest["tune"]["after"] == whole["tune"]["after"]
    assert not list((tmp_path / "cache" / "tune").iterdir())


def test_a_pruning_that_was_killed_while_it_tuned_is_resumed(tmp_path, monkeypatch):
    """Nothing was delivered, and the last checkpoint is from before."""
    monkeypatch.setattr(tuning, "KEPT_SECONDS", 0.0)
    whole, rest = tmp_path / "whole.onnx", tmp_path / "rest.onnx"
    cut_and_tuned(whole)
    with pytest.raises(Killed):
        cut_and_tuned(rest, callback=Kills(TRIED + 10))
    assert not rest.exists() and len(list((tmp_path / "cache" / "tune").iterdir())) == 1
    steps = Interrupts(-1)
    cut_and_tuned(rest, resume=True, callback=steps)
    assert rest.read_bytes() == whole.read_bytes()
    assert steps.taken == STEPS - 10 + 1, "the others were taken before"


def test_only_a_tuning_that_was_begun_can_be_resumed(tmp_path, capsys):
    with pytest.raises(UsageError, match=r"none is asked for; add tune="):
        spa.prune(DIGITS, 0.4, tune="off", resume=True)
    with pytest.raises(UsageError, match="no unfinished run"):
        spa.prune(DIGITS, 0.4, tune="8steps", resume=True)
    words = ["prune", str(DIGITS), "-r", "0.4", "-o", str(tmp_path / "o.onnx"), "--resume"]
    assert shell(words) == 2 and "add --tune TIME" in capsys.readouterr().err
    assert shell([*words, "--tune", "8steps"]) == 2
    assert "leave out --resume" in capsys.readouterr().err


def worst(result):
    return max(result["verify"]["drift"].values())


def test_every_face_of_a_report_says_what_tuning_brought(small):
    report = tuned(small).report
    for face in (reports.to_markdown, reports.to_html):
        assert "held-back inputs" in face(report), face


def test_the_shell(small, tmp_path, capsys):
    words = ["-o", str(tmp_path / "o.onnx"), "--steps", "8", "--set", "invert=off"]
    code = shell(["tune", str(DIGITS), str(small), *words])
    assert code == 0 and "Tuned" in capsys.readouterr().out
    code = shell(["tune", str(DIGITS), str(small), "-o", str(small), "--force"])
    assert code == 2 and "never changed" in capsys.readouterr().err
    code = shell(["tune", str(DIGITS), str(small), "--time", "5parsecs"])
    assert code == 2 and "5m" in capsys.readouterr().err
    assert not Path(small).with_name("small.tuned.onnx").exists()


def test_cuda_without_a_gpu_is_said(small):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match="sees a GPU"):
        from spa.torch.values import device_of

        device_of("cuda")


def test_made_up_inputs_are_moved_by_gradients_where_that_is_better(small, monkeypatch):
    """What moves them has tests of its own; here they are only brighter."""

    def brighter(feeds, *rest, **more):
        return [{name: each + 1 for name, each in run.items()} for run in feeds]

    monkeypatch.setattr("spa.pipeline.tuning.improved", brighter)
    told = tuned(small, invert="auto", steps=4)["tune"]
    assert told["inputs"] == "moved" and told["rows"] == 192 and told["held_rows"] >= 100
    monkeypatch.setattr("spa.pipeline.tuning.improved", lambda feeds, *rest, **more: feeds)
    assert tuned(small, invert="auto", steps=4)["tune"]["inputs"] == "leaves"
