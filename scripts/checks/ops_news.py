"""Prints what operators onnx and onnxruntime have that `spa ops` does not list: `ops_news.py`.

They have no rule, so what touches them stays whole; this is where to read which ones to look at.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import onnxruntime
from onnx import defs
from onnxruntime.capi import onnxruntime_pybind11_state as state

sys.path.insert(0, str(Path(__file__).parents[2]))

from spa import rules
from spa.rules.standard import DOMAINS, UNRULED

CONTRIB = "com.microsoft"


def unlisted() -> list[str]:
    """Names with their domain, sorted."""
    listed = {(e["domain"], e["op"]): e["note"] for e in rules.catalogue()}
    standard = [s for s in defs.get_all_schemas() if s.domain in DOMAINS]
    contrib = [s for s in state.get_all_operator_schema() if s.domain == CONTRIB]
    known = {(s.domain, s.name) for s in (*standard, *contrib) if not s.deprecated}
    new = {key for key in known if listed.get(key, UNRULED) == UNRULED}
    return sorted(f"{domain}.{op}" if domain else op for domain, op in new)


def main() -> None:
    """Print them."""
    versions = f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}"
    print(f"operators of {versions} that spa ops does not list: {', '.join(unlisted()) or 'none'}")


if __name__ == "__main__":
    main()
