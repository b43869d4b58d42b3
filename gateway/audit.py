"""The audit: what was done at the admin's desk, by whom and when; lines are added, and nothing else."""

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.store.admin_book import AdminBook
from gateway.store.admin_rows import AuditEntry, Deed


class Note(Protocol):
    """Notes a deed; raise StorageFailed where it cannot be."""

    async def __call__(self, actor: str, action: str, subject: str, detail: str = "") -> None: ...


class AuditDesk:
    """``now`` gives seconds since the epoch."""

    def __init__(self, book: AdminBook, now: Callable[[], float]) -> None:
        self._book = book
        self._now = now

    async def note(self, actor: str, action: str, subject: str, detail: str = "") -> None:
        await self._book.note(Deed(actor, action, subject, detail), self._now())

    async def entries(self, before: int | None = None, limit: int = 50) -> Sequence[AuditEntry]:
        """Those with a number below ``before``, newest first."""
        return await self._book.audited(before, limit)
