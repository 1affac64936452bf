from __future__ import annotations

import math

from spa.registry import INPUTS
from spa.reports import facts, moved, verdicts
from tests.reports.samples import failure, success


def rows(report):
    return {row.label: row for row in facts.comparison(report).rows}


def test_the_table_has_every_row_the_contract_names():
    found = rows(success())
    assert list(found) == [
        "input x",
        "output logits",
        "nodes",
        "parameters",
        "MACs",
        "channels",
        "file size",
        "latency",
        "drift (NRMSE)",
    ]
    assert found["MACs"].before == "4.09 G" and found["MACs"].change == "-50.1%"
    assert (found["nodes"].before, found["nodes"].change) == ("56", "-3")
    assert found["latency"].change == "1.70x faster" and found["latency"].change.kind == "good"
    assert found["drift (NRMSE)"].after == "0.213"  # the worst output


def test_ops_that_did_not_change_are_not_rows():
    assert "Conv" not in rows(success())
    report = success()
    report["ops"]["after"] = dict(report["ops"]["before"])
    assert rows(report)["nodes"].change == "same"


def test_an_op_without_a_counterpart_is_not_lost():
    report = success()
    report["ops"]["after"]["Reshape"] = 2
    assert (rows(report)["Reshape"].before, rows(report)["Reshape"].change) == ("0", "+2")


def test_a_changed_interface_stands_out():
    report = success()
    report["output"]["outputs"] = [["logits", "float32", ["N", 999]]]
    row = rows(report)["output logits"]
    assert (row.change, row.change.kind) == ("changed", "bad")


def test_many_ports_are_counted_but_a_changed_one_is_always_shown():
    report = success()
    ports = [[f"past_{i}", "float16", [1, 8]] for i in range(40)]
    report["input"]["inputs"] = ports
    report["output"]["inputs"] = [*ports[:-1], ["past_39", "float16", [1, 7]]]
    found = rows(report)
    assert found["input past_39"].change == "changed"
    assert "… 31 inputs more" in found and "input past_20" not in found


def test_growing_and_slower_are_bad():
    report = success()
    report["reduction"]["bytes"] = -0.1
    report["latency"]["speedup"] = 0.5
    found = rows(report)
    grown, slower = found["file size"].change, found["latency"].change
    assert (grown, grown.kind, slower, slower.kind) == ("+10.0%", "bad", "2.00x slower", "bad")
    report["latency"].update(speedup=0.99, low=0.96, high=1.01)
    told = rows(report)["latency"].change
    assert (told, told.kind) == ("0.96x to 1.01x", "plain")


def test_without_told_reductions_the_shares_are_computed():
    report = success()
    report["reduction"] = None
    assert math.isclose(facts.removed_share(report, "bytes"), 0.41)


def test_a_report_that_stopped_early_has_no_rows_and_no_headlines():
    assert not facts.comparison(failure())
    assert facts.headlines(failure()) == []
    assert facts.verified(failure()) == "" and verdicts.sentence(failure(), "rewrite") == ""


def test_groups_by_their_fate():
    groups = facts.groups(success())
    assert groups.sentence == "1 group pruned, 1 left whole, 1 frozen"
    assert groups.pruned[0]["name"] == "layer1"


def test_reasons_are_summed_and_sorted_by_channels():
    first, second = facts.reasons(success())
    assert (first.reason, first.channels, first.ops) == ("feeds a graph output", 1000, "Gemm")
    assert (second.channels, second.ops, second.places) == (512, "Magic ×2", 2)
    assert second.nodes == ("/m/Magic", "/m/Magic_1")


def test_the_verdict_says_what_was_measured_on():
    report = success()
    assert facts.verified(report).endswith(", top-1 agreement 82.0%")
    words = verdicts.sentence(report, "quality")
    assert words == "risky: logits drifts by 0.213 (NRMSE), on 64 rows of dead leaves"
    report["verify"].update(inputs="calib", rows=1, held_back=False)
    assert verdicts.measured_on(report) == "1 rows of --calib that were fitted on"
    report["verify"].update(inputs=None, rows=None, held_back=None)
    assert verdicts.measured_on(report) == ""
    assert verdicts.sentence(report, "quality") == "risky: logits drifts by 0.213 (NRMSE)"
    assert verdicts.measured_on(failure()) == ""


def test_every_kind_of_inputs_has_words():
    assert verdicts.INPUTS.keys() == {*INPUTS.choices(), "calib", "random"} - {"auto"}


def test_not_a_number_is_the_worst_drift():
    report = success()
    report["verify"]["drift"]["aux"] = float("nan")
    assert moved.worst_drift(report)[0] == "aux"


def test_a_verdict_in_a_word_has_a_tone():
    report = success()
    assert [verdicts.word(report, w).kind for w in verdicts.LABELS] == ["good", "warning"]
    report["verdicts"]["rewrite"]["verdict"] = "failed"
    report["verdicts"]["quality"]["verdict"] = "unknown"
    assert [verdicts.word(report, w).kind for w in verdicts.LABELS] == ["bad", "dim"]
    assert verdicts.word(failure(), "quality") is None
