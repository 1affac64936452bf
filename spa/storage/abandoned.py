"""What a process leaves behind that ends in the middle of its work: nothing, where it can."""

from __future__ import annotations

import shutil
from contextlib import suppress

from spa.storage.atomic import DRAFTS
from spa.storage.locks import PATIENCE_SECONDS, REPLACING
from spa.storage.scratch import FOLDERS


def abandon() -> None:
    """Remove temporary files and folders of this process, which must end right after.

    Files that are being replaced are waited for; from then on none is.
    """
    REPLACING.acquire(timeout=PATIENCE_SECONDS)
    for path in list(DRAFTS):
        with suppress(OSError):  # where nothing that is open can be removed, the next run does
            path.unlink()
    for folder in list(FOLDERS):
        shutil.rmtree(folder, ignore_errors=True)
