"""The rule book: rules.yaml as it was after each change, and what is wrong with a gateway's file now."""

from collections.abc import Collection

from gateway.store import rule_book_queries as queries
from gateway.store.engine import Engines
from gateway.store.revisions import Draft, Revision, RevisionHead, RevisionOrigin, RulesTrouble


class RuleBook:
    """Revisions count 1, 2, 3 … without gaps, none is ever changed; errors of the database are StorageFailed.

    ``origins`` narrows what is looked at; without it all are. The engines are those that
    ``DataDir.open_rule_engines`` opens: what is made stays made.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def newest(self, origins: Collection[RevisionOrigin] | None = None) -> Revision | None:
        return await self._engines.ask(queries.newest, origins)

    async def newest_number(self, origins: Collection[RevisionOrigin] | None = None) -> int:
        """The newest revision's number, 0 where there is none; cheap enough to be asked all the time."""
        return await self._engines.ask(queries.newest_number, origins)

    async def standing(
        self, origins: Collection[RevisionOrigin] | None, instance: str
    ) -> tuple[int, RulesTrouble | None]:
        """The newest revision's number, and what is wrong with the rules file of a gateway."""
        return await self._engines.ask(queries.standing, origins, instance)

    async def find(self, number: int) -> Revision | None:
        return await self._engines.ask(queries.find, number)

    async def history(self, before: int | None = None, limit: int = 50) -> list[RevisionHead]:
        """Revisions with a number below ``before``, newest first, ``limit`` at most."""
        return await self._engines.ask(queries.history, before, limit)

    async def add(self, draft: Draft, made_at: float, *, expected: int | None = None) -> Revision:
        """Make a revision; raise Outdated where ``expected`` is not the newest number (0: there is none)."""
        return await self._engines.tell(queries.add, draft, made_at, expected)

    async def take_in_file(self, draft: Draft, made_at: float, *, only_as_seed: bool) -> Revision | None:
        """Make a revision of the file where its bytes differ from the newest one of a file; else None.

        ``only_as_seed``: only where there is no revision at all. Of several who take the same file in at
        once one makes a revision.
        """
        command = queries.seed if only_as_seed else queries.take_in_file
        return await self._engines.tell(command, draft, made_at)

    async def note_trouble(self, instance: str, message: str | None, since: float) -> None:
        """Note what is wrong with the rules file of a gateway, in place of what was; None: nothing is."""
        await self._engines.tell(queries.note_trouble, instance, message, since)

    async def trouble(self, instance: str) -> RulesTrouble | None:
        return await self._engines.ask(queries.trouble, instance)
