"""Write one network as ONNX: `python -m zoo.export SOURCE NAME SIZE EXPORTER FILE.onnx`."""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any


def main(source: str, name: str, size: int, exporter: str, path: Path) -> dict[str, Any]:
    """Export; what the file holds and how long it took."""
    from zoo import check

    began = time.perf_counter()
    words = importlib.import_module(f"zoo.source_{source}").export(name, size, exporter, path)
    seconds = time.perf_counter() - began
    return {**check.look(path), "seconds": seconds, "bytes": path.stat().st_size, "by": words}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    source, name, size, exporter, path = sys.argv[1:]
    try:
        found = main(source, name, int(size), exporter, Path(path))
    except Exception as error:
        lines = f"{type(error).__name__}: {error}".strip().splitlines()
        found = {"error": lines[0][:240]}
    print("\n" + json.dumps(found))
