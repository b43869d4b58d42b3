"""Which rules are in force: revisions of rules.yaml, taken in from the file, followed by every worker."""

import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

import structlog

from gateway.oci.digest import Digest
from gateway.rules.load import Complaint, load_rules
from gateway.rules.model import RuleSet
from gateway.rules.problems import RulesError
from gateway.rules.tree import MAX_SIZE_BYTES
from gateway.sources.credentials import Secrets, docker_logins, verify
from gateway.store import private_targets
from gateway.store import rule_book_queries as queries
from gateway.store.blobs import StorageFailed
from gateway.store.engine import Engines
from gateway.store.revisions import Draft, Revision, RevisionOrigin

log = structlog.get_logger(__name__)

_LOOKED_BACK: Final = 50  # revisions, for the last one that still loads
_PAGE: Final = 100


class RulesFileError(Exception):
    """The rules file cannot be read; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RulesFile:
    """Where rules.yaml is looked for; ``is_named``: its absence is an error, else it means no rules."""

    path: Path
    is_named: bool

    def read(self) -> bytes | None:
        """The content, None where there is no file and needs to be none; raise RulesFileError.

        Of what is larger than rules may be, just enough comes to tell.
        """
        try:
            if not _can_be_read_to_its_end(self.path.stat().st_mode):
                raise RulesFileError(f"the rules file {self.path} cannot be read: it is no regular file")
            with self.path.open("rb") as file:
                return file.read(MAX_SIZE_BYTES + 1)
        except FileNotFoundError:
            if not self.is_named:
                return None
            raise RulesFileError(f"there is no rules file {self.path} (setting RULES)") from None
        except OSError as error:
            raise RulesFileError(f"the rules file {self.path} cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class RuleReader:
    """Text → rules with all that they name at hand; ``own_host`` is PUBLIC_URL's host[:port]."""

    secrets: Secrets
    own_host: str | None

    def read(self, content: bytes, name: str) -> RuleSet:
        """Raise RulesError with every problem; ``name`` is what they call the text."""
        rule_set = _sound(content)
        if rule_set is None or any(True for _ in self.complaints(rule_set)):
            rule_set = load_rules(content, name, self.complaints)  # again, to say what and where
        return replace(rule_set, logins=docker_logins(self.secrets), own_host=self.own_host)

    def nothing(self) -> RuleSet:
        """The rules where nobody wrote any."""
        return replace(RuleSet(), logins=docker_logins(self.secrets), own_host=self.own_host)

    def complaints(self, rule_set: RuleSet) -> Iterator[Complaint]:
        """What the rules need, and is not at hand here."""
        yield from verify(self.secrets, rule_set)
        if self.own_host is None:
            yield from _without_own_host(rule_set)


@dataclass(frozen=True, slots=True)
class InForce:
    """Rules that requests are routed by; ``revision`` 0 where nobody made any.

    ``trouble`` is what is wrong with something newer that therefore is not in force. ``file`` is the rules
    file as it was taken in, or found to be known, at the start.
    """

    rule_set: RuleSet
    revision: int = 0
    trouble: str | None = None
    file: Digest | None = None


@dataclass(frozen=True, slots=True)
class RuleDesk:
    """The file and the book of revisions, together. It waits: not for an event loop.

    ``origins``: whose revisions count, None for everybody's. ``is_seeded_by_file``: the file counts only
    where there is no revision yet.
    """

    file: RulesFile
    reader: RuleReader
    engines: Engines
    origins: Collection[RevisionOrigin] | None = None
    is_seeded_by_file: bool = False

    def in_force(self) -> InForce:
        """What a server would serve by now, for commands beside it: nothing is written. Raise RulesError."""
        try:
            content = self.read_file()
            if content is not None and self._is_new(content):
                return InForce(self._complete(self._read(content)))
            return self._newest()
        except (RulesError, RulesFileError) as error:
            return self._last_good(error)

    def start(self) -> InForce:
        """Take the file in, and say what is in force.

        A file that cannot be used stops a first start alone (RulesError, RulesFileError); later the last good
        rules go on, as they do where the file is good, and no revision can be made of it (the disk is full).
        """
        found = self._start()
        if found.trouble is not None:
            log.error("rules_unusable", reason=found.trouble, kept_revision=found.revision)
        return found

    def read_file(self) -> bytes | None:
        """The file as it is, None where there is none, or it has done its seeding; raise RulesFileError."""
        return None if self._has_seeded() else self.file.read()

    def waiting(self) -> bytes | None:
        """What the file says where that is new and good: the next server takes it in."""
        try:
            content = self.read_file()
            if content is None or not self._is_new(content):
                return None
            self._read(content)
        except (RulesError, RulesFileError):
            return None
        return content

    def take_in(self, content: bytes) -> Revision | None:
        """Make a revision of what the file says where it is new and good; raise RulesError."""
        if not self._is_new(content):
            return None
        self._read(content)
        draft = Draft(RevisionOrigin.FILE, f"file {self.file.path}", content)
        command = queries.seed if self.is_seeded_by_file else queries.take_in_file
        made = self.engines.write(command, draft, time.time())
        if made is not None:
            log.info("rules_taken_in", revision=made.head.number, file=str(self.file.path))
        return made

    def note_trouble(self, instance: str, trouble: str | None) -> None:
        """Have every worker of a gateway know what is wrong with its file; None: nothing is."""
        self.engines.write(queries.note_trouble, instance, trouble, time.time())

    def newest_number(self) -> int:
        return self.engines.read(queries.newest_number, self.origins)

    def find(self, number: int) -> Revision | None:
        return self.engines.read(queries.find, number)

    def load(self, revision: Revision) -> InForce:
        """Raise RulesError for what cannot be used here and now: a secret may be gone meanwhile."""
        number = revision.head.number
        return InForce(self._complete(self.reader.read(revision.content, f"revision {number}")), number)

    def _start(self) -> InForce:
        try:
            content = self.read_file()
            if content is None:
                return self._newest()
            self.take_in(content)
            return replace(self._newest(), file=Digest.of(content))
        except (RulesError, RulesFileError, StorageFailed) as error:
            return self._last_good(error)

    def _has_seeded(self) -> bool:
        return self.is_seeded_by_file and self.engines.read(queries.newest_number, None) > 0

    def _is_new(self, content: bytes) -> bool:
        if self.is_seeded_by_file:
            return not self._has_seeded()
        known = self.engines.read(queries.newest, {RevisionOrigin.FILE})
        return known is None or known.content != content

    def _read(self, content: bytes) -> RuleSet:
        return self.reader.read(content, str(self.file.path))

    def _newest(self) -> InForce:
        revision = self.engines.read(queries.newest, self.origins)
        return InForce(self._complete(self.reader.nothing())) if revision is None else self.load(revision)

    def _complete(self, rule_set: RuleSet) -> RuleSet:
        """With what the catalog knows beyond any rules."""
        return replace(rule_set, private_targets=self.engines.read(private_targets.names))

    def _last_good(self, error: RulesError | RulesFileError | StorageFailed) -> InForce:
        """The newest revision that can be used; the error itself where there is none."""
        is_unwritten = isinstance(error, StorageFailed)
        trouble = f"the rules file {self.file.path} is not taken in: {error}" if is_unwritten else str(error)
        for revision in islice(self._newest_first(), _LOOKED_BACK):
            try:
                return replace(self.load(revision), trouble=trouble)
            except RulesError:
                continue
        raise error

    def _newest_first(self) -> Iterator[Revision]:
        """The revisions that count."""
        before: int | None = None
        while heads := self.engines.read(queries.history, before, _PAGE):
            for head in heads:
                revision = self.find(head.number) if self._counts(head.origin) else None
                if revision is not None:
                    yield revision
            before = heads[-1].number

    def _counts(self, origin: RevisionOrigin) -> bool:
        return self.origins is None or origin in self.origins


@lru_cache(maxsize=1)
def _sound(content: bytes) -> RuleSet | None:
    """What the text alone says; what was taken in is not parsed anew as the revision that it is."""
    try:
        return load_rules(content)
    except RulesError:
        return None


def _can_be_read_to_its_end(mode: int) -> bool:
    """A pipe may keep whoever reads it for ever; of a folder the system says what is wrong."""
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _without_own_host(rule_set: RuleSet) -> Iterator[Complaint]:
    """Rewritten dependencies have nowhere to lead."""
    word = "rewrite_dependencies"
    message, hint = "nobody knows this gateway's own name", "set PUBLIC_URL to where clients reach it"
    if rule_set.defaults.rewrite_dependencies:
        yield Complaint(("defaults", word), message, hint)
    for key, upstream in rule_set.upstreams.items():
        if upstream.policy.rewrite_dependencies and not rule_set.defaults.rewrite_dependencies:
            yield Complaint(("upstreams", key, word), message, hint)
    for number, rule in enumerate(rule_set.rules, start=1):
        if word in rule.stated and rule.change(rule_set.defaults).rewrite_dependencies:
            yield Complaint(("rules", str(number), word), message, hint)
