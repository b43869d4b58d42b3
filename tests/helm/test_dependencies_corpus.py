"""Real charts with their dependencies rewritten: still the charts that they were, and their locks in step."""

import hashlib
import io
import tarfile
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.helm.archive import read_chart_archive
from gateway.helm.archive_copy import read_files
from gateway.helm.dependencies import RewrittenChart, rewrite_chart, rewrite_repository
from gateway.helm.document import parse_document
from gateway.helm.lock import Locking, digest_after, parse_lock
from gateway.helm.metadata import ChartMetadata, parse_metadata

pytestmark = pytest.mark.slow

BASE = "gw.example.test:9000"
LOCKS = frozenset((b"Chart.lock", b"requirements.lock"))
LARGEST = "cloudnative-pg.github.io/charts/cnpg-sandbox-0.6.0.tgz"
MIB = 1024 * 1024


def archives(corpus: Path) -> Iterator[bytes]:
    yield from (path.read_bytes() for path in sorted(corpus.rglob("*.tgz")))


def rewritten(archive: bytes) -> RewrittenChart | None:
    return rewrite_chart(io.BytesIO(archive), BASE)


def metadata(archive: bytes) -> ChartMetadata:
    return parse_metadata(read_chart_archive(io.BytesIO(archive)))


def test_every_chart_of_the_corpus_is_equal_but_for_repositories(corpus: Path) -> None:
    count = 0
    for archive in archives(corpus):
        chart = rewritten(archive)
        before = metadata(archive)
        expected = [
            replace(item, repository=rewrite_repository(item.repository, BASE, item.name))
            for item in before.dependencies
        ]
        if chart is None:
            assert expected == list(before.dependencies)
            continue
        count += 1
        assert metadata(chart.archive) == replace(before, dependencies=tuple(expected))
        assert rewritten(chart.archive) is None
        assert _others(chart.archive) == _others(archive)
    assert count == 191


def test_locks_that_were_in_step_are_and_all_were(corpus: Path) -> None:
    """The digests are what Helm 2 and 3 wrote there: so they are computed here as there."""
    count = 0
    for archive in archives(corpus):
        chart = rewritten(archive)
        if chart is None:
            continue
        (before,), (after,) = _digests(archive), _digests(chart.archive)
        assert before
        assert after
        count += 1
    assert count == 191


def test_the_same_charts_give_the_same_bytes_on_every_machine(corpus: Path) -> None:
    """If this digest has to change, every rewritten chart that was pulled before gets another one."""
    total = hashlib.sha256()
    for archive in archives(corpus):
        chart = rewritten(archive)
        total.update(b"" if chart is None else chart.archive)
    assert total.hexdigest() == "c94510b5bba52049a85bc4c71d9ac26ba893bf3be930ea7e63f0c7d8a914d783"


def test_the_largest_chart_costs_little_time_and_memory(corpus: Path) -> None:
    archive = (corpus / LARGEST).read_bytes()
    began = time.process_time()
    chart = rewritten(archive)
    assert chart is not None
    assert time.process_time() - began < 1
    tracemalloc.start()
    try:
        rewritten(archive)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(chart.archive) + 3 * MIB


def _digests(archive: bytes) -> list[bool]:
    """Whether each lock is in step: a digest that is right before becomes another after any change."""
    required = metadata(archive).dependencies
    locks = read_files(io.BytesIO(archive), LOCKS).items()
    found = [parse_lock(parse_document(content), name.decode()) for name, content in locks]
    other = Locking((), ())
    return [
        digest_after(lock.digest, Locking(required, lock.dependencies), other) != lock.digest
        for lock in found
    ]


def _others(archive: bytes) -> list[tuple[str, int, int, bytes]]:
    """Name, mode, time and content of what is not rewritten, in its order."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        others = (info for info in members if info.name.count("/") > 1 or "values" in info.name)
        return [(info.name, info.mode, int(info.mtime), _content(members, info)) for info in others]


def _content(members: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    content = members.extractfile(info)
    return b"" if content is None else content.read()
