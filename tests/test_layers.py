"""The shape of the code: who may import whom, who may print, and what never appears."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "spa").rglob("*.py"))
LARGEST_FILE = 400

# From the bottom up; a part may import what stands in its own line or above it.
LAYERS = """
errors events _version registry
allowed
devices labels make watch runtime check contradictions recipe storage
config spelling
graph
torch
trace
rules
coupling
depth
probes executor
bases criteria budgets rewrite plans
checkpoints
repairs
validate
latency
reports
pipeline
zoo
spoken
api
cli
__main__
"""
RANK = {part: k for k, line in enumerate(LAYERS.strip().splitlines()) for part in line.split()}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}
TEXTS = {path: path.read_text(encoding="utf-8") for path in FILES}
TREES = {path: ast.parse(text) for path, text in TEXTS.items()}


def part_of(module: str) -> str:
    """The folder or file directly below spa/; `spa` itself is the front door."""
    return module.split(".")[1] if "." in module else ""


def statements(tree: ast.AST, lazy: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether it waits for a call, or for a type checker."""
    for node in ast.iter_child_nodes(tree):
        yield node, lazy
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        yield from statements(node, lazy or inside)


def imports(path: Path) -> list[tuple[str, bool]]:
    """What a file imports, with full names, and whether it does so later than at its start."""
    found = []
    for node, lazy in statements(TREES[path]):
        if isinstance(node, ast.Import):
            found += [(alias.name, lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [(f"{node.module}.{alias.name}", lazy) for alias in node.names]
    return found


IMPORTS = {module: imports(path) for module, path in MODULES.items()}


def targets(module: str, *, lazy: bool) -> set[str]:
    """The modules of spa that a module imports: those named, not the packages they lie in."""
    found = set()
    for name, inside in IMPORTS[module]:
        if name.split(".")[0] == "spa" and (lazy or not inside):
            own = name if name in MODULES else name.rpartition(".")[0]
            found.add(own)
    return found - {module}


def outside(package: str) -> set[str]:
    """The modules that import a package of somebody else."""
    return {m for m, found in IMPORTS.items() if any(n.split(".")[0] == package for n, _ in found)}


def below(*parts: str) -> set[str]:
    return {m for m in MODULES if part_of(m) in parts}


# Layers


def test_every_part_has_its_layer():
    parts = {part_of(module) for module in MODULES} - {""}
    assert parts <= RANK.keys(), f"add {parts - RANK.keys()} to the layers"


def test_nobody_imports_what_lies_above():
    """Lazy imports too, and those for typing: a layer that reaches up later still reaches up."""
    for module in MODULES:
        own = part_of(module)
        for target in targets(module, lazy=True) if own else ():  # `spa` opens lazily, by name
            part = part_of(target)
            if part == "":
                assert own in ("api", "cli", "__main__"), f"{module} imports spa itself"
            else:
                assert RANK[part] <= RANK[own], f"{module} imports {target}, which lies above"


def test_no_cycles_between_modules():
    done: set[str] = set()
    trail: list[str] = []

    def visit(module: str) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module in done:
            return
        trail.append(module)
        for target in sorted(targets(module, lazy=True) & MODULES.keys()):
            visit(target)
        trail.pop()
        done.add(module)

    for module in MODULES:
        visit(module)
    assert done == MODULES.keys()


def test_no_cycles_between_packages():
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        own = part_of(module)
        near = {part_of(t) for t in targets(module, lazy=True)} - {own, ""}
        if own:
            graph.setdefault(own, set()).update(near)
    for part, near in graph.items():
        for other in near:
            assert part not in graph.get(other, ()), f"{part} and {other} import each other"


def test_no_module_takes_the_place_of_a_function():
    """Importing `spa.a.b` sets `b` in `spa.a`, and a function `b` defined there would be gone."""
    for module, path in MODULES.items():
        if path.name == "__init__.py":
            body = TREES[path].body
            defined = {n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
            inside = {m.rpartition(".")[2] for m in MODULES if m.rpartition(".")[0] == module}
            assert not defined & inside, f"{module}: {defined & inside}"


def test_the_architecture_page_tells_of_every_part_and_stage():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    parts = [path.name for path in (ROOT / "spa").iterdir() if (path / "__init__.py").exists()]
    assert [part for part in parts if not re.search(rf"\bspa/{part}\b|`{part}`", page)] == []
    values = TREES[MODULES["spa.pipeline.values"]]
    known = {node.name for node in values.body if isinstance(node, ast.ClassDef)}
    drawn = set(re.findall(r"\b[A-Z][a-z]+\b", page.split("```")[1])) - {"Graph"}
    assert drawn <= known and len(drawn) > 6


def test_the_checks_above_can_fail():
    """The graph they look at is the real one."""
    assert "spa.runtime" in targets("spa.graph.load", lazy=False)
    assert "spa.reports.schema" in targets("spa.pipeline.report", lazy=False)
    assert "spa.pipeline" in targets("spa.cli.prune", lazy=True)
    assert "spa.pipeline" not in targets("spa.cli.prune", lazy=False)
    assert len(MODULES) > 80


def private_names(tree: ast.AST) -> Iterator[str]:
    """What a test takes of spa that begins with one underscore: by import, attribute or name."""
    ours: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "spa":
            names = {alias.name for alias in node.names}
            yield from (name for name in names if re.match(r"_[a-z]", name))
            ours.update(alias.asname or alias.name for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[0] in ours:
            yield from re.findall(r"^_[A-Za-z].*", node.attr)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            told = [each.value for each in node.args if isinstance(each, ast.Constant)]
            yield from (n for n in told if re.match(r"(.*\.)?_[a-z]", str(n)))


def test_tests_hold_promises_and_no_private_helpers():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        found = {*private_names(ast.parse(path.read_text(encoding="utf-8")))} - {"_version"}
        assert not found, f"{path.name} uses {found}"


@pytest.mark.parametrize(
    "text",
    [
        "from spa.a import _b",
        "from spa import a\na._b(1)",
        "from spa.a import B\nB.c._d",
        "patch.setattr(x, '_y', 1)",
        "patch.setattr('spa.x._y', 1)",
    ],
)
def test_private_helpers_would_be_found(text):
    assert len({*private_names(ast.parse(text))}) == 1


# Who may do what


def test_only_two_modules_import_onnxruntime():
    assert outside("onnxruntime") <= {"spa.devices", "spa.runtime"}


def test_torch_is_an_extra():
    """Only one part imports it, and nothing imports that part before it is asked for."""
    assert outside("torch") <= below("torch")
    for module in MODULES.keys() - below("torch"):
        assert not any(t.startswith("spa.torch") for t in targets(module, lazy=False)), module


def test_only_the_shell_imports_click():
    assert outside("click") <= below("cli")


def test_rich_is_for_screens():
    assert outside("rich") <= below("cli", "reports")


def test_the_algebra_knows_no_onnx():
    algebra = below("labels", "trace", "rules", "recipe", "errors", "events")
    for package in ("onnx", "google"):
        # `spa ops` lists our rules beside the operators of the standard
        assert not outside(package) & algebra - {"spa.rules.standard"}


def calls(path: Path) -> Iterator[tuple[str, bool, str]]:
    """What a file calls, whether later than when it is loaded, and where that stands."""
    for node, lazy in statements(TREES[path]):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), lazy, f"{path.name}:{node.lineno}"


def test_only_the_shell_prints():
    for path in (path for module, path in MODULES.items() if part_of(module) != "cli"):
        for called, _, place in calls(path):
            assert called not in ("print", "sys.stdout.write", "sys.stderr.write"), place


def test_nothing_happens_at_import():
    """No environment is read, no logger set up, no warning filtered where a module is loaded."""
    harm = r"(os\.(environ|getenv)|logging\.basicConfig|warnings\.)|(open|print)$"
    for path in FILES:
        found = [
            place for called, lazy, place in calls(path) if not lazy and re.match(harm, called)
        ]
        assert not found


def test_extras_are_asked_for_in_one_way_and_exist():
    """One place spells the command; `install` is told the names of extras of this package."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(r"^(\w+) = \[", project.split("[project.optional-dependencies]")[1], re.M)
    asked = set()
    for path, tree in TREES.items():
        for node, _ in statements(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "install":
                names = [ast.literal_eval(each) for each in node.args]
                assert names and {*names} <= {*extras}, f"{path.name}: {names}"
                asked.update(names)
    assert {"cpu", "gpu", "torch", "images"} <= asked
    spelt = [path.name for path, text in TEXTS.items() if re.search(r"install.*onnx-spa\[", text)]
    assert sorted(spelt) == ["errors.py", "tune.py"]  # the latter as text for `--help`


# What never appears

ARCHITECTURES = set(
    """alexnet albert bart bert bloom clip convnext deit deeplab densenet detr distilbert
    efficientnet efficientvit falcon gemma ghostnet googlenet gpt gpt2 gqa inceptionv3 llama llava
    minilm mistral mixtral mobilebert mobilenet mobilenetv2 mobilevit opt phi qwen regnet resnet
    resnext roberta segformer shufflenet shufflenetv2 squeezenet swin t5 unet vgg vit wav2vec
    whisper xcit yolo yolov5 yolov8""".split()
) - {"clip", "opt"}  # an operator, and a word


def code_words(path: Path) -> Iterator[tuple[str, int]]:
    """Words of names and strings, but not of comments and docstrings, in lower case."""
    text = path.read_text(encoding="utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for each in body if isinstance(body, list) else ():
            if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
                documented.update(range(each.lineno, (each.end_lineno or 0) + 1))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.NAME, tokenize.STRING) and token.start[0] not in documented:
            apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", token.string)
            for word in re.findall(r"[A-Za-z][A-Za-z0-9]*", apart):
                yield word.lower(), token.start[0]


def test_no_architecture_is_named():
    for path in FILES:
        for word, line in code_words(path):
            assert word not in ARCHITECTURES, f"{path.name}:{line} names {word}"


def test_architectures_would_be_found(tmp_path):
    path = tmp_path / "x.py"
    path.write_text('"""ResNet."""\n# swin\ndef is_gqa(x):\n    """BERT."""\n    return "my vit"\n')
    assert {w for w, _ in code_words(path)} & ARCHITECTURES == {"gqa", "vit"}
    path.write_text("class LlamaBlock:\n    pass\n")
    assert "llama" in {w for w, _ in code_words(path)}


def test_no_file_is_too_long():
    assert not [p for p, text in TEXTS.items() if len(text.splitlines()) > LARGEST_FILE]


def test_nothing_is_left_for_later():
    """No reminder is left in the code, and every module says what it is for."""
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    assert not [path for path, text in TEXTS.items() if later.search(text)]
    assert not [path for path, tree in TREES.items() if not ast.get_docstring(tree)]
