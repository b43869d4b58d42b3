"""Rules that change while requests run: the file is watched, and every worker follows the newest revision."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import structlog
from anyio import to_thread

from gateway.oci.digest import Digest
from gateway.oci.target import Target
from gateway.rule_revisions import InForce, RuleDesk, RulesFileError
from gateway.rules.model import RuleSet
from gateway.rules.problems import RulesError
from gateway.rules.route import Routing, Wanted, is_open_to_all, route
from gateway.store import private_targets
from gateway.store.blobs import StorageFailed
from gateway.store.rule_book import RuleBook

log = structlog.get_logger(__name__)

_ROUTES: Final = 10_000
FOLLOW_SECONDS: Final = 0.5
_AGAIN_SECONDS: Final = 30.0  # so often what cannot be used is tried again: a secret may be there by then
_LOOK_SECONDS: Final = 0.25
_STILL_SECONDS: Final = 0.25  # a file that was not written to for so long is whole

_Mark = tuple[int, ...]


class Switch:
    """Routes by the rules in force. They are swapped whole: a routing keeps the rules that it is of."""

    def __init__(self, in_force: InForce) -> None:
        self.put(in_force)

    @property
    def in_force(self) -> InForce:
        return self._in_force

    def put(self, in_force: InForce) -> None:
        self._in_force = in_force
        self._route = lru_cache(_ROUTES)(partial(route, in_force.rule_set))

    def tell(self, trouble: str | None) -> None:
        """Note what is wrong with something newer; the rules stay."""
        self._in_force = replace(self._in_force, trouble=trouble)

    def rule_set(self) -> RuleSet:
        return self._in_force.rule_set

    def router(self) -> Callable[[Wanted], Routing]:
        """How the rules of this moment route; whoever has it routes by them for as long as it likes."""
        return self._route


class Follower:
    """Keeps a worker's rules those of the newest revision that counts."""

    def __init__(
        self, desk: RuleDesk, switch: Switch, instance: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._desk = desk
        self._book = RuleBook(desk.engines)
        self._switch = switch
        self._instance = instance
        self._monotonic = monotonic
        self._refused = 0
        self._refused_at = 0.0
        self._private_count = -1  # not known

    async def run(self) -> None:
        """Look twice a second until cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Take over what is new; while the catalog cannot be read the rules at hand go on.

        Nothing ends the following, or old rules would stay in force, and nobody would know.
        """
        try:
            await self._follow()
        except StorageFailed as error:
            log.debug("rules_not_looked_at", reason=str(error))
        except Exception as error:
            self._tell_fault(_fault(error))

    async def _follow(self) -> None:
        number, trouble = await self._book.standing(self._desk.origins, self._instance)
        if number != self._switch.in_force.revision and not self._was_refused(number):
            await self._take_over(number)
        if number == self._switch.in_force.revision:
            self._switch.tell(None if trouble is None else trouble.message)
        await self._close_private()

    async def _close_private(self) -> None:
        """What a bundle brought as private is so at once; what is pulled by credentials is by the rules."""
        engines, in_force = self._desk.engines, self._switch.in_force
        if await engines.ask(private_targets.count) == self._private_count:
            return
        names = await engines.ask(private_targets.names)
        new = names - in_force.rule_set.private_targets
        if any(is_open_to_all(in_force.rule_set, Target.parse(name)) for name in new):
            self._switch.put(replace(in_force, rule_set=replace(in_force.rule_set, private_targets=names)))
        self._private_count = len(names)

    def _tell_fault(self, reason: str) -> None:
        if reason != self._switch.in_force.trouble:
            log.exception("rules_not_followed", kept_revision=self._switch.in_force.revision)
            self._switch.tell(reason)

    async def _take_over(self, number: int) -> None:
        revision = await self._book.find(number)
        if revision is None:
            return
        try:
            found = await to_thread.run_sync(self._desk.load, revision)
        except RulesError as error:
            self._refuse(number, str(error))
        except Exception as error:
            log.exception("rules_not_read", revision=number)
            self._refuse(number, _fault(error))
        else:
            self._switch.put(found)
            log.info("rules_in_force", revision=number, origin=revision.head.origin.value)

    def _refuse(self, number: int, reason: str) -> None:
        self._refused, self._refused_at = number, self._monotonic()
        if reason == self._switch.in_force.trouble:  # and was logged
            return
        self._switch.tell(reason)
        kept = self._switch.in_force.revision
        log.error("rules_unusable", revision=number, reason=reason, kept_revision=kept)

    def _was_refused(self, number: int) -> bool:
        return number == self._refused and self._monotonic() - self._refused_at < _AGAIN_SECONDS


class Watcher:
    """Takes the rules file in when it changes; one for a data directory is enough.

    ``seen`` is the file as it was at the start. Only what differs from that is taken in: of several gateways
    on one catalog, each with a file of its own, none brings its rules back because another changed its own.
    """

    def __init__(
        self,
        desk: RuleDesk,
        instance: str,
        seen: Digest | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk = desk
        self._book = RuleBook(desk.engines)
        self._instance = instance
        self._path = desk.file.path
        self._monotonic = monotonic
        self._seen = seen
        self._mark: _Mark | None = None
        self._trouble: str | None = ""  # not known: something may have been noted before a restart
        self._looked_at = 0.0
        self._is_waiting = False

    async def run(self) -> None:
        """Look four times a second until cancelled.

        To be told of changes costs more: the system tells of all that happens beside the file too, and a log
        there is written to with every request. And it tells nothing of what comes in by a network.
        """
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Take the file in where it is another than the last time, once nobody writes to it any more."""
        mark = _mark(self._path)
        if mark == self._mark and not self._is_to_be_tried_again():
            return
        while (later := await self._later()) != mark:
            mark = later
        try:
            await self._look_at(mark)
        except Exception as error:  # whatever it is: it may pass, and nothing ends the watching
            if not self._is_waiting:
                reason = str(error) if isinstance(error, StorageFailed) else _fault(error)
                log.warning("rules_not_taken_in", file=str(self._path), reason=reason, until="it can be")
            self._is_waiting = True
        else:
            self._is_waiting = False

    def _is_to_be_tried_again(self) -> bool:
        return self._trouble is not None and self._monotonic() - self._looked_at >= _AGAIN_SECONDS

    async def _later(self) -> _Mark:
        await asyncio.sleep(_STILL_SECONDS)
        return _mark(self._path)

    async def _look_at(self, mark: _Mark) -> None:
        try:
            content = await to_thread.run_sync(self._desk.read_file)
            if _mark(self._path) != mark:  # somebody writes again: these may be half the rules
                return
            trouble = await self._take_in(content)
        except RulesFileError as error:
            trouble = str(error)
        await self._note(trouble)
        self._mark, self._looked_at = mark, self._monotonic()

    async def _take_in(self, content: bytes | None) -> str | None:
        """Return what is wrong with it, if anything."""
        if content is None:
            has_gone = self._seen is not None and not self._desk.is_seeded_by_file
            return f"the rules file {self._path} is gone: the rules taken from it stay" if has_gone else None
        digest = Digest.of(content)
        if digest == self._seen:
            return None
        try:
            await to_thread.run_sync(self._desk.take_in, content)
        except RulesError as error:
            return str(error)
        except StorageFailed:
            raise
        except Exception as error:
            log.exception("rules_not_read", file=str(self._path))
            return _fault(error)
        self._seen = digest
        return None

    async def _note(self, trouble: str | None) -> None:
        """Have every worker know, and the log once."""
        if trouble == self._trouble:
            return
        await self._book.note_trouble(self._instance, trouble, time.time())
        if trouble is not None:
            log.error("rules_refused", file=str(self._path), reason=trouble)
        self._trouble = trouble


def _fault(error: Exception) -> str:
    """What is said where the fault is ours: following must not end by it."""
    return f"these rules cannot be read, by a fault of this gateway: {error!r}"


def _mark(path: Path) -> _Mark:
    """What tells one content from another without reading it; empty where there is no file to be seen."""
    try:
        found = path.stat()
    except OSError:
        return ()
    times = (found.st_mtime_ns, found.st_ctime_ns)  # the second one moves alone where it may be read again
    return found.st_dev, found.st_ino, found.st_size, *times
