"""Latency as a budget: what operators take at which widths, and choices that save time."""

from spa.latency.machine import Machine, machine
from spa.latency.stopwatch import Whole, clock_for, stopwatch
from spa.latency.store import Store
from spa.latency.table import Table
from spa.latency.target import Reached, facts, milder, out_of_reach, reach

__all__ = [
    "Machine",
    "Reached",
    "Store",
    "Table",
    "Whole",
    "clock_for",
    "facts",
    "machine",
    "milder",
    "out_of_reach",
    "reach",
    "stopwatch",
]
