"""What a bug report needs: versions, providers, limits, problems."""

from __future__ import annotations

import os
import platform
from typing import Any

from spa._version import __version__
from spa.errors import SpaError
from spa.pipeline.machine import versions


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
            "uninstall both, then install one with onnx-spa[cpu] or onnx-spa[gpu]"
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
