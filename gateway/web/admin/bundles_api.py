"""The admin API of bundles: what is held as one file, and such a file taken in."""

import re
from collections.abc import Callable, Collection
from typing import Annotated, Final

import msgspec

from gateway.access.roles import Role
from gateway.bundle_desk import BundleDesk, Taken, Wanted
from gateway.bundle_import import ImportOptions
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import parse_location
from gateway.pull_whole import MOST_REFERENCES
from gateway.store.import_rows import Fate, ImportedTag
from gateway.web.admin.actions_api import Reference
from gateway.web.admin.operations import Call, Endpoint, Nothing, Reply
from gateway.web.admin.pages import iso_time
from gateway.web.admin.stream_operations import Arriving, Download, Leaving, Upload
from gateway.web.admin.streams import Outflow

TAR: Final = "application/x-tar"
ZSTD: Final = "application/zstd"
SIGNATURE: Final = "x-bundle-signature"
_MOST_TAGS: Final = 500
_UNFIT: Final = re.compile(r"[^a-z0-9]+")
_PATH: Final = "/bundles"


class ExportQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of ``all``, ``sync`` and ``reference``; ``allow_missing`` leaves out what is not held whole."""

    all: bool = False
    sync: Annotated[str, msgspec.Meta(max_length=100)] = ""
    reference: Annotated[list[Reference], msgspec.Meta(max_length=MOST_REFERENCES)] = []
    allow_missing: bool = False
    compress: Annotated[str, msgspec.Meta(pattern="^(zstd|)$")] = ""


class ImportQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``dry_run`` changes nothing; ``replace`` also tags that are held with other content."""

    dry_run: bool = False
    replace: bool = False
    with_rules: bool = False


class ImportedTagFacts(msgspec.Struct, frozen=True):
    """``held`` is the other digest that is, or was, held under the tag."""

    target: str
    tag: str
    variant: str
    source: str
    digest: str
    held: str | None


class BroughtRules(msgspec.Struct, frozen=True):
    """What the bundle's rules would change; ``failure`` is why they are not in force, though asked for."""

    difference: str
    revision: int | None
    failure: str | None


class ImportFacts(msgspec.Struct, frozen=True):
    """What an import did, or would do. ``kept`` tags stay as they were; of very many tags some are told."""

    job: int
    dry_run: bool
    version: str
    made_at: str
    since: str | None
    targets: int
    manifests: int
    new_blobs: int
    held_blobs: int
    size_bytes: int
    added_count: int
    unchanged_count: int
    kept_count: int
    replaced_count: int
    added: list[ImportedTagFacts]
    kept: list[ImportedTagFacts]
    replaced: list[ImportedTagFacts]
    rules: BroughtRules | None


def operations(bundles: BundleDesk, own_hosts: Collection[str], now: Callable[[], float]) -> list[Endpoint]:
    async def export_bundle(call: Call[ExportQuery, Nothing]) -> Leaving:
        query = call.query
        if [query.all, query.sync != "", query.reference != []].count(True) != 1:
            raise OciError(Situation.QUERY_MALFORMED, "say one of all=true, sync=NAME and reference=…")
        locations = tuple(parse_location(text, own_hosts) for text in query.reference)
        wanted = Wanted(query.sync, locations, query.allow_missing, query.compress == "zstd")
        return await leaving(bundles, wanted, call.asker.name, now())

    async def import_bundle(call: Call[ImportQuery, Arriving]) -> Reply[ImportFacts]:
        query, arriving = call.query, call.body
        options = ImportOptions(
            is_dry=query.dry_run,
            replaces=query.replace,
            applies_rules=query.with_rules,
            signature=arriving.headers.get(SIGNATURE),
            total_bytes=arriving.size_bytes,
            actor=call.asker.name,
        )
        return Reply(_import_facts(await bundles.take(arriving.flow, options)))

    headers = {SIGNATURE: "the signature of its index: what the .sig beside the bundle holds"}
    return [
        Download(
            _PATH, "bundles", "What is held, as a bundle", export_bundle,
            ExportQuery, (TAR, ZSTD), Role.EDITOR,
            (Situation.MANIFEST_NOT_KNOWN, Situation.NAME_BREAKS_GRAMMAR, Situation.CONFLICT),
        ),
        Upload(
            _PATH, "bundles", "Take a bundle in, or tell what that would do", import_bundle,
            ImportQuery, ImportFacts, (TAR, ZSTD, "application/octet-stream"), headers, Role.EDITOR,
            (Situation.BUNDLE_REFUSED, Situation.CONFLICT),
        ),
    ]  # fmt: skip


async def leaving(bundles: BundleDesk, wanted: Wanted, actor: str, now: float) -> Leaving:
    """A bundle that is on its way; raise OciError, StorageFailed where none will come."""
    flow = Outflow()
    await bundles.send(wanted, flow, actor)
    await flow.begin()
    what = wanted.sync or ("references" if wanted.locations else "everything")
    name = f"{_UNFIT.sub('-', what.lower()).strip('-') or 'list'}-{iso_time(now)[:10]}.tar"
    return Leaving(f"{name}.zst" if wanted.compresses else name, ZSTD if wanted.compresses else TAR, flow)


def _import_facts(taken: Taken) -> ImportFacts:
    report = taken.report
    by_fate = {fate: report.tags_that_are(fate) for fate in Fate}
    rules = report.rules
    return ImportFacts(
        job=taken.number,
        dry_run=report.is_dry,
        version=report.version,
        made_at=iso_time(report.made_at),
        since=report.since,
        targets=report.targets,
        manifests=report.manifests,
        new_blobs=report.new_blobs,
        held_blobs=report.held_blobs,
        size_bytes=report.size_bytes,
        added_count=len(by_fate[Fate.ADDED]),
        unchanged_count=len(by_fate[Fate.UNCHANGED]),
        kept_count=len(by_fate[Fate.KEPT]),
        replaced_count=len(by_fate[Fate.REPLACED]),
        added=[_tag_facts(one) for one in by_fate[Fate.ADDED][:_MOST_TAGS]],
        kept=[_tag_facts(one) for one in by_fate[Fate.KEPT][:_MOST_TAGS]],
        replaced=[_tag_facts(one) for one in by_fate[Fate.REPLACED][:_MOST_TAGS]],
        rules=None if rules is None else BroughtRules(rules.difference, rules.revision, rules.failure),
    )


def _tag_facts(one: ImportedTag) -> ImportedTagFacts:
    row = one.row
    held = None if one.held is None else str(one.held)
    return ImportedTagFacts(str(row.target), row.tag, row.variant, row.source, str(row.digest), held)
