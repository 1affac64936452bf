"""Tunings that are ended early: by Ctrl-C, or by a kill, at a step that is told."""

from __future__ import annotations

import os
import signal

from spa.events import Started, Step
from spa.torch.tuning import tuner

TRIED = 3 * tuner.FEWEST_TRIED
"""Steps before the first that counts, of a run that is short."""


class Interrupts:
    """Presses Ctrl-C at a step of those that are counted with the plural "steps"."""

    def __init__(self, at):
        self.at, self.done, self.counts, self.taken = at, 0, False, 0

    def __call__(self, event):
        if isinstance(event, Started):
            self.counts = event.unit == "steps" and event.total is not None
            self.done = 0
        if isinstance(event, Step) and event.stage == "tune" and self.counts:
            self.done += event.advance
            self.taken += event.advance == 1
            if self.done == self.at:
                self.reached()

    def reached(self):
        os.kill(os.getpid(), signal.SIGINT)


class Killed(BaseException):
    pass


class Kills(Interrupts):
    def reached(self):
        raise Killed
