"""Where a user's caches lie: what may be lost, and costs only time."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "SPA_CACHE"
OFF = frozenset(("", "0", "off", "none"))


def cache_folder() -> Path | None:
    """The folder of our caches, which need not exist yet; None where nothing is to be kept.

    `SPA_CACHE` names it, or is `off`; else it is what the system provides for caches.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        return None if named.strip().lower() in OFF else Path(named).expanduser()
    import platformdirs

    found = platformdirs.user_cache_path("spa", appauthor=False)
    return found if found.is_absolute() else None  # an account without a home
