"""Editing the rules: read, changed, checked, compared, and saved as a revision that all workers follow."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, TypeVar, TypeVarTuple

from anyio import CapacityLimiter, to_thread

from gateway.audit import Note
from gateway.oci.errors import OciError, Situation
from gateway.rule_edited import Checked, Compared, Impact, Merged, RulePage, RulesText
from gateway.rule_readings import Readings, fault_problem, yaml_problem
from gateway.rule_revisions import RuleDesk
from gateway.rule_trials import Trials
from gateway.rules.edits import Change, NoSuchRule
from gateway.rules.guarding import changed_guards
from gateway.rules.layout import NotEditable
from gateway.rules.merging import join_edits, unified
from gateway.rules.model import RuleSet
from gateway.rules.problems import RulesError, Unreadable
from gateway.rules.tree import TreeError
from gateway.sources.realms import may_see_credentials
from gateway.store import private_targets
from gateway.store.revisions import Draft, Outdated, Revision, RevisionHead, RevisionOrigin
from gateway.store.rule_book import RuleBook

_READ_ONLY: Final = "the rules are edited in the file alone (setting RULES_EDITED_IN)"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class RuleEditor:
    """The rules as somebody at the admin's desk sees and changes them; credentials are masked on the way out.

    What is handed in as a text has what is saved behind its masks; a number is a revision as it is kept.
    ``is_read_only``: only a rollback is possible. ``trouble`` tells what keeps newer rules from being in
    force. ``now`` gives seconds since the epoch.
    """

    def __init__(
        self,
        desk: RuleDesk,
        trials: Trials,
        note: Note,
        *,
        is_read_only: bool,
        trouble: Callable[[], str | None],
        now: Callable[[], float],
    ) -> None:
        self.is_read_only = is_read_only
        self._desk = desk
        self._book = RuleBook(desk.engines)
        self._trials = trials
        self._note = note
        self._trouble = trouble
        self._now = now
        self._readings = Readings(desk.reader)
        self._turn = CapacityLimiter(1)  # more at once would only keep pages waiting

    async def current(self) -> RulesText:
        """The newest revision that counts."""
        revision = await self._newest()
        if revision is None:
            return RulesText(0, "", trouble=self._trouble())
        return await self._shown(revision, self._trouble())

    async def revision(self, number: int) -> RulesText:
        return await self._shown(await self._required(number))

    async def revisions(self, before: int | None = None, limit: int = 50) -> Sequence[RevisionHead]:
        """Those with a number below ``before``, newest first."""
        return await self._book.history(before, limit)

    async def difference(self, older: int, newer: int | str) -> str:
        """A unified diff from one revision to another, or to an edited text; 0 is before the first one."""
        before = "" if older == 0 else (await self.revision(older)).content
        if isinstance(newer, str):
            return await self._run(unified, before, newer, _called(older), "edited")
        after = (await self.revision(newer)).content
        return await self._run(unified, before, after, _called(older), _called(newer))

    async def check(self, content: str | int) -> Checked:
        """Everything that is wrong, and everything odd; the text's own tests are run."""
        try:
            return await self._run(self._readings.check, await self._text_of(content))
        except RulesError as error:
            return Checked(error.problems)

    async def changed(self, content: str, change: Change) -> str:
        """The text with one rule changed, and nothing else.

        Raise OciError: RESOURCE_NOT_KNOWN for no such rule, CONFLICT where the text is too unusual,
        RULES_INVALID for what is no YAML, or no rule.
        """
        with _as_refusals():
            return await self._run(self._readings.changed, content, change)

    async def rules(
        self, content: str | None = None, *, query: str = "", after: int = 0, limit: int = 50
    ) -> RulePage:
        """Rules with a number above ``after`` that have each word of ``query``.

        Of the saved text, or of another. RULES_INVALID for what is no YAML.
        """
        text = (await self.current()).content if content is None else content
        with _as_refusals():
            return await self._run(self._readings.page, text, query.lower().split(), after, limit)

    async def impact(self, content: str | int) -> Impact:
        """Which names that clients asked for would lead elsewhere."""
        saved = await self._saved()
        return await self._trials.impact(saved, await self._edited(content, saved))

    async def dry_run(
        self, content: str | int | None, references: Sequence[str], host: str = ""
    ) -> Sequence[Compared]:
        """What pulls would do by the saved rules, and by others beside, if there are any."""
        saved = await self._saved()
        other = None if content is None else await self._edited(content, saved)
        return await self._trials.dry_run(saved, other, references, host)

    async def merge(self, base: int, mine: str) -> Merged:
        """What was edited since revision ``base``, joined with what was saved since."""
        current = await self.current()
        before = "" if base == 0 else (await self.revision(base)).content
        found = await self._run(join_edits, before, current.content, mine)
        return Merged(found.text, found.conflicts, current.number)

    async def apply(self, change: Change, *, expected: int, author: str, comment: str = "") -> RevisionHead:
        """Change one rule of revision ``expected``, and save that."""
        current = await self.current()
        _require_newest(expected, current.number)
        content = await self.changed(current.content, change)
        return await self.save(content, expected=expected, author=author, comment=comment)

    async def save(self, content: str, *, expected: int, author: str, comment: str = "") -> RevisionHead:
        """Make a revision of an edited text, unless it says what is saved already.

        Raise OciError: RULES_INVALID, OUTDATED where ``expected`` is not the newest, DENIED.
        """
        if self.is_read_only:
            raise OciError(Situation.DENIED, _READ_ONLY)
        newest = await self._newest()
        _require_newest(expected, _number(newest))
        with _as_refusals():
            text = await self._run(self._readings.put_back, content, _text(newest))
            if newest is not None and text == _text(newest):
                return newest.head
            await self._run(self._require_savable, text, _text(newest))
        draft = Draft(RevisionOrigin.ADMIN, author, text.encode(), comment, expected or None)
        return await self._add(draft, expected, "rules.save")

    async def roll_back(self, number: int, *, expected: int, author: str) -> RevisionHead:
        """Have the content of a revision in force again, also where the file alone is edited.

        Raise OciError as ``save`` does: what one may not write, one may not bring back either.
        """
        of_all = await self._book.newest_number()  # not all of them count where the file alone is edited
        newest, wanted = await self._newest(), await self._required(number)
        _require_newest(expected, _number(newest))
        with _as_refusals():
            await self._run(self._require_savable, _text(wanted), _text(newest))
        if newest is not None and newest.content == wanted.content:
            return newest.head
        comment = f"back to revision {number}"
        draft = Draft(RevisionOrigin.ROLLBACK, author, wanted.content, comment, number)
        return await self._add(draft, of_all, "rules.rollback")

    def _require_savable(self, text: str, saved: str) -> None:
        rule_set = self._readings.rule_set(text)
        before = self._readings.saved(saved)
        guarded = list(changed_guards(before, rule_set, rule_set.logins, may_see_credentials))
        if guarded:
            message = (
                "credentials, and what says where they go, are changed in the rules file alone; "
                f"this changes {', '.join(guarded[:5])}"
            )
            raise OciError(Situation.DENIED, message, {"keys": guarded})
        self._readings.masked(text)  # pages ask for that next

    async def _add(self, draft: Draft, expected: int, action: str) -> RevisionHead:
        try:
            made = await self._book.add(draft, self._now(), expected=expected)
        except Outdated as error:
            raise _outdated(error.newest) from error
        told = f"based on revision {draft.based_on or 0}" + (f": {draft.comment}" if draft.comment else "")
        await self._note(draft.author, action, f"revision {made.head.number}", told)
        return made.head

    async def _newest(self) -> Revision | None:
        return await self._book.newest(self._desk.origins)

    async def _required(self, number: int) -> Revision:
        found = await self._book.find(number)
        if found is None:
            raise OciError(Situation.RESOURCE_NOT_KNOWN, f"there is no revision {number} of the rules")
        return found

    async def _shown(self, revision: Revision, trouble: str | None = None) -> RulesText:
        content = await self._run(self._readings.masked, _text(revision))
        return RulesText(revision.head.number, content, revision.head, trouble)

    async def _text_of(self, content: str | int) -> str:
        """Raise RulesError where something is masked that is not saved."""
        if isinstance(content, int):
            return _text(await self._required(content))
        return await self._run(self._readings.put_back, content, _text(await self._newest()))

    async def _saved(self) -> RuleSet:
        found = await self._run(self._readings.saved, _text(await self._newest()))
        return replace(found, private_targets=await self._desk.engines.ask(private_targets.names))

    async def _edited(self, content: str | int, saved: RuleSet) -> RuleSet:
        with _as_refusals():
            found = await self._run(self._readings.rule_set, await self._text_of(content))
        return replace(found, private_targets=saved.private_targets)

    async def _run(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await to_thread.run_sync(work, *arguments, limiter=self._turn)


@contextmanager
def _as_refusals() -> Iterator[None]:
    """What is wrong with a text, or a change, as the answer that says so."""
    try:
        yield
    except NoSuchRule as error:
        raise OciError(Situation.RESOURCE_NOT_KNOWN, str(error)) from error
    except NotEditable as error:
        raise OciError(Situation.CONFLICT, str(error)) from error
    except RulesError as error:
        raise _invalid(error) from error
    except TreeError as error:
        raise _invalid(RulesError([yaml_problem(error)])) from error
    except Unreadable as error:
        raise _invalid(RulesError(map(fault_problem, error.faults))) from error


def _invalid(error: RulesError) -> OciError:
    problems: list[dict[str, str | int | None]] = [
        {
            "line": problem.line,
            "column": problem.column,
            "key": problem.key_path,
            "message": problem.message,
            "hint": problem.hint,
        }
        for problem in error.problems
    ]
    first = error.problems[0]
    count = len(problems)
    told = f"line {first.line}: {first.message}" + (f", and {count - 1} more" if count > 1 else "")
    return OciError(Situation.RULES_INVALID, f"these rules cannot be used: {told}", {"problems": problems})


def _require_newest(expected: int, newest: int) -> None:
    if expected != newest:
        raise _outdated(newest)


def _outdated(newest: int) -> OciError:
    message = f"revision {newest} was saved meanwhile: look at it, and save again"
    return OciError(Situation.OUTDATED, message, {"newest": newest})


def _number(revision: Revision | None) -> int:
    return 0 if revision is None else revision.head.number


def _text(revision: Revision | None) -> str:
    return "" if revision is None else revision.content.decode()


def _called(number: int) -> str:
    return f"revision {number}" if number else "nothing"
