"""Nodes of a file as rules see nodes."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import NodeProto, helper

from spa.graph.model import Attributes
from spa.rules import TRAITS, Trait, trait_of


@dataclass(frozen=True)
class View:
    """A node of a file (see `spa.graph.model.NodeLike`)."""

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Attributes


def view_of(node: NodeProto) -> View:
    """A node of a file as a rule sees it; bodies and tensors stay what they are in the file."""
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.ref_attr_name == ""}
    domain = "" if node.domain == "ai.onnx" else node.domain
    return View(node.op_type, domain, tuple(node.input), tuple(node.output), attrs)


def trait_at(node: NodeProto) -> Trait:
    """What a node of a file is like."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    return trait_of(view_of(node)) if (domain, node.op_type) in TRAITS else Trait()
