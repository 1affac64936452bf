"""What a timing depends on beside the operator: hardware, threads, provider, onnxruntime."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass, fields
from pathlib import Path

from spa import devices
from spa.devices import CPU, Device

CPUINFO = Path("/proc/cpuinfo")
GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Machine:
    """Timings of one machine do not hold on another.

    `processors` are those that this process may use; `threads` is 0 where onnxruntime chooses.
    """

    cpu: str
    processors: int
    gpu: str
    provider: str
    threads: int
    onnxruntime: str

    @property
    def key(self) -> str:
        """A name for files that are about this machine alone."""
        text = "\n".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def machine(device: Device = "auto", threads: int = 0) -> Machine:
    """The machine at hand.

    Raises:
        ReadError: onnxruntime is missing, or cannot use the device.
    """
    provider = devices.providers(device)[0]
    return Machine(
        cpu=_cpu(),
        processors=_processors(),
        gpu="" if provider == CPU else _gpu(),
        provider=provider,
        threads=threads,
        onnxruntime=str(devices.library().__version__),
    )


def _cpu() -> str:
    names = [line for line in _lines(CPUINFO) if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.processor()


def _gpu() -> str:
    if not GPUS.is_dir():
        return "unknown"
    told = [line for card in sorted(GPUS.iterdir()) for line in _lines(card / "information")]
    models = [line.partition(":")[2].strip() for line in told if line.startswith("Model")]
    return ", ".join(models) or "unknown"


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
