"""Reports made by hand: one of a success, one of a failure half way, one with hostile names."""

from __future__ import annotations

import copy

from spa.reports.schema import empty_report

PORTS = {
    "inputs": [["x", "float32", ["N", 3, 224, 224]]],
    "outputs": [["logits", "float32", ["N", 1000]]],
}
HOSTILE = "<script>alert('x')</script>|`[bold]*_\x1b[31m\x00&amp;\n\"quoted\""


def success():
    report = empty_report("prune")
    report.update(status="ok", exit_code=0)
    report["input"] = {
        "path": "models/net.onnx",
        "sha256": "a" * 64,
        "bytes": 102_400_000,
        "opset": 17,
        "producer": "pytorch 2.3",
        "params": 25_557_032,
        "macs": 4_089_184_256,
        "channels": 26_560,
        **PORTS,
    }
    report["output"] = {
        "path": "models/net.spa.onnx",
        "sha256": "b" * 64,
        "bytes": 60_416_000,
        "params": 15_100_000,
        "macs": 2_040_000_000,
        "channels": 19_000,
        **PORTS,
    }
    report["reduction"] = {"params": 0.409, "macs": 0.501, "channels": 0.285, "bytes": 0.41}
    report["groups"] = [
        group(0, "stem", 64, 64, frozen="feeds a graph output"),
        group(1, "layer1", 128, 96),
        group(2, "layer2", 256, 256),
    ]
    report["frozen"] = [
        fact("no rule for this operator", "Magic", "/m/Magic", 256),
        fact("no rule for this operator", "Magic", "/m/Magic_1", 256),
        fact("feeds a graph output", "Gemm", "fc", 1000),
    ]
    report["verify"] = {
        "level": "equivalence",
        "passed": True,
        "max_abs_diff": 1.9e-6,
        "equivalence_error": 8.1e-7,
        "drift": {"logits": 0.213, "aux": 0.05},
        "cosine": {"logits": 0.9771, "aux": 0.999},
        "top1_agreement": 0.82,
        "inputs": "leaves",
        "rows": 64,
        "held_back": True,
        "lossy": [{"op": "LayerNormalization", "node": "/ln", "reason": "mean over channels"}],
    }
    report["verdicts"] = {
        "rewrite": {"verdict": "exact", "why": "it computes what the plan says"},
        "quality": {
            "verdict": "risky",
            "why": "logits drifts by 0.213 (NRMSE)",
            "output": "logits",
            "outputs": {"logits": "risky", "aux": "good"},
            "top1_lost": None,
            "top1_lost_error": None,
        },
        "next": "spa prune models/net.onnx --ratio 0.375 --force",
    }
    report["latency"] = {
        "provider": "CPUExecutionProvider",
        "threads": 2,
        "runs": 50,
        "before_ms": 42.1,
        "after_ms": 24.7,
        "speedup": 1.704,
    }
    report["timings"] = {"load": 0.21, "couple": 0.3, "verify": 3.9, "total": 4.5}
    report["peak_rss_bytes"] = 812_000_000
    report["versions"] = {"python": "3.11.2", "onnx": "1.23.2"}
    report["warnings"] = ["MACs are counted at N = 1; say more with --input-shape."]
    report["notes"] = ["inputs x [N,3,224,224], NCHW: dead leaves, in 0..1"]
    report["ops"] = {"before": {"Conv": 53, "Identity": 3}, "after": {"Conv": 53}}
    report["command_line"] = ["spa", "prune", "models/net.onnx", "-r", "0.5", "--ignore", "a b"]
    report["recipe"] = {"ratio": 0.5, "ignore": ["a b"], "round_to": "auto", "max_drift": None}
    report["files"] = [
        {"kind": "model", "path": "models/net.spa.onnx", "bytes": 60_416_000, "sha256": "b" * 64},
        {"kind": "data", "path": "models/net.spa.data", "bytes": 60_000_000, "sha256": "c" * 64},
    ]
    report["gates"] = [{"name": "max_drift", "limit": 0.3, "value": 0.213, "passed": True}]
    return copy.deepcopy(report)


def failure():
    report = empty_report("prune")
    report.update(exit_code=3, error="net.onnx does not exist; check the path.")
    return report


def hostile():
    """Every text that comes out of a model or from a person is an attack."""
    report = success()
    report["input"].update(path=f"dir/{HOSTILE}.onnx", producer=HOSTILE)
    report["input"]["inputs"] = [[HOSTILE, "float32", [HOSTILE, 3]]]
    report["output"]["path"] = HOSTILE
    report["groups"] = [group(0, HOSTILE, 8, 8, frozen=HOSTILE), group(1, HOSTILE, 8, 4)]
    report["frozen"] = [fact(HOSTILE, HOSTILE, HOSTILE, 8)]
    report["verify"].update(drift={HOSTILE: 0.1}, cosine={HOSTILE: 0.9})
    report["verify"]["lossy"] = [{"op": HOSTILE, "node": HOSTILE, "reason": HOSTILE}]
    judged = report["verdicts"]
    judged["quality"].update(why=HOSTILE, output=HOSTILE, outputs={HOSTILE: "risky"})
    judged["rewrite"]["why"] = judged["next"] = HOSTILE
    report["ops"] = {"before": {HOSTILE: 1}, "after": {"Conv": 2}}
    report["gates"][0]["name"] = HOSTILE
    report["warnings"] = [HOSTILE]
    report["notes"] = [HOSTILE]
    report["branches"] = report["bypassed"] = [branch(HOSTILE, HOSTILE)]
    report["versions"] = {HOSTILE: HOSTILE}
    report["latency"]["provider"] = HOSTILE
    report["command_line"], report["recipe"] = [HOSTILE], {HOSTILE: [HOSTILE], "x": {HOSTILE: 1}}
    report["files"] = [{"kind": "data", "path": HOSTILE, "bytes": 1, "sha256": HOSTILE}]
    report["timings"] = {HOSTILE: 1.0, "total": 1.0}
    return report


def group(number, name, before, after, frozen=None):
    return {
        "id": number,
        "name": name,
        "channels_before": before,
        "channels_after": after,
        "members": [{"tensor": f"{name}.weight", "axis": 0}, {"tensor": f"{name}.bias", "axis": 0}],
        "frozen": frozen is not None,
        "reason": frozen,
    }


def branch(name, node, op="Add", nodes=5, params=1_200, macs=408_918_425, reason=None):
    costs = {"nodes": nodes, "params": params, "macs": macs, "reason": reason}
    costs["kind"] = "residual"
    return {"name": name, "op": op, "node": node, "shortcut": f"{name}_before", **costs}


def fact(reason, op, node, channels):
    return {"reason": reason, "op": op, "node": node, "channels": channels}
