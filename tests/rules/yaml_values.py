"""YAML as editors read it before they compare it with a schema: values of JSON, by YAML's core schema."""

import re
from typing import TypeAlias

from gateway.rules.tree import MappingNode, Node, ScalarNode, parse_tree

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def json_of(text: str) -> Json:
    return _json(parse_tree(text))


def _json(node: Node) -> Json:
    if isinstance(node, MappingNode):
        return {key.text: _json(value) for key, value in node.entries}
    return _scalar(node) if isinstance(node, ScalarNode) else [_json(item) for item in node.items]


def _scalar(node: ScalarNode) -> Json:
    if not node.is_plain:
        return node.text
    if node.is_null:
        return None
    if node.text in _BOOLEANS:
        return _BOOLEANS[node.text]
    if _INTEGER.fullmatch(node.text):
        return int(node.text)
    return float(node.text) if _FLOAT.fullmatch(node.text) else node.text
