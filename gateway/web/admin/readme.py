"""A chart's README as HTML that can do nothing: Markdown without HTML, then an allow-list on top of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

READ_CHARACTERS: Final = 64 * 1024
_HTML_BYTES: Final = 72 * 1024
_MOST_LINKED: Final = 256 * 1024  # of one address that a thousand links share
_TAGS: Final = frozenset(
    {"h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "ul", "ol", "li", "blockquote", "pre", "code", "a"}
    | {"strong", "em", "s", "table", "thead", "tbody", "tr", "th", "td"}
)
_ATTRIBUTES: Final = {
    "a": {"href", "title"},
    "ol": {"start"},
    **{f"h{level}": {"id"} for level in range(2, 7)},
}
_SCHEMES: Final = frozenset({"http", "https", "mailto"})
_LEADS_OUT = re.compile(r"(?:https?://|mailto:)[^\s]+", re.ASCII | re.IGNORECASE)
_PREFIX: Final = "readme-"
_NOT_IN_SLUGS = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Readme:
    """``is_cut``: there is more of it than is shown."""

    html: str
    is_cut: bool


def render(text: str) -> Readme:
    """The first 64 KiB of a README, whole blocks up to 72 KiB of HTML; for a thread: it takes its time."""
    shown = text[:READ_CHARACTERS]
    if len(shown) < len(text):
        shown = shown.rpartition("\n")[0] or shown
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    tokens = _tamed(markdown.parse(shown))
    pieces: list[str] = []
    left, is_cut = _HTML_BYTES, len(shown) < len(text)
    for block in _blocks(tokens):
        if _linked(block) > _MOST_LINKED:
            is_cut = True
            break
        piece = _clean(str(markdown.renderer.render(block, markdown.options, {})))
        left -= len(piece.encode())
        if left < 0:
            is_cut = True
            break
        pieces.append(piece)
    return Readme("".join(pieces), is_cut)


def _clean(html: str) -> str:
    return nh3.clean(
        html,
        tags=set(_TAGS),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        url_schemes=set(_SCHEMES),
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"pre": {"tabindex": "0"}},  # long lines are scrolled, also by keyboard
    )


def _blocks(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """A document's own blocks: what each opens, it closes."""
    begin = depth = 0
    for place, token in enumerate(tokens, start=1):
        depth += token.nesting
        if depth == 0:
            yield tokens[begin:place]
            begin = place


def _linked(tokens: Sequence[Token]) -> int:
    """How long all addresses and titles are when each is written where it is used."""
    return sum(
        len(str(value))
        for token in tokens
        for child in token.children or ()
        for value in child.attrs.values()
    )


def _tamed(tokens: list[Token]) -> list[Token]:
    """Headings go one level down and get names; images become links, links that lead nowhere text."""
    taken: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + 1, 6)}"
        if token.type == "heading_open":
            token.attrSet("id", _PREFIX + _slug(tokens[place + 1].content, taken))
        if token.children:
            token.children = list(_tamed_text(token.children))
    return tokens


def _tamed_text(tokens: Sequence[Token]) -> Iterator[Token]:
    inside: list[bool] = []  # links around: whether each leads anywhere
    for token in tokens:
        if token.type == "link_open":
            inside.append(_led(token))
            if not inside[-1]:
                continue
        elif token.type == "link_close":
            if not inside.pop():
                continue
        elif token.type == "image":
            yield from _as_link(token, is_inside_link=bool(inside))
            continue
        yield token


def _led(link: Token) -> bool:
    """Whether a link leads to somewhere else, or to a heading; a path would lead to a page of ours."""
    address = str(link.attrs.get("href", ""))
    if address.startswith("#"):
        link.attrSet("href", f"#{_PREFIX}{address[1:]}")
        return True
    return _LEADS_OUT.fullmatch(address) is not None


def _as_link(image: Token, *, is_inside_link: bool) -> Iterator[Token]:
    text = Token("text", "", 0, content=image.content or "image")
    address = str(image.attrs.get("src", ""))
    if is_inside_link or not _LEADS_OUT.fullmatch(address):
        yield text
        return
    yield Token("link_open", "a", 1, attrs={"href": address})
    yield text
    yield Token("link_close", "a", -1)


def _slug(heading: str, taken: dict[str, int]) -> str:
    """As GitHub makes them, so that a table of contents leads to its headings."""
    slug = _NOT_IN_SLUGS.sub("", heading[:200].lower()).strip().replace(" ", "-")
    count = taken.get(slug, 0)
    taken[slug] = count + 1
    return f"{slug}-{count}" if count else slug
