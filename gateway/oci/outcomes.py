"""How asking a source can fail; everything below the verbs speaks these four."""

from dataclasses import dataclass


@dataclass(eq=False)
class Outcome(Exception):
    """``message`` says what was asked and what came back, fit for a client: no stack, no credential."""

    message: str

    def __post_init__(self) -> None:
        super().__init__(self.message)


class Missing(Outcome):
    """A definite «not there»: the source answered, and has it not."""


class MissingName(Missing):
    """Not even the repository is there."""


class UnknownHost(MissingName):
    """The host does not resolve, or resolves to what we do not dial: clients are never told which."""


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
