"""How asking a source can fail; everything below the verbs speaks these."""

from dataclasses import dataclass, field
from typing import TypeGuard


@dataclass(eq=False)
class Outcome(Exception):
    """``message`` says what was asked and what came back, fit for a client: no stack, no credential.

    ``tried`` are the sources it comes from, each with what it said, where a chain was asked.
    """

    message: str
    tried: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        super().__init__(self.message)


class Missing(Outcome):
    """A definite «not there»: the source answered, and has it not."""


class MissingName(Missing):
    """Not even the repository is there."""


class Withheld(MissingName):
    """Refused to who has no credentials: not there, or not for us. What is held is not deleted by it."""


@dataclass(eq=False)
class UnknownHost(MissingName):
    """The host does not resolve, or resolves to what we do not dial: clients are never told which."""

    is_refused: bool = False  # for our own decisions alone


class Skipped(Outcome):
    """A source that is not for this route, or must not be asked: as if it were not in the chain."""


class NotThisKind(Skipped):
    """The host is none of the kind that this source asks: nothing anybody has to be told."""


class Denied(Outcome):
    """A policy of ours, or credentials of ours that the upstream refused, say no."""


@dataclass(eq=False)
class Unavailable(Outcome):
    """Nobody could answer: down, slow, or limiting us. Never reads as «not there»."""

    retry_after_seconds: int | None = None
    is_rate_limited: bool = False


@dataclass(eq=False)
class Corrupt(Outcome):
    """An answer came, and its bytes are wrong; ``reason`` is one word for programs."""

    reason: str = "corrupt"


def is_deletion(error: Exception) -> TypeGuard[Missing]:
    """Whether upstream itself says that what it had is gone, and not its host, or our lack of a login."""
    return isinstance(error, Missing) and not isinstance(error, UnknownHost | Withheld)
