"""Inputs by inversion: they come to fit what a file tells, the same with a seed, in a budget."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

import spa  # noqa: E402
from spa.cli.main import run  # noqa: E402
from spa.events import Event, Started, Step  # noqa: E402
from spa.executor.remembered import centred, stored  # noqa: E402
from spa.graph import read  # noqa: E402
from spa.pipeline.context import Context  # noqa: E402
from spa.pipeline.load import couple, load  # noqa: E402
from spa.pipeline.settle import settle  # noqa: E402
from spa.probes import probe_for  # noqa: E402
from spa.recipe import Recipe  # noqa: E402
from spa.torch.invert import STORED, Inverted, Told, invert, tell  # noqa: E402
from spa.torch.terms import Centred, Stored, answers_of  # noqa: E402
from spa.torch.workload import Price, Work, work_for  # noqa: E402

SIDE, CLASSES = 12, 5
WIDTHS = (3, 8, 8, 8, 8)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Small models are slower with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is taken from, or left in, anybody's cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SPA_CACHE", str(folder))
    return folder


def data(rows: int) -> np.ndarray:
    """What the model was "trained" on: dull pictures of one colour cast, unlike dead leaves."""
    random = np.random.default_rng(7)
    coarse = random.normal(0, 0.5, (rows, 3, 3, 3)).repeat(4, 2).repeat(4, 3)
    return (coarse + np.array([0.6, 0.2, -0.4])[:, None, None]).astype(np.float32)


def net(folded: bool = False) -> onnx.ModelProto:
    """Convolutions with BatchNormalization and ReLU, whose statistics are those of `data`."""
    random = np.random.default_rng(3)
    nodes, stored, x = [], [], torch.from_numpy(data(256))
    name = "x"
    for k, (before, after) in enumerate(pairwise(WIDTHS)):
        weight = random.normal(0, (2 / 9 / before) ** 0.5, (after, before, 3, 3)).astype("f4")
        scale, shift = random.uniform(0.7, 1.3, after), random.normal(0, 0.3, after)
        made = torch.nn.functional.conv2d(x, torch.from_numpy(weight), padding=1)
        mean, var = made.mean((0, 2, 3)).numpy(), made.var((0, 2, 3)).numpy()
        factor = scale / np.sqrt(var + 1e-5)
        x = made * torch.tensor(factor, dtype=torch.float32)[:, None, None]
        x = torch.relu(x + torch.tensor(shift - mean * factor, dtype=torch.float32)[:, None, None])
        if folded:
            arrays = {"w": weight * factor[:, None, None, None], "b": shift - mean * factor}
        else:
            arrays = {"w": weight, "scale": scale, "shift": shift, "mean": mean, "var": var}
        stored += [numpy_helper.from_array(a.astype("f4"), f"{n}{k}") for n, a in arrays.items()]
        first = [name, f"w{k}", f"b{k}"] if folded else [name, f"w{k}"]
        nodes.append(helper.make_node("Conv", first, [f"c{k}"], pads=[1] * 4))
        norm = [f"c{k}", f"scale{k}", f"shift{k}", f"mean{k}", f"var{k}"]
        if not folded:
            nodes.append(helper.make_node("BatchNormalization", norm, [f"n{k}"]))
        nodes.append(helper.make_node("Relu", [f"c{k}" if folded else f"n{k}"], [f"r{k}"]))
        name = f"r{k}"
    head = random.normal(0, 10, (WIDTHS[-1], CLASSES)).astype("f4")
    level = -x.mean((0, 2, 3)).numpy() @ head  # so that no class is preferred
    stored += [numpy_helper.from_array(head, "head"), numpy_helper.from_array(level, "level")]
    nodes.append(helper.make_node("GlobalAveragePool", [name], ["p"]))
    nodes.append(helper.make_node("Flatten", ["p"], ["f"]))
    nodes.append(helper.make_node("MatMul", ["f", "head"], ["m"]))
    nodes.append(helper.make_node("Add", ["m", "level"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model.ir_version = 9
    return model


def told(folded: bool = False, rows: int = 64) -> tuple[Told, list[dict[str, np.ndarray]]]:
    """A model as it is inverted, and its synthetic inputs."""
    graph = read(net(folded))
    feeds = [*probe_for(graph, mean=[0.0], std=[0.25]).runs(range(rows), 32)]
    return tell(graph, feeds, stored(graph), centred(graph, feeds)), feeds


def moved(seed: int = 0, steps: int = 40, **options: Any) -> Inverted | None:
    """What comes of two batches of 32."""
    known, feeds = told()
    return invert(known, feeds, Work(64, 32, steps), seed=seed, **options)


def test_held_back_statistics_are_met_too() -> None:
    """They were left out of the loss, so that only better inputs bring them nearer."""
    found = moved()
    assert found is not None and found.complete
    assert found.before > 0.3
    assert found.after < 0.5 * found.before
    assert found.inputs.shape == (64, 3, SIDE, SIDE)


def test_pixels_stay_in_the_range_of_the_start() -> None:
    known, feeds = told()
    found = invert(known, feeds, Work(64, 32, 20))
    assert found is not None
    start = np.concatenate([feed["x"] for feed in feeds])
    for channel in range(3):
        assert found.inputs[:, channel].min() >= start[:, channel].min() - 2e-3
        assert found.inputs[:, channel].max() <= start[:, channel].max() + 2e-3
    assert np.abs(found.inputs - start).max() > 0.1


def test_a_seed_decides_every_bit() -> None:
    first, again, other = moved(steps=5), moved(steps=5), moved(seed=1, steps=5)
    assert first is not None and again is not None and other is not None
    assert np.array_equal(first.inputs, again.inputs)
    assert not np.array_equal(first.inputs, other.inputs)


def test_a_batch_does_not_hang_on_how_many_there_are() -> None:
    known, feeds = told()
    all_, one = (invert(known, feeds, Work(rows, 32, 5)) for rows in (64, 32))
    assert all_ is not None and one is not None
    assert np.array_equal(all_.inputs[:32], one.inputs)


def test_answers_of_a_folded_file_become_surer() -> None:
    known, feeds = told(folded=True)
    assert known.terms == () and known.answers is not None
    known = replace(known, weights=replace(known.weights, rate=0.02, variation=0.0))
    found = invert(known, feeds, Work(64, 32, 40))
    assert found is not None and "answers" in found.words
    assert found.after < 0.9 * found.before


def test_probabilities_are_told_from_scores() -> None:
    x = torch.randn(16, CLASSES)
    scores, sure = answers_of({"y": x}), answers_of({"y": x.softmax(1)})
    assert scores is not None and not scores.probable
    assert sure is not None and sure.probable
    assert torch.allclose(sure.scores(x.softmax(1)).softmax(1), x.softmax(1), atol=1e-6)
    assert answers_of({"map": torch.randn(4, 3, 8, 8), "two": torch.randn(4, 2)}) is None


def test_misfits_vanish_where_statistics_are_met() -> None:
    x = torch.randn(64, 4, 5, 5) * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None] + 1
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    assert float(Stored("x", mean, variance).misfit(x)) < 1e-9
    other = Stored("x", mean + variance.sqrt(), variance)
    assert float(other.misfit(x)) == pytest.approx(1, rel=0.1)
    assert float(Centred("x").misfit(x - mean[:, None, None])) < 1e-9
    assert float(Centred("x").misfit(x)) > 0.1


def test_no_time_gives_nothing() -> None:
    assert moved(seconds=0.0) is None


def test_what_is_ready_is_kept_when_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10_000))
    monkeypatch.setattr("spa.torch.invert.time.monotonic", lambda: float(next(ticks)))
    found = moved(steps=10, seconds=15.0)
    assert found is not None and not found.complete
    assert len(found.inputs) == 32


def test_an_interrupt_keeps_what_is_ready() -> None:
    def counted(total: int | None, unit: str, seconds: float = 0.0) -> Any:
        left = [15]

        def done(advance: int = 1) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        return done

    with pytest.raises(KeyboardInterrupt):
        moved(steps=10, counted=counted)
    found = moved(steps=10, counted=counted, keep=True)
    assert found is not None and not found.complete
    assert len(found.inputs) == 32


def test_a_budget_is_planned_without_a_clock() -> None:
    price = Price(macs=3e8, bytes=8 << 20)
    whole = work_for(price, 512, 40, 1e6)
    assert whole == Work(512, 128, 40)
    less = work_for(price, 512, 40, 100.0)
    assert less is not None
    assert less.rows * less.steps * price.seconds <= 100
    assert work_for(price, 512, 40, 1.0) is None
    fewer = work_for(price, 50, 40, 100.0)
    assert fewer is not None and fewer.rows == fewer.batch < 64
    small = work_for(price, 512, 40, 1e6, memory=1 << 30)
    assert small is not None and small.batch < 64
    assert work_for(price, 512, 40, 1e6, memory=1 << 26) is None


def pruned(events: list[Event] | None = None, **options: Any) -> spa.Result:
    """The net cut by default options."""
    heard = [] if events is None else events
    return spa.prune(
        net(), 0.4, verify="none", samples=64, mean=[0.0], std=[0.25], callback=heard.append,
        **options,
    )  # fmt: skip


def notes(result: spa.Result) -> str:
    """All of a report's notes."""
    return " ".join(result["notes"])


def test_pruning_uses_them_and_says_so(own_cache: Path) -> None:
    events: list[Event] = []
    result = pruned(events)
    assert "held back: misfit of statistics left out" in notes(result)
    assert result.plan is not None and result.plan.recipe["invert"] == "auto"
    began = [e.total for e in events if isinstance(e, Started) and e.stage == "invert"]
    steps = sum(e.advance for e in events if isinstance(e, Step) and e.stage == "invert")
    assert began[-1] == steps == STORED.steps
    again: list[Event] = []
    same = pruned(again)
    assert "from the cache" in notes(same)
    assert not any(isinstance(e, Step) and e.stage == "invert" for e in again)
    assert result.model is not None and same.model is not None
    assert result.model.SerializeToString() == same.model.SerializeToString()
    assert len([*own_cache.glob("inverted-*.npz")]) == 1


def test_a_damaged_cache_is_made_again(own_cache: Path) -> None:
    first = pruned()
    (path,) = own_cache.glob("inverted-*.npz")
    path.write_bytes(path.read_bytes()[:1000])
    second = pruned()
    assert "from the cache" not in notes(second)
    assert first.model is not None and second.model is not None
    assert first.model.SerializeToString() == second.model.SerializeToString()


def test_off_leaves_inputs_as_they_were() -> None:
    result = pruned(invert="off")
    assert "gradients" not in notes(result)
    assert result.plan is not None and "invert" not in result.plan.recipe


def test_inputs_that_fit_no_better_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spa.pipeline.invert.BETTER", 0.0)
    result = pruned()
    assert "are not used; held back" in notes(result)
    assert result.plan is not None and "invert" not in result.plan.recipe
    plain = pruned(invert="off")
    assert result.model is not None and plain.model is not None
    assert result.model.SerializeToString() == plain.model.SerializeToString()


def scored(model: onnx.ModelProto, rows: int, budget: str | float = "auto") -> list[int]:
    """How many rows are scored on, and how many of them were moved."""
    recipe = Recipe(samples=rows, mean=(0.0,), std=(0.25,), invert=budget, verify="none")
    context = Context("prune")
    groups = couple(load(model, recipe, context), recipe, context)
    feeds = settle(groups, recipe, context).feeds
    plain = settle(groups, replace(recipe, invert="off"), context).feeds
    inputs, made = (np.concatenate([feed["x"] for feed in each]) for each in (feeds, plain))
    same = [np.array_equal(a, b) for a, b in zip(inputs, made, strict=False)]
    return [len(inputs), same.count(False)]


def test_few_are_filled_up_with_inputs_as_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spa.torch.workload.RATE", 2e7)  # so that the budget pays for some only
    rows, others = scored(net(), 128, 30.0)
    assert rows == 128 and 32 <= others < 96


def test_probe_writes_what_a_quantiser_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's own example runs on them."""
    monkeypatch.chdir(tmp_path)
    onnx.save(net(), "model.onnx")
    pixels = ["--set", "mean=0", "--set", "std=0.25", "--samples", "64"]
    assert run(["probe", "model.onnx", "-o", "inputs.npz", *pixels, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["moved"] and any("held back" in note for note in made["notes"])
    assert np.load("inputs.npz")["x"].shape == (64, 3, SIDE, SIDE)
    page = (Path(__file__).parents[2] / "docs" / "probes.md").read_text(encoding="utf-8")
    example = next(part for part in page.split("```python\n") if "quantize_static" in part)
    exec(example.split("```")[0], {})
    small = onnx.load("model.int8.onnx")
    assert any(node.op_type == "QuantizeLinear" for node in small.graph.node)
