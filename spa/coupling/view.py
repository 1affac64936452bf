"""Nodes of a file as rules see nodes."""

from __future__ import annotations

from onnx import NodeProto, helper

from spa.graph.model import Node
from spa.rules import TRAITS, Trait, trait_of


def view_of(node: NodeProto) -> Node:
    """A node of a file, of no graph; bodies and tensors stay what they are in the file."""
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.ref_attr_name == ""}
    domain = "" if node.domain == "ai.onnx" else node.domain
    tensors = tuple(node.input), tuple(node.output)
    return Node(-1, node.op_type, domain, 0, node.name, *tensors, attrs)


def trait_at(node: NodeProto) -> Trait:
    """What a node of a file is like."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    return trait_of(view_of(node)) if (domain, node.op_type) in TRAITS else Trait()
