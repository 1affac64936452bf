"""Which places may be written: never one that is read, never one twice, never what is no file.

And where a user's caches lie: what may be lost, and costs only time.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from spa.errors import UsageError

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def check_place(path: str | os.PathLike[str], what: str, *, force: bool) -> None:
    """Refuse a place that could not, or must not, be written.

    A symbolic link counts as what it points to, although it is itself what would be replaced:
    whoever names /dev/stdout means no file.  Only with `force` a regular file may be replaced.

    Raises:
        UsageError: the folder is missing or closed, or something else is there; calls it `what`.
    """
    place = Path(path)
    kind = _kind(place, what)
    if str(place.absolute().parent) == "/dev" or str(place.absolute()).startswith("/proc/"):
        raise UsageError(f"{what} {place} is a device; only files are replaced")
    if kind is not None and not stat.S_ISREG(kind):
        said = next((words for test, words in KINDS if test(kind)), "no regular file")
        advice = "name a file in it" if stat.S_ISDIR(kind) else "only files are replaced"
        raise UsageError(f"{what} {place} is {said}; {advice}")
    if not force and (kind is not None or place.is_symlink()):
        raise UsageError(f"{what} {place} already exists; replace it with --force or name another")
    folder = place.absolute().parent
    if not folder.is_dir():
        raise UsageError(
            f"the folder of {what} {place} does not exist; create it first, or name another"
        )
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder of {what} {place} may not be written to; name another")


def _kind(place: Path, what: str) -> int | None:
    """The mode of what is at a place, links followed; None if there is nothing."""
    try:
        return place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{what} {place} cannot be looked at ({why}); name another") from error


def check_apart(writes: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse two results at one place, also where only a file system that ignores case sees one.

    Raises:
        UsageError: two are the same.
    """
    seen: set[str] = set()
    several = [Path(path) for path in writes]
    for path in several:
        place = unicodedata.normalize("NFC", os.path.realpath(path)).casefold()
        if place in seen:
            raise UsageError(f"{path} is named for two things; give each its own file")
        seen.add(place)
    for k, path in enumerate(several):
        for other in several[:k]:
            if same_file(path, other):
                raise UsageError(
                    f"{path} and {other} are one file under two names; give each its own"
                )


def clashes(
    reads: Mapping[str, Iterable[str | os.PathLike[str]]],
    writes: Iterable[str | os.PathLike[str]],
) -> None:
    """Refuse to write over what is read (by what it is), by whatever name, hard or symbolic link.

    Raises:
        UsageError: one is both.
    """
    for write in map(Path, writes):
        for what, paths in reads.items():
            for read in map(Path, paths):
                if same_file(write, read):
                    raise UsageError(
                        f"{write} is {what} and is never changed; choose another place"
                    )


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file that is there, or to one place where none is yet."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path leads into a folder or to it."""
    inside, whole = os.path.realpath(path), os.path.realpath(folder)
    return inside == whole or inside.startswith(whole.rstrip(os.sep) + os.sep)


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
