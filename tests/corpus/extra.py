"""Our own node cases: older opsets, groups, broadcasts, and operators that the wheel tests thinly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, shape_inference

from tests.corpus.cases import Case

MICROSOFT = "com.microsoft"
BIG = np.iinfo(np.int64).max


def noise(*shape: int) -> np.ndarray:
    """Random numbers, the same for the same shape; positive, so that every function is defined."""
    return np.random.default_rng(sum(shape) + 1).uniform(0.1, 1, shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    """A vector of int64."""
    return np.array(numbers, np.int64)


def case(
    op: str, opset: int, *inputs: np.ndarray | None, outs: int | Sequence[str] = 1, **attrs: Any
) -> Case:
    """A model of one node; its inputs are called a, b, c..."""
    domain = attrs.pop("domain", "")
    names = ["" if x is None else "abcdefghij"[i] for i, x in enumerate(inputs)]
    outputs = [f"y{k}" for k in range(outs)] if isinstance(outs, int) else list(outs)
    node = helper.make_node(op, names, outputs, domain=domain or None, **attrs)
    arrays = {n: x for n, x in zip(names, inputs, strict=True) if x is not None}
    kind = {np.dtype(t): helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in TYPES}
    model = helper.make_model(
        helper.make_graph(
            [node],
            "extra",
            [helper.make_tensor_value_info(n, kind[x.dtype], x.shape) for n, x in arrays.items()],
            [helper.make_empty_tensor_value_info(o) for o in outputs if o],
        ),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=10 if opset > 20 else 8,
    )
    inferred = shape_inference.infer_shapes(model).graph.output
    for info, known in zip(model.graph.output, inferred, strict=True):
        info.type.tensor_type.elem_type = known.type.tensor_type.elem_type or TensorProto.FLOAT
    shapes = "_".join("x".join(map(str, x.shape)) for x in arrays.values())
    said = "_".join(f"{k}={v}" for k, v in attrs.items())
    name = f"extra_{op}_{opset}_{shapes}_{said}".replace(" ", "")
    return Case(name, f"{domain}.{op}" if domain else op, model, arrays)


TYPES = (np.float32, np.int64, np.int32, np.int8, np.uint8, np.bool_)


def convolutions() -> list[Case]:
    """Groups, dimensions, paddings; images have several channels, as those of the wheel do not."""
    image, weight = noise(2, 6, 5, 5), noise(8, 3, 3, 3)
    offsets = noise(1, 2 * 2 * 4, 4, 4)
    return [
        case("Conv", 7, image, noise(4, 6, 3, 3), noise(4), auto_pad="SAME_UPPER"),
        case("Conv", 11, image, weight, noise(8), group=2, pads=[1, 1, 1, 1], strides=[2, 2]),
        case("Conv", 22, image, noise(6, 1, 3, 3), None, group=6),
        case("Conv", 13, image, noise(12, 1, 2, 2), noise(12), group=6, dilations=[2, 2]),
        case("Conv", 13, noise(2, 4, 9), noise(6, 2, 3), group=2),
        case("Conv", 13, noise(1, 4, 4, 4, 4), noise(3, 4, 2, 2, 2)),
        case("ConvTranspose", 11, image, noise(6, 4, 3, 3), noise(4), output_shape=[10, 10]),
        case("ConvTranspose", 7, image, noise(6, 2, 2, 2), noise(6), group=3, strides=[2, 2]),
        case("ConvTranspose", 22, image, noise(6, 1, 3, 3), group=6),
        case("DeformConv", 19, noise(1, 4, 5, 5), noise(6, 4, 2, 2), offsets, noise(6), offset_group=2),
        case("FusedConv", 13, image, weight, noise(8), group=2, activation="Relu", domain=MICROSOFT),
        case("FusedConv", 13, image, noise(6, 6, 1, 1), noise(6), image, domain=MICROSOFT),
    ]


def products() -> list[Case]:
    """Every broadcast of Gemm's C, batched matrices, equations."""
    a, b = noise(3, 4), noise(4, 5)
    found = [
        case("Gemm", 7 + 2 * (k % 4), a, b, noise(*c), alpha=0.5, beta=2.0)
        for k, c in enumerate([(5,), (1, 5), (3, 5), (3, 1), (1,), ()])
    ]
    found += [
        case("Gemm", 13, noise(4, 3), noise(5, 4), None, transA=1, transB=1),
        case("Gemm", 11, noise(4, 3), b, noise(5), transA=1),
        case("FusedGemm", 13, a, b, noise(5), activation="Relu", domain=MICROSOFT),
        case("FusedMatMul", 13, noise(2, 4, 3), noise(2, 5, 4), transA=1, transB=1, domain=MICROSOFT),
        case("FusedMatMul", 13, a, b, alpha=0.5, domain=MICROSOFT),
        case("QLinearMatMul", 10, *quantised(3, 4), *quantised(4, 5), np.float32(1), np.uint8(3)),
    ]
    shapes = [
        ((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 3, 4), (4,)), ((4,), (2, 4, 5)),
        ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 6)),
        ((6, 3, 4), (1, 4, 5)), ((2, 6, 3, 4), (6, 4, 5)),
    ]  # fmt: skip
    found += [case("MatMul", 7 + k, noise(*x), noise(*y)) for k, (x, y) in enumerate(shapes)]
    equations = {
        "bhid,bhjd->bhij": [(2, 3, 4, 5), (2, 3, 6, 5)], "...ij,jk->...ik": [(2, 3, 4), (4, 5)],
        "bhij,bhjd->bihd": [(2, 3, 4, 5), (2, 3, 5, 6)], "ij->ji": [(3, 4)], "ij->i": [(3, 4)],
        "ij->": [(3, 4)], "abc->ca": [(2, 3, 4)], "bij,bjk": [(2, 3, 4), (2, 4, 5)],
        "i,j->ij": [(3,), (4,)], "bi,bi->b": [(2, 4), (2, 4)], "abc,cd->abd": [(2, 3, 4), (4, 5)],
        "ij,jk->k": [(3, 4), (4, 5)], "ij,kj->ik": [(3, 4), (5, 4)], "bsd,hdk->bshk": [(2, 3, 4), (2, 4, 5)],
        "bshk,hkd->bsd": [(2, 3, 2, 5), (2, 5, 4)], "a,ab,b->a": [(3,), (3, 4), (4,)],
    }  # fmt: skip
    found += [
        case("Einsum", 12, *(noise(*s) for s in shapes), equation=e) for e, shapes in equations.items()
    ]
    return found


def quantised(*shape: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes, their scale and their zero."""
    return (noise(*shape) * 50).astype(np.uint8), np.float32(0.1), np.uint8(7)


def conversions() -> list[Case]:
    """Scales for a tensor and for each channel."""
    x, (q, scale, zero) = noise(2, 4, 3), quantised(2, 4, 3)
    scales, zeros = noise(4), np.arange(4).astype(np.uint8)
    return [
        case("QuantizeLinear", 10, x, scale, zero),
        case("QuantizeLinear", 13, x, scales, zeros, axis=1),
        case("QuantizeLinear", 19, x, scales, None, axis=-2),
        case("DequantizeLinear", 10, q, scale, zero),
        case("DequantizeLinear", 13, q, scales, zeros, axis=1),
        case("DequantizeLinear", 13, quantised(4, 3)[0], scales, None, axis=0),
        case("DequantizeLinear", 21, q, noise(2, 2, 3), None, axis=1, block_size=2),
        case("DequantizeLinear", 13, q, scales, zeros, axis=1, domain=MICROSOFT),
        case("DynamicQuantizeLinear", 11, x, outs=3),
    ]


def norms() -> list[Case]:
    """Norms of all ages; statistics kept and thrown away."""
    image, c = noise(2, 6, 4, 4), [noise(6), noise(6), noise(6), noise(6)]
    x, d, bias = noise(2, 3, 4), noise(4), noise(4)
    skip = {"domain": MICROSOFT}
    return [
        *(case("BatchNormalization", v, image, *c) for v in (7, 9, 14, 15)),
        case("BatchNormalization", 15, noise(4, 6), *c),
        case("BatchNormalization", 15, noise(2, 6, 3), *c, training_mode=1, outs=3),
        case("InstanceNormalization", 22, image, *c[:2]),
        case("InstanceNormalization", 7, noise(2, 6, 5), *c[:2]),
        case("GroupNormalization", 18, image, noise(3), noise(3), num_groups=3),
        case("GroupNormalization", 21, image, *c[:2], num_groups=3),
        case("GroupNormalization", 21, noise(4, 6), *c[:2], num_groups=2),
        case("LayerNormalization", 17, x, d, bias, outs=3),
        case("LayerNormalization", 17, x, noise(3, 4), None, axis=1, outs=("y", "", "z")),
        case("LayerNormalization", 17, noise(2, 3, 2, 4), d, bias, axis=-1),
        case("RMSNormalization", 23, x, d),
        case("RMSNormalization", 23, x, noise(3, 4), axis=1),
        case("LpNormalization", 22, x, p=1, axis=1),
        case("LpNormalization", 7, x),
        case("LRN", 13, image, size=3),
        case("MeanVarianceNormalization", 13, image),
        case("MeanVarianceNormalization", 13, image, axes=[1, 2, 3]),
        *(case(op, v, x, axis=1) for op in ("Softmax", "LogSoftmax", "Hardmax") for v in (7, 11, 13)),
        case("SkipLayerNormalization", 17, x, x, d, bias, noise(4), outs=("y", "", "", "s"), **skip),
        case("SkipSimplifiedLayerNormalization", 17, x, x, d, **skip),
        case("SimplifiedLayerNormalization", 17, x, d, axis=-1),
    ]


def movements() -> list[Case]:
    """Shapes given as attributes and as inputs, with 0 and -1."""
    x, deep = noise(2, 6, 4), noise(2, 8, 4, 4)
    return [
        *(case("Reshape", 7, x, whole(*t)) for t in [(2, 2, 3, 4), (0, 0, 2, 2), (0, -1), (-1, 4), (12, 4)]),
        case("Reshape", 14, x, whole(2, 3, 2, -1), allowzero=1),
        case("Reshape", 14, noise(1, 6, 1, 1), whole(1, -1)),
        *(case("Flatten", v, noise(2, 6, 2, 2), axis=a) for v, a in [(7, 1), (11, 2), (13, -2), (13, 0)]),
        *(case("Squeeze", v, noise(2, 1, 4, 1), axes=[1]) for v in (7, 11)),
        case("Squeeze", 13, noise(2, 1, 4, 1), whole(-1)),
        case("Squeeze", 13, noise(2, 1, 4, 1)),
        *(case("Unsqueeze", v, x, axes=[0, 2]) for v in (7, 11)),
        case("Unsqueeze", 13, x, whole(-1, 1)),
        case("Transpose", 7, x), case("Transpose", 13, x, perm=[1, 0, 2]),
        case("Expand", 8, noise(6, 1), whole(2, 6, 4)), case("Expand", 13, noise(2, 1, 4), whole(1, 3, 1)),
        case("Tile", 7, x, whole(1, 2, 1)), case("Tile", 13, noise(3), whole(3)),
        *(case("DepthToSpace", 13, deep, blocksize=2, mode=m) for m in ("DCR", "CRD")),
        case("DepthToSpace", 7, deep, blocksize=2), case("SpaceToDepth", 13, deep, blocksize=2),
        case("Col2Im", 18, noise(1, 12, 4), whole(3, 3), whole(2, 2)),
        case("ReverseSequence", 10, noise(3, 2, 4), whole(3, 1), batch_axis=1, time_axis=0),
        *(case("Trilu", 14, noise(3, 4, 4), None if k is None else np.int64(k)) for k in (None, 1)),
        case("RotaryEmbedding", 23, noise(2, 3, 4, 6), noise(2, 4, 3), noise(2, 4, 3)),
        case("CenterCropPad", 18, x, whole(6, 2), axes=[1, 2]),
        case("CenterCropPad", 18, x, whole(2, 6, 2)),
        case("Shape", 15, x, start=1), case("Size", 13, x), case("EyeLike", 9, noise(3, 4)),
    ]  # fmt: skip


def joints() -> list[Case]:
    """Side by side, apart, picked and padded."""
    x, rows = noise(2, 6, 4), noise(7, 5)
    return [
        case("Concat", 7, x, noise(2, 3, 4), noise(2, 2, 4), axis=1),
        case("Concat", 13, x, noise(2, 6, 2), axis=-1),
        *(case("Split", v, x, split=[2, 4], axis=1, outs=2) for v in (7, 11)),
        case("Split", 7, x, axis=1, outs=3), case("Split", 13, x, whole(1, 2, 3), axis=1, outs=3),
        case("Split", 18, x, num_outputs=4, axis=1, outs=3), case("Split", 13, x, axis=1, outs=2),
        case("Split", 18, x, num_outputs=2, axis=-1, outs=2),
        *(case("Slice", v, x, starts=[1], ends=[BIG], axes=[1]) for v in (7, 9)),
        *(case("Slice", 13, x, whole(s), whole(e), whole(a), whole(t))
          for s, e, a, t in [(0, 4, 1, 2), (-1, -BIG, 1, -1), (-3, BIG, -2, 1), (4, 1, 1, -1), (9, 0, 1, -2)]),
        case("Slice", 10, x, whole(0, 1), whole(2, 3)),
        *(case("Gather", 13, x, np.array(i, np.int64), axis=1) for i in (2, -1, [0, 3], [[-1, 2], [1, 0]])),
        case("Gather", 7, rows, whole(0, 3), axis=0), case("Gather", 11, x, whole(1), axis=-1),
        case("GatherND", 12, noise(4, 5, 6), np.array([[0, 1], [2, 3]])),
        case("GatherND", 13, noise(2, 4, 5, 6), np.array([[1], [0]]), batch_dims=1),
        case("ScatterND", 18, noise(4, 5, 6), np.array([[0], [2]]), noise(2, 5, 6), reduction="add"),
        case("ScatterND", 11, noise(4, 5, 6), np.array([[[0, 1]], [[2, 3]]]), noise(2, 1, 6)),
        *(case("Pad", v, x, pads=[0, 1, 0, 0, 2, 0], value=0.5) for v in (7, 10)),
        *(case("Pad", 13, x, whole(0, p, 0, 0, q, 0), np.float32(0.5)) for p, q in [(1, 2), (0, 2), (-1, 0), (-1, 2)]),
        case("Pad", 18, x, whole(2, 1), None, whole(-2)), case("Pad", 18, x, whole(-1, 1), None, whole(2)),
        *(case("Pad", 19, x, whole(0, 0, 1, 0, 0, 1), mode=m) for m in ("reflect", "edge", "wrap")),
        case("Pad", 13, x, whole(0, 2, 0, 0, 0, 0), mode="edge"),
    ]  # fmt: skip


def summaries() -> list[Case]:
    """Reductions with axes as attribute and as input; positions."""
    x = noise(2, 3, 4)
    sums = ["Sum", "SumSquare", "L1", "L2", "LogSum", "Mean", "Max", "Min", "Prod", "LogSumExp"]
    found = [
        case(f"Reduce{s}", v, x, axes=[1], keepdims=k) for s in sums for v, k in ((7, 1), (11, 0))
    ]
    found += [case(f"Reduce{s}", 18, x, whole(-1, 0), keepdims=k) for s in sums for k in (0, 1)]
    return [
        *found,
        case("ReduceSum", 13, x, noop_with_empty_axes=1), case("ReduceSum", 13, x),
        case("ReduceMean", 18, x, whole(), noop_with_empty_axes=1),
        *(case("CumSum", 14, x, np.array(a), reverse=r, exclusive=r) for a, r in [(1, 0), (-1, 1), (0, 0)]),
        *(case(op, 13, x, axis=a, keepdims=k) for op in ("ArgMax", "ArgMin") for a, k in [(1, 1), (-1, 0)]),
        case("TopK", 7, x, k=2, outs=2), case("TopK", 10, x, whole(2), axis=1, outs=2),
        case("CumProd", 26, x, np.array(1)),
    ]  # fmt: skip


def spatial() -> list[Case]:
    """Pools and resizes of several channels."""
    x, grid, rois = noise(2, 4, 6, 6), noise(2, 3, 3, 2), noise(2, 4) * 4
    pools = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return [
        *(case(f"{p}Pool", v, x, **pools) for p in ("Max", "Average", "Lp") for v in (7, 11, 22)),
        case("MaxPool", 12, x, outs=2, **pools),
        *(case(f"Global{p}Pool", 7, x) for p in ("Max", "Average", "Lp")),
        case("GridSample", 16, x, grid), case("MaxRoiPool", 7, x, noise(2, 5) * 0, pooled_shape=[2, 2]),
        case("RoiAlign", 16, x, rois, whole(0, 1), output_height=2, output_width=2),
        case("Upsample", 7, x, scales=[1.0, 1.0, 2.0, 2.0]),
        case("Upsample", 9, x, np.float32([1, 1, 2, 2])), case("Resize", 10, x, np.float32([1, 1, 2, 2])),
        case("Resize", 11, x, noise(0), np.float32([1, 1, 2, 0.5])),
        case("Resize", 13, x, None, None, whole(2, 4, 3, 9), mode="linear"),
        case("Resize", 18, x, None, np.float32([2, 2]), axes=[2, 3], mode="cubic"),
        case("Resize", 18, x, None, None, whole(9, 3), axes=[-2, -1], keep_aspect_ratio_policy="not_larger"),
        case("Resize", 13, x, None, np.float32([1, 1.2, 1, 1]), mode="linear"),
        case("Resize", 13, x, np.float32([0, 0, 0, 0, 1, 0.5, 1, 1]), None, whole(2, 4, 6, 6),
             coordinate_transformation_mode="tf_crop_and_resize"),
    ]  # fmt: skip


def pointwise() -> list[Case]:
    """Broadcasts, and inputs that were attributes once."""
    x, c = noise(2, 4, 3), noise(4, 1)
    yes = np.array([[True], [False], [True], [True]])
    skip = {"domain": MICROSOFT}
    return [
        *(case(op, 7, x, c) for op in ("Add", "Mul", "Sub", "Div", "Pow", "PRelu")),
        case("PRelu", 16, x, noise(1)), case("Add", 14, c, noise(2, 4, 3)), case("Mul", 13, c, noise(1, 3)),
        *(case(op, 8, x, c, noise(3)) for op in ("Max", "Min", "Sum", "Mean")),
        case("Where", 9, yes, x, c), case("Where", 16, yes, np.float32(0), c),
        case("Clip", 7, x, min=0.2, max=0.5), case("Clip", 13, x, np.float32(0.2), np.float32(0.5)),
        case("Dropout", 7, x, outs=2), case("Dropout", 13, x, np.float32(0.5), np.array(False)),
        case("Cast", 9, x, to=7), case("Gelu", 20, x), case("SwiGLU", 28, x, x),
        *(case(op, 13, x, **skip) for op in ("Gelu", "QuickGelu")),
        case("BiasGelu", 13, x, noise(3), **skip), case("FastGelu", 13, x, noise(3), **skip),
    ]  # fmt: skip


def sequences() -> list[Case]:
    """Recurrent layers and their kin."""
    x = noise(3, 2, 4)

    def gates(n: int, d: int = 1) -> list[np.ndarray]:
        return [noise(d, n * 5, 4), noise(d, n * 5, 5), noise(d, 2 * n * 5)]

    return [
        case("LSTM", 7, x, *gates(4), hidden_size=5, outs=3),
        case("LSTM", 14, x, *gates(4, 2), hidden_size=5, direction="bidirectional", outs=("", "h")),
        case("GRU", 14, x, *gates(3), hidden_size=5, linear_before_reset=1, outs=2),
        case("RNN", 22, x, *gates(1), hidden_size=5, layout=0, outs=2),
        case("CausalConvWithState", 27, noise(2, 4, 6), noise(4, 1, 3), noise(4), noise(2, 4, 2), outs=2),
    ]


def extra() -> tuple[Case, ...]:
    """All of them."""
    families = (
        convolutions, products, conversions, norms, movements, joints, summaries, spatial, pointwise,
        sequences,
    )  # fmt: skip
    return tuple(c for family in families for c in family())
