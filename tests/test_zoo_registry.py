"""The list of real models: what it says, how they are fetched, and that the zoo reads it."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
import shutil
import sys
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from spa.config import read_toml
from spa.errors import ReadError
from spa.zoo.sources import find
from tests.zoo.samples import tiny

ROOT = Path(__file__).parents[1]
ZOO = ROOT / "models" / "zoo.toml"
MODELS = read_toml(ZOO.read_text(encoding="utf-8"), "zoo.toml")["model"]


def _script():
    spec = importlib.util.spec_from_file_location(
        "fetch_models", ROOT / "scripts/release/fetch_models.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fetch_models = _script()
MODEL = tiny().SerializeToString()


# The list


def test_the_list_has_at_least_25_models_and_none_twice():
    assert len(MODELS) >= 25
    for key in ("name", "sha256"):
        assert len({model[key] for model in MODELS}) == len(MODELS), key
    assert {model["registry"] for model in MODELS} == {"pypi", "npm"}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_every_entry_says_where_it_is_from_and_what_it_is(model):
    words = {"name", "about", "licence", "registry", "package", "version", "file", "member"}
    assert set(model) == words | {"sha256"} and all(model.values())
    assert re.fullmatch(r"[0-9a-f]{64}", model["sha256"])
    assert model["member"].endswith(".onnx")
    assert model["file"].endswith(".whl" if model["registry"] == "pypi" else ".tgz")
    assert f"-{model['version']}" in model["file"]


def test_the_script_reads_the_list_as_the_zoo_does():
    models, folder = fetch_models.read(ZOO)
    assert [model.name for model in models] == [model["name"] for model in MODELS]
    assert folder.resolve() == ROOT / "build" / "models"


# Fetching, from registries made here


def wheel(folder, members, name="trained_nets"):
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for member, data in members.items():
            file.writestr(member, data)
        about = f"{name}-1.0.dist-info"
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
    return path


def listed(folder, *tables, fetch=True):
    lines = ['folder = "models"', 'fetch = "python get.py"' if fetch else ""]
    for table in tables:
        lines += ["[[model]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path = folder / "zoo.toml"
    path.write_text("\n".join(lines))
    return path


def entry(name="deep/net", member="nets/net.onnx", sha256=None, **other):
    data = {
        "name": name,
        "registry": "pypi",
        "package": "trained-nets",
        "version": "1.0",
        "file": "trained_nets-1.0-py3-none-any.whl",
        "member": member,
        "sha256": sha256 or hashlib.sha256(MODEL).hexdigest(),
    }
    return {**data, **other}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of wheels that pip takes for its index, and an empty cache."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SPA_CACHE", str(tmp_path / "cache"))
    return folder


def run(zoo, *names):
    return fetch_models.main([*names, "--zoo", str(zoo), "--timeout", "60"])


def test_pip_fetches_a_model_once_and_the_cache_serves_it_again(shelf, tmp_path, capsys):
    wheel(shelf, {"nets/net.onnx": MODEL, "nets/__init__.py": "raise SystemExit('code was run')"})
    zoo, target = listed(tmp_path, entry()), tmp_path / "models" / "deep" / "net.onnx"
    assert run(zoo) == 0 and target.read_bytes() == MODEL
    assert "fetched from trained-nets==1.0 (pypi)" in capsys.readouterr().out
    assert run(zoo) == 0 and "there" in capsys.readouterr().out
    target.write_bytes(b"changed")
    shutil.rmtree(shelf)
    assert run(zoo) == 0 and target.read_bytes() == MODEL
    assert "from the cache" in capsys.readouterr().out


def test_what_is_not_what_the_list_says_gets_no_place(shelf, tmp_path, capsys):
    wheel(shelf, {"nets/net.onnx": MODEL})
    wrong = entry("wrong", sha256="0" * 64)
    nowhere = entry("nowhere", "nets/other.onnx")
    unknown = entry("unknown", package="untrained-nets", sha256="1" * 64)
    assert run(listed(tmp_path, wrong, nowhere, unknown, entry())) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    said = dict(line.split(None, 1) for line in lines)
    assert "and the list says" in said["wrong"] and "has no file nets/other" in said["nowhere"]
    assert "pip could not fetch untrained-nets==1.0" in said["unknown"]
    assert last.startswith("1 of 4 models in ")
    found = [p for folder in ("models", "cache") for p in (tmp_path / folder).rglob("*")]
    assert sorted(p.name for p in found if p.is_file()) == sorted(
        ["net.onnx", f"{hashlib.sha256(MODEL).hexdigest()}.onnx"]
    )


def test_a_source_archive_is_not_built(shelf, tmp_path, capsys):
    """To read it, pip would run it."""
    witness = tmp_path / "was run"
    code = f"open({str(witness)!r}, 'w').close()".encode()
    with tarfile.open(shelf / "trained_nets-1.0.tar.gz", "w:gz") as file:
        for name, data in {"setup.py": code, "PKG-INFO": b"Name: trained-nets\n"}.items():
            info = tarfile.TarInfo(f"trained_nets-1.0/{name}")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    assert run(listed(tmp_path, entry())) == 1
    assert "pip could not fetch" in capsys.readouterr().out and not witness.exists()


@pytest.mark.parametrize("name", ["../net", "/net", "a/../../net", "C:net", "a\\b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name, shelf, tmp_path, capsys):
    assert run(listed(tmp_path, entry(name))) == 2
    assert "leads out of the folder" in capsys.readouterr().err


def test_a_member_is_only_ever_read(shelf, tmp_path):
    """Wherever an archive says that it belongs, it lands where the list says."""
    wheel(shelf, {"../../net.onnx": MODEL})
    assert run(listed(tmp_path, entry(member="../../net.onnx"))) == 0
    assert [p.name for p in tmp_path.rglob("net.onnx")] == ["net.onnx"]


def test_names_choose_and_unknown_ones_are_refused(shelf, tmp_path, capsys):
    wheel(shelf, {"nets/net.onnx": MODEL})
    zoo = listed(tmp_path, entry(), entry("other", "nets/other.onnx"))
    assert run(zoo, "deep/*") == 0
    assert run(zoo, "shallow/*") == 2 and "no model shallow/*" in capsys.readouterr().err


# npm: a registry of one package, spoken to by npm itself and without it


@pytest.fixture
def registry(tmp_path, monkeypatch, shelf):
    folder = tmp_path / "registry"
    tarball = folder / "@nets" / "trained" / "-" / "trained-1.0.0.tgz"
    tarball.parent.mkdir(parents=True)
    files = {"package/net.onnx": MODEL, "package/package.json": b'{"name":"@nets/trained"}'}
    with tarfile.open(tarball, "w:gz") as file:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("package/link.onnx")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        file.addfile(link)

    class Registry(SimpleHTTPRequestHandler):
        def do_GET(self):
            if unquote(self.path) != "/@nets/trained":
                return super().do_GET()
            dist = {"tarball": f"{address}/@nets/trained/-/trained-1.0.0.tgz"}
            one = {"name": "@nets/trained", "version": "1.0.0", "dist": dist}
            about = {"name": "@nets/trained", "dist-tags": {}, "versions": {"1.0.0": one}}
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(about).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Registry, directory=str(folder)))
    address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", address)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield address
    server.shutdown()
    server.server_close()


NPM = {
    "registry": "npm",
    "package": "@nets/trained",
    "version": "1.0.0",
    "file": "nets-trained-1.0.0.tgz",
}


@pytest.mark.parametrize("tool", ["npm", None])
def test_a_tarball_of_npm_with_and_without_npm(tool, registry, tmp_path, monkeypatch, capsys):
    if tool and not shutil.which(tool):
        pytest.skip("npm is not installed")
    if not tool:
        monkeypatch.setattr(fetch_models.shutil, "which", lambda _: None)
    good = entry("net", "package/net.onnx", **NPM)
    link = entry("link", "package/link.onnx", "2" * 64, **NPM)
    assert run(listed(tmp_path, good, link)) == 1
    assert (tmp_path / "models" / "net.onnx").read_bytes() == MODEL
    said = capsys.readouterr().out
    assert "fetched from @nets/trained@1.0.0 (npm)" in said
    assert "has no file package/link.onnx" in said and not (tmp_path / "models/link.onnx").exists()


# The zoo


def test_the_zoo_names_the_command_that_fetches_what_is_missing(shelf, tmp_path):
    wheel(shelf, {"nets/net.onnx": MODEL})
    zoo = listed(tmp_path, entry())
    with pytest.raises(ReadError, match=r"1 of 1 models .*deep/net\.onnx.*with: python get\.py"):
        find([str(zoo)], tmp_path / "dest")
    assert run(zoo) == 0
    (found,) = find([str(zoo)], tmp_path / "dest")
    assert found.name == "deep/net.onnx" and found.sha256 == hashlib.sha256(MODEL).hexdigest()


def test_a_list_without_a_command_says_which_file_is_missing(tmp_path):
    with pytest.raises(ReadError, match=r"net\.onnx does not exist"):
        find([str(listed(tmp_path, entry(), fetch=False))], tmp_path / "dest")
