"""Reads what stands on ``sync:`` lists: each reader gives a value or raises Unreadable."""

import re
from typing import Final

from gateway.oci.errors import OciError
from gateway.oci.repository import Repository
from gateway.rules.patterns import Pattern, Subject
from gateway.rules.problems import unreadable
from gateway.rules.rule_values import TagPatterns, pattern, tag_list, tag_patterns
from gateway.rules.tree import Node, SequenceNode
from gateway.rules.values import CONTROLS, duration, scalar, some_of

MAX_NAME: Final = 100
MAX_NEWEST: Final = 1000
MIN_INTERVAL_SECONDS: Final = 60
_STAND_IN: Final = "x"
_NEWEST: Final = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_PLATFORM: Final = re.compile(r"[a-z0-9]{1,30}/[a-z0-9_]{1,30}(?:/[a-z0-9.]{1,30})?", re.ASCII)


def list_name(node: Node) -> str:
    text = scalar(node, "a name").text
    if not text.strip() or len(text) > MAX_NAME or CONTROLS.search(text):
        raise unreadable(node, f"expected a name of one line, at most {MAX_NAME} characters")
    return text


def interval(node: Node) -> float:
    seconds = duration(node)
    if seconds < MIN_INTERVAL_SECONDS:
        raise unreadable(node, "a list is brought up to date once a minute at the most", "such as 6h")
    return seconds


def repository(node: Node) -> Pattern:
    """A name, or a glob that begins with at least one whole segment: else it would be half of the world."""
    text = scalar(node, "a repository").text
    if text.startswith("~"):
        raise unreadable(
            node, "names cannot be listed by a regular expression", 'write a glob such as "argo/*"'
        )
    found = pattern(Subject.REPOSITORY)(node)
    if "*" in text.partition("/")[0]:
        raise unreadable(
            node, "a glob begins with one whole segment at least", 'such as "argo/*" or "quay.io/argoproj/**"'
        )
    _check_name(node, text)
    return found


def shown_tags(node: Node) -> TagPatterns:
    """``{allow: […], deny: […]}``; a bare list is what is allowed."""
    if isinstance(node, SequenceNode):
        return TagPatterns(allow=tag_list(node))
    return tag_patterns(node)


def newest(node: Node) -> int:
    found = scalar(node, "a number")
    if not found.is_plain or not _NEWEST.fullmatch(found.text) or int(found.text) > MAX_NEWEST:
        raise unreadable(node, f"expected a whole number from 1 to {MAX_NEWEST}")
    return int(found.text)


def platforms(node: Node) -> frozenset[str]:
    return frozenset(some_of(_platform)(node))


def _check_name(node: Node, text: str) -> None:
    try:
        Repository.parse_with_port(text.replace("**", _STAND_IN).replace("*", _STAND_IN))
    except OciError as error:
        is_tagged = ":" in text.rpartition("/")[2]
        hint = "a tag stands under `tags`" if is_tagged else "such as argo/argo-cd or docker.io/library/nginx"
        raise unreadable(node, "no repository has a name like this", hint) from error


def _platform(node: Node) -> str:
    text = scalar(node, "a platform").text
    if not _PLATFORM.fullmatch(text):
        raise unreadable(
            node, "expected a platform: os/architecture, or os/architecture/variant", "such as linux/arm64"
        )
    return text
