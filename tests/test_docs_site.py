"""The documents as a site: all pages are in it, links lead to headings, the reference is true."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import spa.torch
from tests.test_docs import DOCUMENTS, ROOT, blocks, text_of

DOCS = ROOT / "docs"
PICTURES = sorted((DOCS / "pictures").glob("*.svg"))


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


reference = script("reference")


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_reference_is_what_the_code_says(name):
    written = text_of(DOCS / "reference" / f"{name}.md")
    assert written == reference.page(name), "run: python scripts/docs/reference.py"


def test_signatures_of_the_reference_are_python_and_none_is_left_out():
    """Also those of what needs PyTorch, on a machine without it."""
    text = text_of(DOCS / "reference" / "python.md")
    said = re.findall(r"^```python\n(spa\.[^`]*?) -> ([^`]*?)\n```", text, re.DOTALL | re.MULTILINE)
    names = [call.partition("(")[0] for call, _ in said]
    for (call, given), name in zip(said, names, strict=True):
        ast.parse(f"def {call.replace(name, name.replace('.', '_'), 1)} -> {given}: ...")
    made = {f"spa.{name}" for name in spa.__all__ if inspect.isfunction(getattr(spa, name))}
    assert made | {"spa.torch.load", "spa.torch.save", "spa.torch.cut"} <= set(names)
    for name in spa.torch.__all__:
        assert f"### spa.torch.{name}\n" in text


def test_every_page_is_in_the_navigation():
    yaml = pytest.importorskip("yaml")
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def pages(entries):
        for entry in entries:
            for value in entry.values():
                yield from pages(value) if isinstance(value, list) else [value]

    named = list(pages(site["nav"]))
    assert len(named) == len(set(named))
    assert set(named) == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


def anchors(path):
    """What headings of a page are called in links, as MkDocs and GitHub have it."""
    text = re.sub(r"^```.*?^```", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ +(.+)$", text, re.MULTILINE):
        yield re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def links(path):
    """File and anchor of every link to something of ours."""
    text = re.sub(r"^```.*?^```", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?://|mailto:", target):
            file, _, anchor = target.partition("#")
            yield (path.parent / file if file else path), anchor


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_to_headings(path):
    for target, anchor in links(path):
        assert target.exists(), f"{path.name} links to {target}"
        if anchor:
            assert anchor in list(anchors(target)), f"{path.name}: no #{anchor} in {target.name}"


@pytest.mark.parametrize(
    "path",
    [p for p in DOCUMENTS if DOCS in p.parents],
    ids=lambda p: p.relative_to(DOCS).as_posix(),
)
def test_pages_of_the_site_link_within_it(path):
    for target, _ in links(path):
        assert DOCS in [target.resolve(), *target.resolve().parents], f"{path.name}: {target}"


def test_there_are_links_with_anchors():
    assert sum(bool(anchor) for path in DOCUMENTS for _, anchor in links(path)) > 5


# Pictures


def test_every_picture_is_shown_somewhere():
    shown = {target.resolve() for path in DOCUMENTS for target, _ in links(path)}
    assert PICTURES and set(PICTURES) <= shown


@pytest.mark.parametrize("path", PICTURES, ids=lambda p: p.name)
def test_a_picture_is_small_and_needs_nothing_from_elsewhere(path):
    assert path.stat().st_size < 100_000
    root = ElementTree.fromstring(text_of(path))
    assert root.tag.endswith("svg")
    rest = text_of(path).replace("http://www.w3.org/", "")
    assert "http" not in rest and "url(//" not in rest and "<script" not in rest


def test_the_picture_of_groups_is_what_the_code_finds():
    drawn = script("pictures").groups()
    assert text_of(DOCS / "pictures" / "groups.svg") == drawn, "run: scripts/docs/pictures.py"


# Code and commands of pages


PYTHON = [(p, body) for p in DOCUMENTS for body in blocks(p, "python")]


@pytest.mark.parametrize(("path", "body"), PYTHON, ids=[f"{p.name}" for p, _ in PYTHON])
def test_python_of_pages_compiles(path, body):
    if path.parent.name != "reference":  # whose blocks are signatures
        compile(body, path.name, "exec")


def test_a_tutorial_is_written_anew_by_running_it(tmp_path):
    code = "# hello.py\nprint('score 1/2 sites, about 4 s left')\nprint(6 * 7)\n"
    page = f"# T\n\n```python\n{code}```\n\n```console\n$ python hello.py\n41\n"
    path = tmp_path / "page.md"
    path.write_text(page + "$ python no.py\n```\n")
    command = [sys.executable, str(ROOT / "scripts/docs/tutorial.py"), str(path), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    made = text_of(path)
    assert "$ python hello.py\n42\n$ python no.py\n" in made and "\n41\n" not in made
    assert made.endswith("(exit code 2)\n```\n")


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert Path(tmp_path, "tutorial", "index.html").is_file()
