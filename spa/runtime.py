"""What runs models in onnxruntime: sessions, runs, single nodes.

It lies below the graph (which asks it about nodes that ONNX's own inference does not know) and
takes models, never `Graph`s.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from spa import devices, watch
from spa.devices import Device
from spa.errors import LimitError, ReadError, first_line

if TYPE_CHECKING:
    import onnx
    import onnxruntime


Session: TypeAlias = "onnxruntime.InferenceSession"
Options: TypeAlias = "onnxruntime.RunOptions"
Arrays = Mapping[str, np.ndarray]

IN_MEMORY = (1 << 31) - (1 << 24)
"""Bytes of weights up to which a model is handed to onnxruntime in one piece."""


def session(
    model: onnx.ModelProto | bytes | str | os.PathLike[str],
    *,
    optimize: bool = True,
    threads: int = 0,
    device: Device = "auto",
    base_dir: str | os.PathLike[str] | None = None,
    timed: bool = False,
    integers: bool = True,
    arena: bool | None = None,
) -> Session:
    """Load a model into onnxruntime.

    Args:
        model: a model, its bytes, or the path of a file.
        optimize: whether onnxruntime may rewrite the graph.
        threads: of one operation; 0 lets onnxruntime choose.
        device: where to run.
        base_dir: the folder of external data of a model that is not a path.
        timed: whether its runs are timed.  It then runs as it does by default, but its threads spin
            only while it runs; otherwise they sleep, and CUDA keeps to float32 (`devices.EXACT`).
        integers: whether the optimizer may use integers, and round, where the file has floats.
        arena: whether memory is kept from run to run; by default where it is timed.

    Raises:
        ReadError: onnxruntime is missing or refuses the model.
        LimitError: a limit ended it.
    """
    runtime = devices.library()
    options = _options(optimize, threads, timed)
    options.enable_cpu_mem_arena = timed if arena is None else arena
    options.add_session_config_entry("session.disable_quant_qdq", str(int(not integers)))
    if base_dir is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, os.fspath(Path(base_dir).absolute()))
    kept: list[Any] = []
    if isinstance(model, str | os.PathLike):
        source: str | bytes = os.fspath(model)
    elif isinstance(model, bytes):
        source = model
    else:
        source, kept = _in_memory(model, options)
    wanted = devices.configured(device, timed)
    try:
        # The fallback of onnxruntime prints; ours does not.
        with watch.over(partial(_cancel, options), 0):
            loaded = runtime.InferenceSession(source, options, providers=wanted, enable_fallback=0)
    except LimitError:
        raise
    except Exception as error:  # onnxruntime has a class per status, none of them documented
        name = f"'{source}'" if isinstance(source, str) else "the model"
        raise ReadError(
            f"onnxruntime cannot load {name} ({first_line(error)}); check that it loads "
            "there without spa"
        ) from error
    loaded.spa_kept = kept  # the arrays must outlive the session that points into them
    return loaded


def _cancel(options: Any) -> None:
    """Ask a session that is being made to give up; onnxruntime before 1.22 does not listen."""
    if hasattr(options, "set_load_cancellation_flag"):
        options.set_load_cancellation_flag(True)


def _options(optimize: bool, threads: int, timed: bool) -> Any:
    runtime = devices.library()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    # Threads would go on spinning for some 30 ms after a run, beside whatever comes next.
    spinning = "session.force_spinning_stop" if timed else "session.intra_op.allow_spinning"
    options.add_session_config_entry(spinning, "1" if timed else "0")
    if not timed:  # signed weights as unsigned ones, whose products cannot saturate
        options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimize:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def _in_memory(model: onnx.ModelProto, options: Any) -> tuple[bytes, list[Any]]:
    """The bytes of a model; above 2 GiB its large weights are handed over beside them.

    So are those that were set aside in a temporary file, which onnxruntime would not look into.
    """
    from onnx import ModelProto, TensorProto, numpy_helper

    aside = any(_set_aside(tensor) for tensor in model.graph.initializer)
    inside = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if not aside and inside < IN_MEMORY:
        return model.SerializeToString(), []
    shell = ModelProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            _assign(shell, field, value)
    kept: list[Any] = []
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            _assign(shell.graph, field, value)
    names = []
    handed_over = devices.library().OrtValue.ortvalue_from_numpy_with_onnx_type
    for tensor in model.graph.initializer:
        file = _set_aside(tensor)
        if len(tensor.raw_data) < 1024 and not file:
            shell.graph.initializer.add().CopyFrom(tensor)
            continue
        stub = shell.graph.initializer.add(
            name=tensor.name,
            data_type=tensor.data_type,
            dims=tensor.dims,
            data_location=TensorProto.EXTERNAL,
        )
        stub.external_data.add(key="location", value="memory")
        names.append(tensor.name)
        array = _there(tensor, file) if file else numpy_helper.to_array(tensor)
        kept.append(handed_over(array, tensor.data_type))
    options.add_external_initializers(names, kept)
    return shell.SerializeToString(), kept


def _set_aside(tensor: onnx.TensorProto) -> str:
    """The temporary file of our own that a tensor lies in, if any; others are told by folder."""
    found = (e.value for e in tensor.external_data if e.key == "location")
    return next((path for path in found if os.path.isabs(path)), "")


def _there(tensor: onnx.TensorProto, file: str) -> np.ndarray:
    """A tensor that was set aside, mapped."""
    from onnx import helper

    offset = next(int(e.value) for e in tensor.external_data if e.key == "offset")
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.asarray(np.memmap(file, dtype, "r", offset, tuple(tensor.dims)))


def _assign(message: Any, field: Any, value: Any) -> None:
    """Set one field of a protobuf message to that of another."""
    target = getattr(message, field.name)
    if hasattr(target, "MergeFrom"):
        target.MergeFrom(value)
    else:
        setattr(message, field.name, value)


def run(loaded: Session, feeds: Arrays, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a session; outputs by name.

    Raises:
        ReadError: onnxruntime refuses the inputs.
        LimitError: a limit ended the run.
    """
    names = [output.name for output in loaded.get_outputs()] if names is None else list(names)
    try:
        with stoppable(sum(np.size(value) for value in feeds.values())) as options:
            return dict(zip(names, loaded.run(names, dict(feeds), options), strict=True))
    except LimitError:
        raise
    except Exception as error:  # see `session`
        raise ReadError(
            f"onnxruntime cannot run the model ({first_line(error)}); check the shapes of its "
            "inputs, which --input-shape can set"
        ) from error


@contextmanager
def stoppable(numbers: int | None = None) -> Iterator[Options]:
    """What a run is to be given so that limits can end it.

    Args:
        numbers: that it reads; None where the body makes many runs like one that was made before.

    Raises:
        LimitError: a limit ended it.
    """
    options = devices.library().RunOptions()
    options.log_severity_level = 4
    with watch.over(partial(setattr, options, "terminate", True), numbers):
        yield options


# --- single nodes -------------------------------------------------------------------------------


def infer_node(
    node: onnx.NodeProto,
    opsets: Mapping[str, int],
    types: Mapping[str, onnx.TypeProto],
    consts: Mapping[str, onnx.TensorProto],
) -> Mapping[str, onnx.TypeProto] | None:
    """Output types of one node, as onnxruntime sees them: read from a session, else from runs.

    None where onnxruntime is missing, does not know the op, or cannot run it.
    """
    try:
        proto = single(node, opsets, types, consts)
        loaded = session(proto, optimize=False, threads=1, device="cpu")
        outputs = loaded.get_outputs()
        kinds = {output.name: _kind(output.type, output.shape) for output in outputs}
        if any(_unsettled(output.shape) for output in outputs) and _affordable(types):
            for name, shape in _shapes_of_runs(loaded, proto.graph).items():
                kinds[name] = _of(kinds[name], shape)
    except LimitError:
        raise
    except Exception:  # types that numpy or onnxruntime's Python do not know end in any error
        return None
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _shapes_of_runs(loaded: Session, graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """The shapes of outputs that do not depend on what is in the inputs, from a node's runs.

    A vector or a number may say how large an output is: each is tried with zeros and with ones.
    An operator of ONNX that refuses the ones takes them for sizes.
    """
    zeros = {
        info.name: np.zeros(
            [dim.dim_value for dim in info.type.tensor_type.shape.dim],
            _numpy(info.type.tensor_type.elem_type),
        )
        for info in graph.input
    }
    shapes = _array_shapes(run(loaded, zeros))
    for name, zero in zeros.items():
        if zero.ndim > 1:
            continue
        try:
            others = _array_shapes(run(loaded, {**zeros, name: np.ones_like(zero)}))
        except ReadError:
            if graph.node[0].domain in ("", "ai.onnx"):
                return {}
            continue
        shapes = {n: shape for n, shape in shapes.items() if others.get(n) == shape}
    return shapes


def _array_shapes(values: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: v.shape for name, v in values.items() if isinstance(v, np.ndarray)}


def single(
    node: onnx.NodeProto,
    opsets: Mapping[str, int],
    types: Mapping[str, onnx.TypeProto],
    consts: Mapping[str, onnx.TensorProto],
) -> onnx.ModelProto:
    """A model of one node; `consts` become its initializers, the other inputs its inputs."""
    from onnx import helper

    inputs = [
        helper.make_value_info(name, types[name])
        for name in dict.fromkeys(node.input)
        if name and name not in consts
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "node", inputs, outputs, list(consts.values()))
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def evaluate_constants(
    model: onnx.ModelProto, names: Sequence[str], base_dir: str | os.PathLike[str] | None
) -> dict[str, np.ndarray] | None:
    """The outputs of a model without inputs; None where onnxruntime is missing or refuses."""
    try:
        loaded = session(model, optimize=False, threads=1, device="cpu", base_dir=base_dir)
        values = run(loaded, {}, names)
    except ReadError:
        return None
    if not all(isinstance(value, np.ndarray) for value in values.values()):
        return None
    return values


def _affordable(types: Mapping[str, onnx.TypeProto]) -> bool:
    shapes = [[dim.dim_value for dim in kind.tensor_type.shape.dim] for kind in types.values()]
    return sum(map(math.prod, shapes)) < 1 << 26


def _unsettled(shape: Sequence[Any] | None) -> bool:
    # An unknown shape looks like that of a scalar, [].
    return not shape or any(not isinstance(size, int) for size in shape)


def _numpy(elem_type: int) -> np.dtype:
    from onnx import helper

    return np.dtype(helper.tensor_dtype_to_np_dtype(elem_type))


def _kind(text: str, shape: Sequence[Any] | None) -> onnx.TypeProto | None:
    """The ONNX type of an output that onnxruntime describes as `tensor(float)` and the like."""
    from onnx import TensorProto, TypeProto

    if not text.startswith("tensor("):
        return None
    name = {"float": "FLOAT", "double": "DOUBLE"}.get(text[7:-1], text[7:-1].upper())
    if name not in TensorProto.DataType.keys():  # noqa: SIM118 - not a dict
        return None
    kind = TypeProto()
    kind.tensor_type.elem_type = TensorProto.DataType.Value(name)
    return kind if _unsettled(shape) else _of(kind, shape or ())


def _of(kind: onnx.TypeProto | None, shape: Sequence[int]) -> onnx.TypeProto | None:
    """`kind` with a concrete shape."""
    if kind is None:
        return None
    kind.tensor_type.shape.SetInParent()
    del kind.tensor_type.shape.dim[:]
    for size in shape:
        kind.tensor_type.shape.dim.add().dim_value = size
    return kind
