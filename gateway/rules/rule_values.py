"""Reads what stands on rules, and what hides tags: each reader gives a value or raises Unreadable."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from gateway.helm.ranges import RangeError, VersionRange, parse_range
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.reference import is_tag
from gateway.oci.target import Target
from gateway.rules.patterns import Pattern, PatternError, Subject, parse_pattern
from gateway.rules.problems import Fault, Unreadable, unreadable
from gateway.rules.spelling import nearest
from gateway.rules.tree import MappingNode, Node, Place, ScalarNode, SequenceNode
from gateway.rules.values import CONTROLS, MAX_HOST_LENGTH, read_each, scalar, some_of

REFUSALS: Final = (ErrorCode.DENIED.value, ErrorCode.NAME_UNKNOWN.value)
_MAX_NAME: Final = 200
_MAX_CHANNELS: Final = 1000
_MAX_TAG_PATTERNS: Final = 100
_REQUEST_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f.]*:[0-9a-f.]*:[0-9a-f:.]*", re.ASCII)
_TAG_PATTERN: Final = re.compile(r"[A-Za-z0-9._*-]{1,200}", re.ASCII)

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class TagPatterns:
    """Globs of tags: those that are let through, all where there is none, but for those denied."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """Targets in order, or the code of the refusal that is expected."""

    targets: tuple[str, ...] = ()
    refusal: str | None = None


def fault_at(node: ScalarNode, offset: int, message: str, hint: str | None) -> Fault:
    """A fault inside a text, as far as that is written on one line, as it is read."""
    quote = 0 if node.is_plain else 1
    return Fault(Place(node.place.line, node.place.column + quote + offset), message, hint)


def rule_name(node: Node) -> str:
    text = scalar(node, "a name").text
    if not text.strip() or len(text) > _MAX_NAME or CONTROLS.search(text):
        raise unreadable(node, f"expected a name of one line, at most {_MAX_NAME} characters")
    return text


def pattern(subject: Subject) -> Callable[[Node], Pattern]:
    """A glob, or after ``~`` a regular expression."""

    def read(node: Node) -> Pattern:
        found = scalar(node, "a pattern")
        try:
            return parse_pattern(found.text, subject)
        except PatternError as error:
            raise Unreadable(fault_at(found, error.offset, str(error), error.hint)) from error

    return read


def one_or_more(node: Node) -> tuple[ScalarNode, ...]:
    """Targets as they stand: what they may be shows with the rule's patterns."""
    if not isinstance(node, SequenceNode):
        return (scalar(node, "a target, or a list of targets"),)
    if not node.items:
        raise unreadable(node, "expected a list of at least one")
    found = tuple(scalar(item, "a target") for item in node.items)
    by_text: dict[str, ScalarNode] = {}
    for one in found:
        if by_text.setdefault(one.text, one) is not one:
            raise unreadable(one, "the same stands twice in this list", "remove one of them")
    return found


def version_range(node: Node) -> VersionRange:
    """A SemVer range as Helm reads it; a number without quotes is a range too."""
    found = scalar(node, "a range of versions")
    try:
        return parse_range(found.text)
    except RangeError as error:
        raise unreadable(
            node, f"no range of versions: {error}", 'such as ">=1.2 <2", "^1.2" or "5.x"'
        ) from error


def tag_patterns(node: Node) -> TagPatterns:
    """``{allow: […], deny: […]}``."""
    found = TagPatterns()
    faults: list[Fault] = []
    for key, value in members(node, "{allow: [patterns], deny: [patterns]}"):
        try:
            match key.text:
                case "allow":
                    found = replace(found, allow=tag_list(value))
                case "deny":
                    found = replace(found, deny=tag_list(value))
                case _:
                    faults.append(unknown_key(key, ("allow", "deny")))
        except Unreadable as error:
            faults.extend(error.faults)
    if faults:
        raise Unreadable(*faults)
    return found


def tag_list(node: Node) -> tuple[str, ...]:
    found = some_of(_tag_pattern)(node)
    if len(found) > _MAX_TAG_PATTERNS:
        raise unreadable(node, f"more than {_MAX_TAG_PATTERNS} patterns")
    return found


def channels(node: Node) -> Mapping[str, VersionRange]:
    """Tags, and the range whose newest version each means."""
    found: dict[str, VersionRange] = {}
    faults: list[Fault] = []
    pairs = members(node, "tags and ranges")
    if len(pairs) > _MAX_CHANNELS:
        raise unreadable(node, f"more than {_MAX_CHANNELS} channels")
    for key, value in pairs:
        if not is_tag(key.text):
            faults.append(Fault(key.place, f"{key.text[:140]!r} is no tag", "letters, digits and . _ -"))
        try:
            found[key.text] = version_range(value)
        except Unreadable as error:
            faults.extend(error.faults)
    if faults:
        raise Unreadable(*faults)
    return found


def expected(node: Node) -> Expected:
    """What a test expects: a target, targets in order, or the code of a refusal."""
    nodes = one_or_more(node)
    if len(nodes) == 1 and nodes[0].text in REFUSALS:
        return Expected(refusal=nodes[0].text)
    return Expected(read_each(nodes, _target))


def name_asked(node: Node) -> str:
    found = scalar(node, "a name that a client asks for")
    try:
        return Target.parse(found.text).repository.name
    except OciError as error:
        raise unreadable(
            node, f"no name: {error.message}", "such as argo/argo-cd, without tag or oci://"
        ) from error


def host_asked(node: Node) -> str:
    text = scalar(node, "a host").text
    if len(text) > MAX_HOST_LENGTH or not _REQUEST_HOST.fullmatch(text):
        raise unreadable(node, "expected the host of a request, in lower case, without port")
    return text


def members(node: Node, wanted: str) -> tuple[tuple[ScalarNode, Node], ...]:
    """The entries of a small mapping; a key that stands twice is told."""
    if not isinstance(node, MappingNode):
        raise unreadable(node, f"expected {wanted}")
    seen: set[str] = set()
    for key, _ in node.entries:
        if key.text in seen:
            raise unreadable(key, f"{key.text[:100]!r} stands twice", "remove one of them")
        seen.add(key.text)
    return node.entries


def unknown_key(key: ScalarNode, known: tuple[str, ...]) -> Fault:
    near = nearest(key.text, known)
    hint = f"did you mean {near}?" if near else "known here: " + ", ".join(known)
    return Fault(key.place, f"unknown key {key.text[:100]!r}", hint)


def _target(node: Node) -> str:
    try:
        return str(Target.parse(scalar(node, "a target").text))
    except OciError as error:
        raise unreadable(
            node, f"no target: {error.message}", f"or, for a refusal, {' or '.join(REFUSALS)}"
        ) from error


def _tag_pattern(node: Node) -> str:
    text = scalar(node, "a pattern of tags").text
    if not _TAG_PATTERN.fullmatch(text):
        raise unreadable(node, "expected a glob of tags: letters, digits, . _ - and *", 'such as "*-rc*"')
    return text
