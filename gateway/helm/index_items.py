"""Cut the items of some versions out of a chart's block: a thousand versions need not be parsed for one.

An item that has a version has its text somewhere, as a word of its own, unless it is written with escapes or
is an alias. So every item with that word is cut, proven to be an item as a chart's key is proven to be a key,
and parsed; the others cannot have the version.
"""

import re
from collections.abc import Iterator
from typing import Final

from gateway.helm.index_cut import Block, NotQuick, ends_for_sure
from gateway.helm.index_quotes import is_outside_quotes

_VERSION = re.compile(r"[0-9A-Za-z_+.-]+")
_IN_WORD: Final = rb"[0-9A-Za-z_+.-]"
_ESCAPE = re.compile(rb"\\[xuU\r\n]")  # in double quotes these may make, or join, what a version consists of
_ALIAS = re.compile(rb"\*(?<![0-9A-Za-z_./)*\]]\*)[0-9A-Za-z_-]")
_MOST_PLACES: Final = 50


def cut_items(content: bytes, block: Block, versions: frozenset[str]) -> list[bytes]:
    """Return the lines of every item of ``block`` that may have one of ``versions``, in their order.

    Raise NotQuick where that cannot be proven: then parse the block. An item is right if it parses alone.
    """
    if _ALIAS.search(content, block.start, block.end):
        raise NotQuick("an alias may stand for a version")
    if not ends_for_sure(content, block):
        raise NotQuick("the chart may go on elsewhere")
    ends = {_item_start(content, block, place): place for place in _places(content, block, versions)}
    return [content[start : _item_end(content, block, place)] for start, place in sorted(ends.items())]


def _places(content: bytes, block: Block, versions: frozenset[str]) -> list[int]:
    places: list[int] = []
    for word in _words(versions):
        for match in word.finditer(content, block.start, block.end):
            places.append(match.start())
            if len(places) > _MOST_PLACES:
                raise NotQuick("the versions stand in many places")
    return places


def _words(versions: frozenset[str]) -> Iterator[re.Pattern[bytes]]:
    yield _ESCAPE
    for version in versions:
        if _VERSION.fullmatch(version):  # no other text is a version
            word = re.escape(version.encode())
            yield re.compile(rb"%b(?!%b)(?<!%b%b)" % (word, _IN_WORD, _IN_WORD, word))


def _item_start(content: bytes, block: Block, place: int) -> int:
    dash = b"\n%b-" % (b" " * block.item_indent)
    start = content.rfind(dash, block.start - 1, place) + 1
    if content[start + block.item_indent + 1] not in b" \r\n" or not is_outside_quotes(content, start):
        raise NotQuick("an item may stand inside quotes")
    return start


def _item_end(content: bytes, block: Block, place: int) -> int:
    next_item = re.compile(rb"\n(?= {0,%d}[^ \r\n#])" % block.item_indent)
    end = next_item.search(content, place, block.end)
    return block.end if end is None else end.start() + 1
