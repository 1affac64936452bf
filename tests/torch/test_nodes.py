"""The node tests of the onnx wheel against what they expect."""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from functools import lru_cache

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch")

import spa.torch  # noqa: E402
from spa.errors import ReadError  # noqa: E402
from spa.torch import registry  # noqa: E402
from spa.torch.values import array_of, tensor_of  # noqa: E402

pytestmark = pytest.mark.corpus

TEXT = "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer"
NOT_LOADED = {
    **dict.fromkeys(TEXT.split(), "torch has no text"),
    **dict.fromkeys(["Adagrad", "Adam", "Momentum"], "a step of training, not a layer"),
    **dict.fromkeys(["TreeEnsemble", "ArrayFeatureExtractor"], "classical machine learning"),
    **dict.fromkeys(["Binarizer", "LabelEncoder"], "classical machine learning"),
    "ImageDecoder": "reads files of pictures",
}
"""Operators without a function, and why."""

RENAMED = ("bilinear", "linear")
"""What the mode of GridSample was called, and is."""

RANDOM = ("test_bernoulli", "test_training_dropout")
NO_TYPE = ("FLOAT4E2M1", "float4e2m1", "FLOAT8E8M0", "equal_string")
"""Words in names of tests of element types that torch does not have."""
MENDED = """qk_matmul_bias qk_matmul_softcap l2normalization_axis_0 qlinearmatmul_2D_int8
    qlinearmatmul_3D_int8""".split()
"""Words in names of tests whose values the standard has corrected by its version 1.23."""
OLD_STANDARD = tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 23)
UNSIGNED = () if hasattr(torch, "uint16") else (4, 12, 13)  # before torch 2.3
"""Element types, by their numbers, that older versions of torch do not have."""


def lacks_type(case):
    """Whether torch does not have the types of a node test."""
    graph = case.model.graph
    kinds = {info.type.tensor_type.elem_type for info in (*graph.input, *graph.output)}
    return any(word in case.name for word in NO_TYPE) or not kinds.isdisjoint(UNSIGNED)


@lru_cache(maxsize=1)
def cases():
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return collect_testcases(None)


def value(given):
    if isinstance(given, onnx.TensorProto):
        given = numpy_helper.to_array(given)
    elif isinstance(given, onnx.SequenceProto):
        given = numpy_helper.to_list(given)
    elif isinstance(given, onnx.OptionalProto):
        given = numpy_helper.to_optional(given)
    if given is None or isinstance(given, list):
        return given and [np.asarray(each) for each in given]
    return np.asarray(given)


def fed(given):
    if given is None or isinstance(given, list):
        return given if given is None else [fed(each) for each in given]
    return tensor_of(given)


def same(found, wanted, rtol, atol):
    if wanted is None or isinstance(wanted, list):
        pairs = zip(found or [], wanted or [], strict=True)
        return all(same(a, b, rtol, atol) for a, b in pairs)
    array = array_of(found)
    if wanted.dtype.name in ("int4", "uint4", "int2", "uint2"):
        wanted = wanted.astype(np.int8 if wanted.dtype.name[0] == "i" else np.uint8)
    if array.shape != wanted.shape or array.dtype != wanted.dtype:
        return False
    if wanted.dtype.kind in "biu":
        return np.array_equal(array, wanted)
    if wanted.dtype.itemsize == 2:  # half precision is rounded in other places
        rtol, atol = max(rtol, 0.02), max(atol, 0.02)
    if wanted.dtype.kind != "c":
        with np.errstate(invalid="ignore"):
            array, wanted = array.astype(np.float64), wanted.astype(np.float64)
    return np.allclose(array, wanted, max(rtol, 1e-4), max(atol, 1e-5), equal_nan=True)


def judged(case):
    """One word: what became of a node test."""
    if lacks_type(case):
        return "no type"
    try:
        module = spa.torch.load(case.model)
    except ReadError as error:
        missing = [op for op in NOT_LOADED if str(error).startswith(f"{op} node")]
        return "not loaded" if missing else f"refused: {error}"
    if OLD_STANDARD and any(word in case.name for word in MENDED):
        return "mended since"
    if case.name.startswith(RANDOM):
        return "random"
    for inputs, outputs in case.data_sets:
        names = [info.name for info in case.model.graph.input]
        feeds = {n: fed(value(v)) for n, v in zip(names, inputs, strict=False)}
        with torch.no_grad():
            found = module.run(feeds)
        for each, wanted in zip(found.values(), outputs, strict=True):
            if not same(each, value(wanted), case.rtol, case.atol):
                return "other value"
    return "as expected"


def test_every_version_has_a_function():
    """Of an operator that has one, from opset 7 on; what is converted has no older ones."""
    registry.imported()
    gaps = [
        (schema.name, schema.since_version)
        for schema in onnx.defs.get_all_schemas_with_history()
        if (schema.domain, schema.name) in registry.OPERATORS
        and (schema.domain or schema.since_version >= 7)
        and not schema.deprecated
        and registry.find(schema.domain, schema.name, schema.since_version) is None
    ]
    assert gaps == []


def test_attributes_have_the_defaults_of_the_standard():
    registry.imported()
    for schema in onnx.defs.get_all_schemas_with_history():
        operator = registry.find(schema.domain, schema.name, schema.since_version)
        if operator is None or schema.deprecated or schema.since_version < 7:
            continue
        try:
            parameters = inspect.signature(operator.function).parameters
        except ValueError:
            assert not schema.attributes.keys() - {"axis", "broadcast"}, schema.name
            continue
        missing = schema.attributes.keys() - parameters.keys()
        assert not missing, (schema.name, schema.since_version, missing)
        for name, attribute in schema.attributes.items():
            stated = attribute.default_value
            if not stated.name or name not in parameters:
                continue
            wanted = onnx.helper.get_attribute_value(stated)
            wanted = wanted.decode() if isinstance(wanted, bytes) else wanted
            found = parameters[name].default
            if found is inspect.Parameter.empty or found is None:
                continue
            if isinstance(wanted, float):
                assert found == pytest.approx(wanted, rel=1e-6), (schema.name, name)
            elif not isinstance(wanted, list | tuple) and (wanted, found) != RENAMED:
                assert found == wanted, (schema.name, schema.since_version, name)


def test_what_is_listed_without_torch_is_what_there_is():
    registry.imported()
    assert registry.listed().keys() == registry.OPERATORS.keys()


def test_node_tests():
    """All that can be: what is not is of an operator, or a type, that is listed above."""
    found = {case.name: judged(case) for case in cases()}
    wrong = {
        name: word
        for name, word in found.items()
        if word not in ("as expected", "not loaded", "no type", "random", "mended since")
    }
    assert not wrong
    counts = Counter(found.values())
    judgeable = len(found) - counts["no type"] - counts["mended since"]
    assert counts["as expected"] > 0.95 * judgeable
