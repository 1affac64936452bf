"""Where inputs come from: made for a model that nobody has data for, or read from files.

`probe_for` looks at what the model does with each input (pictures, tokens, signals, plain numbers)
and returns a `Probe`, which hands out as many inputs as one likes, always the same for one seed.
"""

from __future__ import annotations

from spa.probes.choose import check_given, is_pictured, probe_for
from spa.probes.files import Data
from spa.probes.held import Calib, held, labels_held
from spa.probes.probe import Probe, inputs
from spa.probes.vary import varied

__all__ = [
    "Calib",
    "Data",
    "Probe",
    "check_given",
    "held",
    "inputs",
    "is_pictured",
    "labels_held",
    "probe_for",
    "varied",
]
