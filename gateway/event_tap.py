"""What of the log people should hear of at the desk: taken as it is written, told as events."""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from gateway.store.activity_rows import Noted

_MOST: Final = 500  # different ones between two writings; the others count as one of their kind
_MAX_SUBJECT: Final = 300
_MAX_DETAIL: Final = 1000
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")  # no database takes them
_OTHERS: Final = "others"

Fields = Mapping[str, object]


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Kind:
    """How a line of the log becomes an event; ``{name}`` stands for a field of it.

    ``when`` says which lines do; ``is_everybodys``: each worker writes it.
    """

    severity: Severity
    subject: str
    detail: str
    when: Callable[[Fields], bool] | None = None
    kind: str = ""
    is_everybodys: bool = False


_INFO, _WARNING, _ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR


def _is_denial(fields: Fields) -> bool:
    return fields.get("code") == "DENIED"


def _is_loop(fields: Fields) -> bool:
    return fields.get("status") == 502 and "through this gateway before" in str(fields.get("reason"))


def _is_not_of_a_blob(fields: Fields) -> bool:
    """Of a blob ``blob_refused`` says it, and for which target."""
    return "sent other bytes than" not in str(fields.get("message"))


def _is_our_fault(fields: Fields) -> bool:
    return "request_id" in fields


# By the log's own names; several where one name means several things.
_KINDS: Final[Mapping[str, Sequence[Kind]]] = {
    "drift": (Kind(_WARNING, "{target}:{tag}", "upstream has other content by now: {seen_digest}"),),
    "deleted_upstream": (Kind(_WARNING, "{target}:{tag}", "{reason}"),),
    "followed": (Kind(_INFO, "{target}:{tag}", "upstream's new content is served: {digest}"),),
    "digest_mismatch": (
        Kind(_WARNING, "{target}:{version}", "the archive has another digest than the index says"),
    ),
    "digest_mismatch_accepted": (Kind(_WARNING, "{target}", "{reason}"),),
    "upstream_corrupt": (Kind(_ERROR, "{target}", "{source}: {message}", _is_not_of_a_blob),),
    "blob_refused": (Kind(_ERROR, "{target}", "upstream sent other bytes than {digest}"),),
    "blob_damaged": (Kind(_ERROR, "{digest}", "{what}; {hint}"),),
    "manifest_damaged": (Kind(_ERROR, "{digest}", "it is fetched again"),),
    "upstream_paused": (Kind(_WARNING, "{origin}", "{reason}; asked again after {seconds} s"),),
    "upstream_back": (Kind(_INFO, "{origin}", "it answers again"),),
    "address_refused": (Kind(_WARNING, "{upstream}", "its address is not public; {hint}"),),
    "credentials_unusable": (Kind(_ERROR, "{upstream}", "{reason}"),),
    "certificates_unusable": (Kind(_ERROR, "{upstream}", "{reason}"),),
    "docker_config_unusable": (Kind(_ERROR, "config.json", "{reason}"),),
    "index_not_refreshed": (Kind(_WARNING, "{url}", "{reason}"),),
    "served_stale": (Kind(_WARNING, "{target}", "{tag}: {reason}"),),
    "refused": (
        Kind(_WARNING, "{path}", "{reason}", _is_denial, "denied"),
        Kind(_WARNING, "{path}", "{reason}", _is_loop, "loop"),
    ),
    "request_failed": (
        Kind(_ERROR, "{path}", "the log says more under {request_id}", _is_our_fault, "our_fault"),
    ),
    "rules_taken_in": (Kind(_INFO, "revision {revision}", "from the file {file}"),),
    "rules_in_force": (
        Kind(_INFO, "revision {revision}", "made by way of the {origin}", is_everybodys=True),
    ),
    "rules_refused": (Kind(_ERROR, "{file}", "{reason}"),),
    "rules_unusable": (Kind(_ERROR, "revision {revision}", "{reason}", is_everybodys=True),),
    "rules_not_taken_in": (Kind(_ERROR, "{file}", "{reason}"),),
    "trouble": (Kind(_ERROR, "{condition}", "{means}: {reason}", is_everybodys=True),),
    "trouble_over": (Kind(_INFO, "{condition}", "it is over", is_everybodys=True),),
    "storage_failed": (Kind(_ERROR, "{reason}", "{path}"),),
    "rows_lost": (Kind(_ERROR, "{count} rows", "{means}"),),
    "garbage_collected": (
        Kind(_INFO, "the cache", "{evicted} evicted, {swept} swept, {freed_bytes} bytes freed"),
    ),
    "sweep_refused": (Kind(_WARNING, "the cache", "{reason}"),),
    "scrubbed": (Kind(_INFO, "the cache", "{files} files looked at, {damaged} damaged, {healed} healed"),),
    "sync_done": (Kind(_INFO, "{list}", "{fetched} fetched, {removed} removed, in {seconds} s"),),
    "sync_failed": (Kind(_WARNING, "{list}", "{reason}"),),
    "sync_list_gone": (Kind(_INFO, "{list}", "{means}"),),
    "catalog_not_copied": (Kind(_WARNING, "the catalog", "{reason}"),),
    "catalog_copy_unusable": (Kind(_WARNING, "{copy}", "{reason}"),),
    "catalog_damaged": (Kind(_ERROR, "the catalog", "{reason}", is_everybodys=True),),
    "catalog_restored": (Kind(_ERROR, "the catalog", "{reason}; {means}"),),
    "worker_died": (Kind(_ERROR, "a worker", "it ended with status {status}, and was replaced"),),
    "upkeep_failed": (Kind(_ERROR, "{job}", "the log says why"),),
}
SEVERITIES: Final[Mapping[str, Severity]] = {
    one.kind or name: one.severity for name, kinds in _KINDS.items() for one in kinds
}


class EventTap:
    """Takes lines of the log, from any thread; who writes them down takes them out.

    ``now`` gives seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._mutex = threading.Lock()
        self._noted: dict[tuple[str, str], Noted] = {}

    def __call__(self, name: str, fields: Fields) -> None:
        """Note a line that is called ``name``, where it is one for people."""
        kinds = _KINDS.get(name)
        if kinds is None:
            return
        for one in kinds:
            if one.when is None or one.when(fields):
                self._note(one.kind or name, one, _Told(fields))

    def taken(self) -> Sequence[Noted]:
        """Take out what was noted since the last time."""
        with self._mutex:
            noted, self._noted = self._noted, {}
        return list(noted.values())

    def put_back(self, noted: Sequence[Noted]) -> None:
        """What could not be written down waits for the next time."""
        with self._mutex:
            newer, self._noted = self._noted, {(one.kind, one.subject): one for one in noted}
            for one in newer.values():
                self._add(one)

    def _note(self, name: str, kind: Kind, told: "_Told") -> None:
        subject = _storable(kind.subject.format_map(told), _MAX_SUBJECT)
        detail = _storable(kind.detail.format_map(told), _MAX_DETAIL)
        now = self._now()
        with self._mutex:
            self._add(Noted(name, subject, detail, 1, now, now, kind.is_everybodys))

    def _add(self, one: Noted) -> None:
        key = (one.kind, one.subject)
        if key not in self._noted and len(self._noted) >= _MOST:
            one = replace(one, subject=_OTHERS)
            key = (one.kind, _OTHERS)
        before = self._noted.get(key)
        if before is not None:
            times = 1 if one.is_everybodys else before.times + one.times
            one = replace(one, times=times, first_at=before.first_at)
        self._noted[key] = one


class _Told(dict[str, str]):
    """A line's fields as text: a list is told by its length, a URL without what may sign it."""

    def __init__(self, fields: Fields) -> None:
        super().__init__((name, _text(value)) for name, value in fields.items())

    def __missing__(self, name: str) -> str:
        return "the log says more" if name == "reason" else "unknown"


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return str(len(value))
    text = str(value)
    return text.partition("?")[0] if text.startswith(("https://", "http://")) else text


def _storable(text: str, limit: int) -> str:
    return _UNSTORABLE.sub("\ufffd", text if len(text) <= limit else text[: limit - 1] + "…")
