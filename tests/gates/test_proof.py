"""A gate on the proof: a cut of which something was not compared does not pass it."""

from __future__ import annotations

import pytest

import spa
from spa.errors import UsageError, VerifyError
from spa.reports.facts import proof_words
from tests.validate.test_borders import drawn, tied
from tests.validate.test_borders import largest as picked

OPTIONS = {"scorer": "l2", "round_to": 1, "max_layer_ratio": 0.9}


def test_random_numbers_are_said_not_to_be_proved():
    report = spa.prune(drawn(), 0.2, **OPTIONS).report
    assert report["verify"]["proof"]["status"] == "partial"
    assert report["verify"]["passed"] and report["verify"]["proof"]["compared"] > 0
    assert any("not proved in full: RandomNormalLike" in said for said in report["warnings"])
    rewrite = report["verdicts"]["rewrite"]
    assert rewrite["verdict"] == "partial" and rewrite["why"].startswith("RandomNormalLike")


def test_the_gate_refuses_what_is_proved_in_part(tmp_path):
    with pytest.raises(VerifyError, match=r"require_proof=True failed: proved in part") as caught:
        spa.prune(drawn(), 0.2, output=tmp_path / "x.onnx", require_proof=True, **OPTIONS)
    assert not (tmp_path / "x.onnx").exists()
    (gate,) = caught.value.report["gates"]
    assert (gate["name"], gate["value"], gate["passed"]) == ("require_proof", 0.0, False)


def test_the_gate_passes_what_is_proved():
    report = spa.prune(tied(picked), 0.2, require_proof=True, **OPTIONS).report
    (gate,) = report["gates"]
    assert gate["passed"] and report["verify"]["proof"]["status"] == "complete"
    sizes = report["verify"]["proof"]["sizes"]
    assert [each["N"] for each in sizes] == [2, 3, 1]


def test_the_gate_needs_a_proof():
    with pytest.raises(UsageError, match="require_proof=True must run the models"):
        spa.prune(drawn(), 0.2, require_proof=True, verify="none", **OPTIONS)
    with pytest.raises(VerifyError, match="no proof was asked for"):
        spa.prune(drawn(), 0.2, require_proof=True, verify="run", **OPTIONS)


def test_words():
    proof = {"status": "none", "compared": 0, "limits": [], "sizes": []}
    assert "no numbers" in proof_words(proof)
    assert proof_words({**proof, "status": "complete"}) == "proved in full"
    said = proof_words({**proof, "status": "partial", "limits": ["x" * 5000, "y"]})
    assert len(said) < 300 and "1 more" in said
