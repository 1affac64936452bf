"""What stands on the screen, as plain text of a given width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from spa.reports import bench, console, doctor, ops
from tests.reports.samples import branch, failure, hostile, success


def shown(renderable, width=100):
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(renderable)
    return stream.getvalue()


def test_the_summary_shows_the_table_and_what_explains_it():
    text = shown(console.summary(success()))
    words = [" ".join(line.split()) for line in text.splitlines()]
    assert words[0] == "Original Pruned Change"
    assert "MACs 4.09 G 2.04 G -50.1%" in words
    assert "latency 42.1 ms 24.7 ms 1.70x faster" in words
    assert "Groups 1 group pruned, 1 left whole, 1 frozen" in words
    assert "Frozen 1,000 channels: feeds a graph output (Gemm; fc)" in words
    assert "Gate max-drift passed: measured 0.213, the limit is 0.3" in words
    assert "Warning MACs are counted at N = 1; say more with --input-shape." in words
    assert "Note inputs x [N,3,224,224], NCHW: dead leaves, in 0..1" in words
    assert "Rewrite exact: it computes what the plan says" in words
    assert "Quality risky: logits drifts by 0.213 (NRMSE), on 64 rows of dead leaves" in words
    assert "Next spa prune models/net.onnx --ratio 0.375 --force" in words
    assert "Files models/net.spa.onnx" in words and "models/net.spa.data" in words


def test_the_summary_names_only_the_main_reasons():
    report = success()
    report["frozen"] = [
        {"reason": f"reason {i}", "op": "X", "node": "n", "channels": i} for i in range(20)
    ]
    text = shown(console.summary(report))
    assert "reason 19" in text and "reason 3 " not in text and "15 reasons more" in text


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("report", [success(), failure(), hostile()])
def test_every_report_fits_every_width(report, width):
    for screen in (console.summary, console.inspected, console.verified):
        text = shown(screen(report), width)
        assert all(len(line) <= width for line in text.splitlines())
        assert "\x1b" not in text and "\x00" not in text


def test_brackets_in_names_are_not_markup():
    report = success()
    report["warnings"] = ["layer [red]x[/red] is odd"]
    assert "layer [red]x[/red] is odd" in shown(console.summary(report))


def test_inspect_lists_groups_and_reasons():
    text = shown(console.inspected(success()))
    assert "2 groups can be cut, 1 frozen" in text
    assert "layer1.weight +1" in text and "frozen: feeds a graph output" in text
    assert "25.56 M parameters" in text


def test_inspect_shows_costs_where_they_are_known():
    report = success()
    report["groups"][1]["macs"] = 12_000_000
    text = shown(console.inspected(report))
    assert "Parameters" not in text and "MACs" in text.splitlines()[2] and "12.00 M" in text


def test_inspect_of_a_model_without_groups():
    report = success()
    report["groups"] = []
    assert "none" in shown(console.inspected(report))


def test_inspect_filters():
    report = success()
    free = console.select(report, groups=True, frozen=False)
    assert [g["name"] for g in free["groups"]] == ["layer1", "layer2"] and free["frozen"] == []
    stuck = console.select(report, groups=False, frozen=True)
    assert [g["name"] for g in stuck["groups"]] == ["stem"] and len(stuck["frozen"]) == 3
    assert console.select(report, groups=True, frozen=True) == report
    assert len(report["groups"]) == 3  # the caller's report is left alone


def test_inspect_lists_branches():
    report = success()
    assert "Branches" not in shown(console.inspected(report))
    report["branches"] = [branch("add_1", "/b/Add")]
    text = shown(console.inspected(report))
    assert "1 can be bypassed" in text and "Add /b/Add" in text and "10.0%" in text
    assert console.select(report, branches=True)["groups"] == []
    assert len(console.select(report, branches=True)["branches"]) == 1
    assert "branches" not in console.select(report, frozen=True)
    assert console.select(report) == report
    report["branches"].append(branch("add_2", "/c/Add", reason="kept by --ignore"))
    text = shown(console.inspected(report))
    assert "1 can be bypassed, 1 kept" in text and "kept by --ignore" in text


def test_a_summary_says_what_was_bypassed():
    report = success()
    report["bypassed"] = [branch(f"add_{k}", "/b/Add") for k in range(8)]
    text = shown(console.summary(report))
    assert "8 branches: add_0, add_1" in text and "…" in text and "add_7" not in text


def test_verify_lists_every_output_and_what_is_lossy():
    text = shown(console.verified(success()))
    assert "aux" in text and "0.999" in text
    assert "LayerNormalization /ln: mean over channels" in text


def test_bench_compares_with_the_first_model():
    text = shown(
        bench.screen(
            {
                "provider": "CPUExecutionProvider",
                "threads": None,
                "runs": 50,
                "warmup": 5,
                "models": [
                    {"path": "a.onnx", "median_ms": 40.0, "bytes": 1000},
                    {"path": "b.onnx", "median_ms": 20.0, "p90_ms": 22.0},
                    {"path": "c.onnx", "median_ms": None, "error": "does not load"},
                ],
            }
        )
    )
    assert "2.00x faster" in text and "c.onnx: does not load" in text
    assert "default threads, 50 runs after at least 5 to warm up" in text


def test_ops_says_what_its_words_mean():
    text = shown(
        ops.screen(
            [
                {"domain": "", "op": "Conv", "status": "ruled", "note": "[g, o]"},
                {"domain": "com.microsoft", "op": "Gelu", "status": "lossy", "note": ""},
            ]
        )
    )
    assert "ai.onnx" in text and "[g, o]" in text
    assert "1 pruned through, exactly" in text and "0 left alone on purpose" in text


def test_doctor_shows_sections_and_problems():
    text = shown(
        doctor.screen(
            {
                "spa": "0.1.0",
                "providers": ["CPUExecutionProvider", "CUDAExecutionProvider"],
                "versions": {"onnx": "1.23", "onnxruntime": None},
                "cuda": True,
                "problems": ["onnxruntime is missing; pip install 'onnx-spa[cpu]'."],
            }
        )
    )
    assert "CPUExecutionProvider, CUDAExecutionProvider" in text
    assert "versions" in text and "–" in text and "yes" in text
    assert "Problem   onnxruntime is missing" in text
    assert "Problems  none" in shown(doctor.screen({"spa": "0.1.0", "problems": []}))
