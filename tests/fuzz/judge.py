"""Whether a command kept its promises on a file: `trial(seed)` runs it in a process of its own.

Processes are forked from one that has imported all that is needed but has run nothing yet.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as states

import spa
from spa.coupling import analyse
from spa.graph import read
from spa.pipeline.settle import heads_of
from spa.pipeline.sign import is_refitted
from spa.plans import Plan, carried_plan, place
from spa.validate import latency
from spa.validate.verify import lossy_at
from tests.fuzz.mutation import mutated
from tests.fuzz.reference import FAILURES, Reference, Run

DEFAULTS = 8
"""Every so many files, nothing is said of how to score, and what stays is refitted."""
SECONDS, PEAK = 60, 4 << 30
"""What a command may take on a small file: of the processor, and of memory (bytes)."""
PATIENCE, MOST = 5 * SECONDS, 3 * PEAK
"""When a process is ended: after so many seconds by the clock, or at so much address space."""
REFUSED, KNOWN = 5, (0, 3, 4, 5, 7)
NOISE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f\x9b]|Traceback|[a-z]Warning:|onnxruntime:|\[[WEF]:|^[WEF]\d{4} ", re.M
)
LONGEST = 1100
SIZES = (2, 1, 3, 5, 8)
LIMIT, LOOSEST = 1e-4, 1e-2
"""Largest difference over the largest number, and where the optimizer alone makes as much."""
COARSE, STEPS = 5e-2, 1.5e-1
"""The same with half precision, and behind quantisers, which make a step of rounding."""
INWARD = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM", "MoE", "QMoE", "Loop", "Scan")
"""Operators with channels of their own, which a mask on their outputs does not silence."""
REFUSALS = (*FAILURES, states.InvalidGraph, states.InvalidProtobuf, states.NotImplemented)

Arrays = dict[str, np.ndarray]


@dataclass
class Finding:
    """What came of one file: `fault` is empty where all was well, `note` what else to count."""

    seed: int
    code: int = -1
    seconds: float = 0.0
    peak: int = 0
    fault: str = ""
    note: str = ""
    said: str = ""
    steps: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: exit {self.code}, {self.seconds:.0f} s, {self.peak >> 20} MiB: "
            f"{self.fault or self.note}\n    {self.said}\n    {' | '.join(self.steps)}"
        )


def warm() -> None:
    """Import everything, so that what is forked need not."""
    for module in pkgutil.walk_packages(spa.__path__, "spa."):
        with suppress(ImportError):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def trial(seed: int) -> Finding:
    """Make the file of a seed, prune it, and look at what came of it; never raises."""
    folder = Path(tempfile.mkdtemp(prefix="spa_files_"))
    try:
        return _trial(seed, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _trial(seed: int, folder: Path) -> Finding:
    found = Finding(seed)
    code, used = apart(lambda: _made(seed, folder), folder / "made")
    if code:
        found.fault = f"no file was made: {code} {_tail(folder / 'made')}"
        return found
    found.steps = json.loads((folder / "facts.json").read_text())["steps"]
    before = {path.name: path.read_bytes() for path in folder.glob("in.*")}
    found.code, used = apart(lambda: _pruned(seed, folder), folder / "said")
    found.seconds, found.peak = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
    found.said = ascii((folder / "said").read_text("utf8", "replace")[-400:])
    found.fault = _manners(found, folder, before)
    if not found.fault and found.code in (0, REFUSED):
        code, _ = apart(lambda: _judged(found, folder), folder / "judged")
        words = _tail(folder / "judged")
        if code == 0:
            found.note = words
        else:
            found.fault = words if code == 9 else f"the judge ended with {code}: {words}"
    return found


def apart(work: Callable[[], int], said: Path) -> tuple[int, resource.struct_rusage]:
    """Do something in a forked process with limits; its exit code (below zero: a signal)."""
    child = os.fork()
    if not child:
        code = 1
        try:
            _limited(said)
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    end = time.monotonic() + PATIENCE
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), used
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def _limited(said: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    words = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDWR)
    for source, target in ((nothing, 0), (words, 1), (words, 2)):
        os.dup2(source, target)
    sys.stdout = open(1, "w", encoding="utf8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf8", closefd=False)  # noqa: SIM115


def _tail(said: Path) -> str:
    text = said.read_text("utf8", "replace").strip()
    return ascii(text.splitlines()[-1])[1:-1][:500] if text else ""


def _made(seed: int, folder: Path) -> int:
    file = mutated(seed, folder)
    facts = {"steps": file.steps, "below": file.below, "sizes": file.sizes}
    (folder / "facts.json").write_text(json.dumps(facts))
    return 0


def _command(name: str, output: str, seed: int, folder: Path) -> list[str]:
    ratio = (0.1, 0.3, 0.5)[seed % 3]
    words = [name, str(folder / "in.onnx"), "-o", str(folder / output), "-r", str(ratio)]
    return words if seed % DEFAULTS == 0 else [*words, "-s", "l2"]


def _pruned(seed: int, folder: Path) -> int:
    from spa.cli.main import run

    latency.WARM = latency.SECONDS = 0.0  # what runs fast is not asked here
    return run([*_command("prune", "out.onnx", seed, folder), "--threads", "1"])


def _manners(found: Finding, folder: Path, before: dict[str, bytes]) -> str:
    """What no command may do, whatever the file."""
    text = (folder / "said").read_text("utf8", "replace")
    if found.code not in KNOWN:
        return f"exit {found.code}"
    if found.seconds > SECONDS or found.peak > PEAK:
        return "took too much"
    noise = NOISE.search(text)
    if noise:
        return f"noise: {noise.group()!a}"
    if max(map(len, text.splitlines()), default=0) > LONGEST:
        return "a sentence without end"
    if found.code and "spa: error: " not in text:
        return "not a word"
    if {path.name: path.read_bytes() for path in folder.glob("in.*")} != before:
        return "another input"
    written = [path.name for path in folder.iterdir() if path.name.startswith("out")]
    if bool(written) != (found.code == 0):
        return f"written: {written}"
    return ""


# --- what was written ---------------------------------------------------------------------------


def _judged(found: Finding, folder: Path) -> int:
    """Print a note (0) or a fault (9)."""
    try:
        print(_refused(folder) if found.code == REFUSED else _written(found.seed, folder))
    except AssertionError as error:
        print(error)
        return 9
    return 0


def session(path: Path, optimize: bool = False) -> onnxruntime.InferenceSession:
    """onnxruntime, with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x64quantprecision", "1")
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def runs(folder: Path, model: ModelProto) -> Iterator[tuple[dict[str, int], Arrays, Arrays]]:
    """Sizes of the symbols, inputs, and outputs of the original, where it takes them."""
    whole = session(folder / "in.onnx")
    facts = json.loads((folder / "facts.json").read_text())
    symbols = {s for i in whole.get_inputs() for s in i.shape if isinstance(s, str)}
    every = [*facts["sizes"], *(dict.fromkeys(symbols, size) for size in SIZES)]
    for k, sizes in enumerate(every):
        chance = np.random.default_rng(k)
        feeds = {}
        for info in whole.get_inputs():
            shape = [sizes.get(s, 2) if not isinstance(s, int) else s for s in info.shape]
            feeds[info.name] = _numbers(info, shape, facts["below"].get(info.name, 2), chance)
        with suppress(*REFUSALS):
            values = whole.run(None, feeds)
            names = [output.name for output in whole.get_outputs()]
            yield sizes, feeds, dict(zip(names, values, strict=True))


def _numbers(info, shape: list[int], below: int, chance: np.random.Generator) -> np.ndarray:
    kind = info.type[len("tensor(") : -1]
    name = {"float": "FLOAT", "double": "DOUBLE"}.get(kind, kind.upper())
    dtype = helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(name))
    if dtype.kind in "iub":
        return chance.integers(0, below, shape).astype(dtype)
    return chance.standard_normal(shape).astype(dtype)


def _refused(folder: Path) -> str:
    """A cut that was not right: whether the original computes anything."""
    try:
        seen = list(runs(folder, onnx.load(folder / "in.onnx")))
    except Exception as error:
        return f"5: the original does not load ({type(error).__name__})"
    finite = [all(np.isfinite(v).all() for v in made.values() if v.dtype.kind == "f")
              for _, _, made in seen]  # fmt: skip
    return "5: of a file that computes finite numbers" if any(finite) else "5: nothing finite"


def _written(seed: int, folder: Path) -> str:
    try:
        session(folder / "in.onnx")
    except Exception:
        return "0: onnxruntime does not load the input"
    try:
        small = session(folder / "out.onnx")
    except Exception as error:
        raise AssertionError(f"what was written does not load: {error}") from error
    model = onnx.load(folder / "in.onnx")
    reference, everything, why = _references(seed, model, folder)
    seen = judged = 0
    for sizes, feeds, before in runs(folder, model):
        seen += 1
        try:
            after = dict(zip(before, small.run(list(before), feeds), strict=True))
        except REFUSALS as error:
            raise AssertionError(f"what was written does not run at {sizes}: {error}") from error
        if reference is not None and everything is not None:
            why = _compared(folder, reference, everything, sizes, feeds, before, after)
            judged += not why
    if not seen:
        return "0: the original does not run on what the judge knows"
    return "0: as the reference" if judged else f"0: not compared ({why})"


def _references(seed: int, model: ModelProto, folder: Path):
    """The reference of the plan in the file, one of everything, and why there is none."""
    written = onnx.load(folder / "out.onnx", load_external_data=False)
    if is_refitted(written):
        return None, None, "refitted"
    plan = carried_plan(written) or _plan(seed, folder)
    coupling = analyse(read(folder / "in.onnx"), heads=heads_of(plan))
    alive, _ = place(coupling, plan)
    if lossy_at(coupling, alive):
        return None, None, "lossy"
    if any(node.op_type in INWARD or "Attention" in node.op_type for node in model.graph.node):
        return None, None, "channels inside operators"
    try:
        return (Reference(model, coupling, alive),
                Reference(model, coupling, np.ones_like(alive)), "")  # fmt: skip
    except Exception as error:
        return None, None, f"no reference: {type(error).__name__}"


def _plan(seed: int, folder: Path) -> Plan:
    """The plan, where a file would not be smaller with it."""
    from spa.cli.main import run

    assert run([*_command("plan", "plan.json", seed, folder), "-q", "--force"]) == 0, "no plan"
    return Plan.load(folder / "plan.json")


def _compared(
    folder: Path, reference: Reference, everything: Reference, sizes: dict[str, int],
    feeds: Arrays, before: Arrays, after: Arrays,
) -> str:  # fmt: skip
    """Why outputs were not compared; raises AssertionError where they differ."""
    try:
        plain = everything.run(feeds, sizes)
    except Exception as error:
        return f"the reference fails: {type(error).__name__} {str(error)[:80]}"
    limit = _limit(reference.model)
    if any(_far(plain, name, value) > limit for name, value in before.items()):
        return (
            "other alone"  # the file means something else to onnxruntime than its nodes one by one
        )
    whole = reference.run(feeds, sizes)
    done = False
    for name, got in after.items():
        if name in whole.unsure:
            continue
        far = _far(whole, name, got)
        if far > limit:
            loud = session(folder / "in.onnx", optimize=True).run([name], feeds)[0]
            far /= max(1.0, 10 * min(_far(plain, name, loud), LOOSEST / 10) / limit)
        assert far <= limit, f"{name} differs by {far:.1e} at {sizes}"
        done = True
    return "" if done else "near ties"


def _limit(model: ModelProto) -> float:
    ops = {node.op_type for node in model.graph.node}
    if any("Quant" in op or "Integer" in op for op in ops):
        return STEPS
    kinds = {t.data_type for t in model.graph.initializer}
    half = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    return COARSE if kinds & half else LIMIT


def _far(run: Run, name: str, got: np.ndarray) -> float:
    """The largest difference over the largest number, of what is finite in both."""
    want = np.asarray(run.values[name])
    living = want[run.masks[name]] if name in run.masks else want.ravel()
    assert living.size == got.size, f"{name} is {got.shape}, living are {living.size}"
    if living.dtype.kind not in "fiub":
        return 0.0
    a, b = living.astype(np.float64), got.ravel().astype(np.float64)
    sound = np.isfinite(a) & np.isfinite(b)
    if sound.sum() < sound.size and (np.isfinite(a) != np.isfinite(b)).mean() > 0.5:
        return np.inf
    a, b = a[sound], b[sound]
    return float(np.abs(a - b).max(initial=0) / max(np.abs(a).max(initial=0), 1e-9))
