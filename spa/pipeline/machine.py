"""The machine and the libraries that a run has had."""

from __future__ import annotations

import sys
from functools import cache

PACKAGES = (
    "onnx",
    "numpy",
    "scipy",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx-graphsurgeon",
    "click",
    "jinja2",
    "ml-dtypes",
    "msgspec",
    "platformdirs",
    "rich",
    "threadpoolctl",
)


def peak_memory() -> int | None:
    """Largest resident size of this process so far, bytes (None where the system does not tell)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


@cache
def _installed() -> dict[str, str]:
    import platform
    from importlib import metadata

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def versions() -> dict[str, str]:
    """Versions of what took part."""
    return dict(_installed())
