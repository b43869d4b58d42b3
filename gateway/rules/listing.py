"""The rules of a text as a list to look at: each as it is written, found by its words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.rules.identity import patterns_key
from gateway.rules.layout import Layout, Meaning
from gateway.rules.rule_text import rule_text


@dataclass(frozen=True, slots=True)
class RuleRow:
    """``number`` and ``line`` count from 1; what is not said is empty."""

    number: int
    line: int
    name: str
    host: str
    repository: str
    rewrite: Sequence[str]
    is_enabled: bool
    is_denied: bool

    @property
    def key(self) -> str:
        return patterns_key(self.host, self.repository)

    def has(self, words: Sequence[str]) -> bool:
        """Whether each of these, in lower case, is in it somewhere."""
        said = "\n".join((self.name, self.host, self.repository, *self.rewrite)).lower()
        return all(word in said for word in words)


@dataclass(frozen=True, slots=True)
class Listing:
    layout: Layout
    rows: Sequence[RuleRow]

    def yaml(self, number: int) -> str:
        """The text of one rule."""
        return str(rule_text(self.layout, self.layout.entries[number - 1]))


def list_rules(layout: Layout) -> Listing:
    return Listing(layout, tuple(_rows(layout)))


def _rows(layout: Layout) -> Iterator[RuleRow]:
    for number, entry in enumerate(layout.entries, start=1):
        said = dict(entry.entries)
        yield RuleRow(
            number=number,
            line=entry.line,
            name=_one(said.get("name")) or f"rule {number}",
            host=_one(said.get("host")),
            repository=_one(said.get("repository")),
            rewrite=_all(said.get("rewrite", ())),
            is_enabled=_one(said.get("enabled")).lower() != "false",
            is_denied="deny" in said,
        )


def _one(meaning: Meaning | None) -> str:
    return "" if not meaning else next(iter(_all(meaning)), "")


def _all(meaning: Meaning) -> tuple[str, ...]:
    """The texts in a scalar, or in a list of them."""
    return tuple(word[1:] for word in meaning if word[0] in "=-")
