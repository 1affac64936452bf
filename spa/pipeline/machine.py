"""The machine and the libraries that a run has had, and what is wrong with them."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from typing import Any

from spa._version import __version__
from spa.errors import SpaError, install

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


def doctor() -> dict[str, Any]:
    """Facts about this installation; `problems` lists what will not work, with the remedy."""
    found = versions()
    problems: list[str] = []
    providers: list[str] = []
    try:
        from spa import devices

        providers = devices.providers()
        if devices.idle_cuda():
            problems.append(f"{devices.idle_cuda()} or go on on the CPU")
    except SpaError as error:
        problems.append(str(error))
    if "onnxruntime" in found and "onnxruntime-gpu" in found:
        problems.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; "
            f"uninstall both, then {install('cpu', 'gpu')}"
        )
    opset = None
    try:
        from onnx import defs

        opset = defs.onnx_opset_version()
    except ImportError as error:
        problems.append(f"onnx cannot be imported ({error}); reinstall onnx-spa")
    return {
        "spa": __version__,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "providers": providers,
        "opsets": f"7 to {opset}",
        "versions": found,
        "problems": problems,
    }
