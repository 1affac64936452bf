"""Files: how they are replaced at once, which may be replaced, and what killed runs left behind.

A leaf: everything that writes goes through here, and nothing here knows what a model is.
"""

from __future__ import annotations

from spa.storage.atomic import Draft, drafted, move, refused, replaced
from spa.storage.locks import alone, lock
from spa.storage.places import cache_folder, check_apart, check_place, clashes, lies_in, same_file
from spa.storage.scratch import Scratch, abandon, scratch
from spa.storage.stale import clean, temporary_folder

__all__ = [
    "Draft",
    "Scratch",
    "abandon",
    "alone",
    "cache_folder",
    "check_apart",
    "check_place",
    "clashes",
    "clean",
    "drafted",
    "lies_in",
    "lock",
    "move",
    "refused",
    "replaced",
    "same_file",
    "scratch",
    "temporary_folder",
]
