"""What the values of rules.yaml may be: each reader gives a value or raises Unreadable."""

import math
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TypeVar

from gateway.oci.errors import OciError
from gateway.oci.repository import Repository
from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.rules.model import SecretName, SecretOrigin, usual_url
from gateway.rules.problems import Fault, Unreadable, unreadable
from gateway.rules.quantities import parse_duration
from gateway.rules.spelling import nearest
from gateway.rules.tree import Node, ScalarNode, SequenceNode

SECRET_PREFIX = "GATEWAY_SECRET_"  # noqa: S105 (a prefix of names, no secret)
_MAX_LENGTH = 8192
MAX_HOST_LENGTH = 253
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST_NAME = re.compile(_HOST)
_PATTERN_LABEL = r"[a-z0-9_-]*\*?[a-z0-9_-]*"
_HOST_PATTERN = re.compile(rf"(?!\.)(?!.*\.\.)(?!.*\.$){_PATTERN_LABEL}(?:\.{_PATTERN_LABEL})+")
_KEY = re.compile(rf"{_HOST}(?::[1-9][0-9]{{0,4}})?(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_VARIABLE = re.compile(rf"{SECRET_PREFIX}[A-Z0-9_]{{1,200}}")
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

Value = TypeVar("Value")
Choice = TypeVar("Choice", bound=StrEnum)


def scalar(node: Node, expected: str) -> ScalarNode:
    if not isinstance(node, ScalarNode) or node.is_null:
        raise unreadable(node, f"expected {expected}")
    if len(node.text) > _MAX_LENGTH:
        raise unreadable(node, f"expected {expected}, of at most {_MAX_LENGTH} characters")
    return node


def boolean(node: Node) -> bool:
    found = scalar(node, "true or false")
    if not found.is_plain or found.text not in _BOOLEANS:
        raise unreadable(node, "expected true or false", "without quotes")
    return _BOOLEANS[found.text]


def duration(node: Node) -> float:
    """Seconds."""
    try:
        return parse_duration(scalar(node, "a duration").text)
    except Unreadable:
        raise
    except ValueError as error:
        raise unreadable(node, str(error)) from error


def duration_or_forever(node: Node) -> float:
    """Seconds; without end for ``forever``."""
    if scalar(node, "a duration, or forever").text == "forever":
        return math.inf
    try:
        return duration(node)
    except Unreadable as error:
        raise unreadable(node, f"{error}, or forever") from error


def message(node: Node) -> str:
    """A line for people; a bare ``true`` or an empty value is taken for a mistake."""
    found = scalar(node, "a message")
    if found.is_plain and found.text in _BOOLEANS:
        raise unreadable(node, "expected a message: what the client is told")
    if not found.text.strip() or len(found.text) > 500 or CONTROLS.search(found.text):
        raise unreadable(node, "expected a message of one line, at most 500 characters")
    return found.text


def version_one(node: Node) -> int:
    if scalar(node, "1").text != "1":
        raise unreadable(node, "this gateway reads version 1")
    return 1


def choice(kind: type[Choice]) -> Callable[[Node], Choice]:
    """One word of ``kind``."""
    words = [str(word) for word in kind]

    def read(node: Node) -> Choice:
        text = scalar(node, " or ".join(words)).text
        if text in words:
            return kind(text)
        near = nearest(text, words)
        raise unreadable(node, f"expected {' or '.join(words)}", f"did you mean {near}?" if near else None)

    return read


def list_of(read_item: Callable[[Node], Value]) -> Callable[[Node], tuple[Value, ...]]:
    """Every bad item is told, not only the first."""

    def read(node: Node) -> tuple[Value, ...]:
        if not isinstance(node, SequenceNode):
            raise unreadable(node, "expected a list", "write it as [one, two]")
        return read_each(node.items, read_item)

    return read


def read_each(nodes: Iterable[Node], read_item: Callable[[Node], Value]) -> tuple[Value, ...]:
    """The values of all, or the faults of all."""
    values: list[Value] = []
    faults: list[Fault] = []
    for node in nodes:
        try:
            values.append(read_item(node))
        except Unreadable as error:
            faults.extend(error.faults)
    if faults:
        raise Unreadable(*faults)
    return tuple(values)


def some_of(read_item: Callable[[Node], Value]) -> Callable[[Node], tuple[Value, ...]]:
    """A list of at least one thing, and of none twice."""
    read_list = list_of(read_item)

    def read(node: Node) -> tuple[Value, ...]:
        values = read_list(node)
        if not values:
            raise unreadable(node, "expected a list of at least one")
        if len(set(values)) < len(values):
            raise unreadable(node, "the same stands twice in this list", "remove one of them")
        return values

    return read


def url(node: Node) -> HttpUrl:
    """The base of an upstream: no query, since paths are put after it."""
    try:
        found = parse_upstream_url(scalar(node, "a URL").text)
    except UrlError as error:
        raise unreadable(
            node, f"no usable URL: {error}", "such as https://charts.example.com/stable"
        ) from error
    if found.query is not None:
        raise unreadable(node, "no usable URL: a query may not stand here")
    return found


def upstream_key(node: ScalarNode) -> HttpUrl:
    """Where a key of ``upstreams`` is dialled unless ``url`` says otherwise."""
    text = scalar(node, "a host").text
    hint = "host[:port][/path], in lower case, such as charts.example.com/stable"
    if "://" in text:
        raise unreadable(
            node, "a key has no scheme", f"write {text.partition('://')[2]}; a url may stand below it"
        )
    if "*" in text:
        raise unreadable(node, "a key is one host, not a pattern", hint)
    if not _KEY.fullmatch(text):
        raise unreadable(node, "no host, or no place on one", hint)
    try:
        found = parse_upstream_url(f"https://{text}")
    except UrlError as error:
        raise unreadable(node, f"no host, or no place on one: {error}", hint) from error
    if found.place != text:
        raise unreadable(node, "another spelling of a shorter key", f"write {found.place}")
    return usual_url(text)


def host(node: Node) -> str:
    text = scalar(node, "a host").text
    if len(text) > MAX_HOST_LENGTH or not _HOST_NAME.fullmatch(text):
        raise unreadable(node, "expected a host in lower case, without scheme, port or path")
    return text


def chartproxy(node: Node) -> str:
    """The place that plays the chart proxy: its host, and a path where it has one."""
    text = scalar(node, "a host").text
    try:
        return Repository.parse(text).name
    except OciError as error:
        hint = "such as chartproxy.example.com; for a port, give it a key under upstreams, with a url"
        raise unreadable(node, "expected a host, in lower case, without scheme or port", hint) from error


def host_pattern(node: Node) -> str:
    text = scalar(node, "a host").text
    if len(text) <= MAX_HOST_LENGTH and (_HOST_NAME.fullmatch(text) or _HOST_PATTERN.fullmatch(text)):
        return text
    raise unreadable(
        node, "expected a host such as charts.example.com or *.example.com", "at most one * a label"
    )


def file_name(node: Node) -> str:
    text = scalar(node, "a file name").text
    if not _FILE_NAME.fullmatch(text):
        raise unreadable(node, "expected the name of a file in SECRETS_DIR", "a name only, without folders")
    return text


def secret_variable(node: Node) -> SecretName:
    text = scalar(node, "the name of an environment variable").text
    if not _VARIABLE.fullmatch(text):
        raise unreadable(
            node, f"expected the name of an environment variable that starts with {SECRET_PREFIX}"
        )
    return SecretName(SecretOrigin.ENVIRONMENT, text)


def secret_file(node: Node) -> SecretName:
    return SecretName(SecretOrigin.FILE, file_name(node))
