"""Cases of operators without weights: attributes that became inputs, axes of every kind."""

from __future__ import annotations

import numpy as np

from tests.corpus.build import MICROSOFT, Case, case, noise, whole

BIG = np.iinfo(np.int64).max


def movements() -> list[Case]:
    """Shapes given as attributes and as inputs, with 0 and -1."""
    x, deep = noise(2, 6, 4), noise(2, 8, 4, 4)
    return [
        *(
            case("Reshape", 7, x, whole(*t))
            for t in [(2, 2, 3, 4), (0, 0, 2, 2), (0, -1), (-1, 4), (12, 4)]
        ),
        case("Reshape", 14, x, whole(2, 3, 2, -1), allowzero=1),
        case("Reshape", 14, noise(1, 6, 1, 1), whole(1, -1)),
        *(
            case("Flatten", v, noise(2, 6, 2, 2), axis=a)
            for v, a in [(7, 1), (11, 2), (13, -2), (13, 0)]
        ),
        *(case("Squeeze", v, noise(2, 1, 4, 1), axes=[1]) for v in (7, 11)),
        case("Squeeze", 13, noise(2, 1, 4, 1), whole(-1)),
        case("Squeeze", 13, noise(2, 1, 4, 1)),
        *(case("Unsqueeze", v, x, axes=[0, 2]) for v in (7, 11)),
        case("Unsqueeze", 13, x, whole(-1, 1)),
        case("Transpose", 7, x),
        case("Transpose", 13, x, perm=[1, 0, 2]),
        case("Expand", 8, noise(6, 1), whole(2, 6, 4)),
        case("Expand", 13, noise(2, 1, 4), whole(1, 3, 1)),
        case("Tile", 7, x, whole(1, 2, 1)),
        case("Tile", 13, noise(3), whole(3)),
        *(case("DepthToSpace", 13, deep, blocksize=2, mode=m) for m in ("DCR", "CRD")),
        case("DepthToSpace", 7, deep, blocksize=2),
        case("SpaceToDepth", 13, deep, blocksize=2),
        case("Col2Im", 18, noise(1, 12, 4), whole(3, 3), whole(2, 2)),
        case("ReverseSequence", 10, noise(3, 2, 4), whole(3, 1), batch_axis=1, time_axis=0),
        *(case("Trilu", 14, noise(3, 4, 4), None if k is None else np.int64(k)) for k in (None, 1)),
        case("RotaryEmbedding", 23, noise(2, 3, 4, 6), noise(2, 4, 3), noise(2, 4, 3)),
        case("CenterCropPad", 18, x, whole(6, 2), axes=[1, 2]),
        case("CenterCropPad", 18, x, whole(2, 6, 2)),
        case("Shape", 15, x, start=1),
        case("Size", 13, x),
        case("EyeLike", 9, noise(3, 4)),
    ]


def joints() -> list[Case]:
    """Side by side, apart, picked and padded."""
    x, rows = noise(2, 6, 4), noise(7, 5)
    return [
        case("Concat", 7, x, noise(2, 3, 4), noise(2, 2, 4), axis=1),
        case("Concat", 13, x, noise(2, 6, 2), axis=-1),
        *(case("Split", v, x, split=[2, 4], axis=1, outs=2) for v in (7, 11)),
        case("Split", 7, x, axis=1, outs=3),
        case("Split", 13, x, whole(1, 2, 3), axis=1, outs=3),
        case("Split", 18, x, num_outputs=4, axis=1, outs=3),
        case("Split", 13, x, axis=1, outs=2),
        case("Split", 18, x, num_outputs=2, axis=-1, outs=2),
        *(case("Slice", v, x, starts=[1], ends=[BIG], axes=[1]) for v in (7, 9)),
        *(
            case("Slice", 13, x, whole(s), whole(e), whole(a), whole(t))
            for s, e, a, t in [
                (0, 4, 1, 2),
                (-1, -BIG, 1, -1),
                (-3, BIG, -2, 1),
                (4, 1, 1, -1),
                (9, 0, 1, -2),
            ]
        ),
        case("Slice", 10, x, whole(0, 1), whole(2, 3)),
        *(
            case("Gather", 13, x, np.array(i, np.int64), axis=1)
            for i in (2, -1, [0, 3], [[-1, 2], [1, 0]])
        ),
        case("Gather", 7, rows, whole(0, 3), axis=0),
        case("Gather", 11, x, whole(1), axis=-1),
        case("GatherND", 12, noise(4, 5, 6), np.array([[0, 1], [2, 3]])),
        case("GatherND", 13, noise(2, 4, 5, 6), np.array([[1], [0]]), batch_dims=1),
        case(
            "ScatterND", 18, noise(4, 5, 6), np.array([[0], [2]]), noise(2, 5, 6), reduction="add"
        ),
        case("ScatterND", 11, noise(4, 5, 6), np.array([[[0, 1]], [[2, 3]]]), noise(2, 1, 6)),
        *(case("Pad", v, x, pads=[0, 1, 0, 0, 2, 0], value=0.5) for v in (7, 10)),
        *(
            case("Pad", 13, x, whole(0, p, 0, 0, q, 0), np.float32(0.5))
            for p, q in [(1, 2), (0, 2), (-1, 0), (-1, 2)]
        ),
        case("Pad", 18, x, whole(2, 1), None, whole(-2)),
        case("Pad", 18, x, whole(-1, 1), None, whole(2)),
        *(case("Pad", 19, x, whole(0, 0, 1, 0, 0, 1), mode=m) for m in ("reflect", "edge", "wrap")),
        case("Pad", 13, x, whole(0, 2, 0, 0, 0, 0), mode="edge"),
    ]


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
        case("ReduceSum", 13, x, noop_with_empty_axes=1),
        case("ReduceSum", 13, x),
        case("ReduceMean", 18, x, whole(), noop_with_empty_axes=1),
        *(
            case("CumSum", 14, x, np.array(a), reverse=r, exclusive=r)
            for a, r in [(1, 0), (-1, 1), (0, 0)]
        ),
        *(
            case(op, 13, x, axis=a, keepdims=k)
            for op in ("ArgMax", "ArgMin")
            for a, k in [(1, 1), (-1, 0)]
        ),
        case("TopK", 7, x, k=2, outs=2),
        case("TopK", 10, x, whole(2), axis=1, outs=2),
        case("CumProd", 26, x, np.array(1)),
    ]


def spatial() -> list[Case]:
    """Pools and resizes of several channels."""
    x, grid, rois = noise(2, 4, 6, 6), noise(2, 3, 3, 2), np.float32([[0, 0, 4, 4], [1, 2, 5, 5]])
    pools = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return [
        *(case(f"{p}Pool", v, x, **pools) for p in ("Max", "Average", "Lp") for v in (7, 11, 22)),
        case("MaxPool", 12, x, outs=2, **pools),
        *(case(f"Global{p}Pool", 7, x) for p in ("Max", "Average", "Lp")),
        case("GridSample", 16, x, grid),
        case("MaxRoiPool", 7, x, noise(2, 5) * 0, pooled_shape=[2, 2]),
        case("RoiAlign", 16, x, rois, whole(0, 1), output_height=2, output_width=2),
        case("Upsample", 7, x, scales=[1.0, 1.0, 2.0, 2.0]),
        case("Upsample", 9, x, np.float32([1, 1, 2, 2])),
        case("Resize", 10, x, np.float32([1, 1, 2, 2])),
        case("Resize", 11, x, noise(0), np.float32([1, 1, 2, 0.5])),
        case("Resize", 13, x, None, None, whole(2, 4, 3, 9), mode="linear"),
        case("Resize", 18, x, None, np.float32([2, 2]), axes=[2, 3], mode="cubic"),
        case(
            "Resize",
            18,
            x,
            None,
            None,
            whole(9, 3),
            axes=[-2, -1],
            keep_aspect_ratio_policy="not_larger",
        ),
        case("Resize", 13, x, None, np.float32([1, 1.2, 1, 1]), mode="linear"),
        case(
            "Resize",
            13,
            x,
            np.float32([0, 0, 0, 0, 1, 0.5, 1, 1]),
            None,
            whole(2, 4, 6, 6),
            coordinate_transformation_mode="tf_crop_and_resize",
        ),
    ]


def pointwise() -> list[Case]:
    """Broadcasts, and inputs that were attributes once."""
    x, c = noise(2, 4, 3), noise(4, 1)
    yes = np.array([[True], [False], [True], [True]])
    skip = {"domain": MICROSOFT}
    return [
        *(case(op, 7, x, c) for op in ("Add", "Mul", "Sub", "Div", "Pow", "PRelu")),
        case("PRelu", 16, x, noise(1)),
        case("Add", 14, c, noise(2, 4, 3)),
        case("Mul", 13, c, noise(1, 3)),
        *(case(op, 8, x, c, noise(3)) for op in ("Max", "Min", "Sum", "Mean")),
        case("Where", 9, yes, x, c),
        case("Where", 16, yes, np.float32(0), c),
        case("Clip", 7, x, min=0.2, max=0.5),
        case("Clip", 13, x, np.float32(0.2), np.float32(0.5)),
        case("Dropout", 7, x, outs=2),
        case("Dropout", 13, x, np.float32(0.5), np.array(False)),
        case("Cast", 9, x, to=7),
        case("Gelu", 20, x),
        case("SwiGLU", 28, x, x),
        *(case(op, 13, x, **skip) for op in ("Gelu", "QuickGelu")),
        case("BiasGelu", 13, x, noise(3), **skip),
        case("FastGelu", 13, x, noise(3), **skip),
    ]
