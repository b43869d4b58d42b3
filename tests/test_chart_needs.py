"""What a chart needs: the names of the charts it depends on, with versions, and its images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from gateway.chart_needs import (
    FORM,
    ChartNeeds,
    ChartReader,
    DependencyNeed,
    ImageNeed,
    needs_of,
    read_chart,
    repository_named,
)
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.location import parse_location
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.store.needs_book import NeedsBook
from tests.composed import HOST, Composed, composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # whole gateways on a disk

REDIS = {"name": "redis", "version": ">=1.0.0 <2", "repository": "https://charts.example.test/stable"}
LOCKED = b"""
dependencies:
- {name: redis, repository: "https://charts.example.test/stable/", version: 1.4.2}
- {name: other, repository: "https://charts.example.test/stable", version: 9.9.9}
digest: sha256:0000
generated: "2024-01-02T03:04:05Z"
"""
RULES = """
version: 1
upstreams:
  ported: {url: "https://charts.example.test:8443/Stable"}
  plain: {url: "http://charts.example.test"}
"""


def needs(
    dependencies: Sequence[Mapping[str, object]], files: Mapping[str, bytes] | None = None, rules: str = RULES
) -> ChartNeeds:
    archive = make_chart("app", "1.0.0", files or {}, dependencies=list(dependencies))
    return needs_of(read_chart(BytesIO(archive)), load_rules(rules))


def dependency(needed: ChartNeeds) -> tuple[str, str, bool]:
    (one,) = needed.dependencies
    return str(one.name), one.wanted, one.is_exact


@pytest.mark.parametrize(
    ("version", "lock", "wanted"),
    [
        (">=1.0.0 <2", None, (">=1.0.0 <2", False)),
        ("1.2.3", None, ("1.2.3", True)),
        ("v1.2.3", None, ("v1.2.3", True)),
        ("1.2", None, ("1.2", False)),
        ("", None, (">0.0.0-0", False)),
        (">=1.0.0 <2", LOCKED, ("1.4.2", True)),
        ("", LOCKED, ("1.4.2", True)),
        ("2.x", LOCKED, ("2.x", False)),
        ("not a range", LOCKED, ("not a range", False)),
        (">=1.0.0 <2", b"", (">=1.0.0 <2", False)),
        (">=1.0.0 <2", LOCKED.replace(b"1.4.2", b"none"), (">=1.0.0 <2", False)),
    ],
)
def test_a_dependency_has_the_locked_version_where_that_is_allowed(
    version: str, lock: bytes | None, wanted: tuple[str, bool]
) -> None:
    files = {} if lock is None else {"Chart.lock": lock}
    found = needs([{**REDIS, "version": version}], files)
    assert dependency(found) == ("charts.example.test/stable/redis", *wanted)
    assert found.remarks == ()


def test_a_lock_that_cannot_be_read_is_told() -> None:
    found = needs([REDIS], {"Chart.lock": b"a: ["})
    assert dependency(found)[1:] == (">=1.0.0 <2", False)
    assert found.remarks[0].startswith("Chart.lock is not understood: ")


def test_old_charts_have_them_in_another_file() -> None:
    files = {
        "requirements.yaml": b"dependencies: [{name: redis, version: 1.x, repository: 'https://h.test'}]",
        "requirements.lock": b"dependencies: [{name: redis, version: 1.7.0, repository: 'https://h.test'}]",
    }
    archive = make_chart("app", "1.0.0", files, apiVersion="v1")
    assert dependency(needs_of(read_chart(BytesIO(archive)), RuleSet())) == ("h.test/redis", "1.7.0", True)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://charts.example.test", "charts.example.test/app"),
        ("https://charts.example.test/a/b/", "charts.example.test/a/b/app"),
        ("oci://charts.example.test/a", "charts.example.test/a/app"),
        ("oci://gw.example.test:9000/charts.example.test/a", "charts.example.test/a/app"),
        ("https://charts.example.test:8443/Stable", "ported/app"),
        ("https://charts.example.test:8443/Stable/more", "ported/more/app"),
        ("http://charts.example.test/a", "plain/a/app"),
        ("https://charts.example.test:8443/Stables", None),
        ("https://charts.example.test:8443/Stable/MORE", None),
        ("https://charts.example.test:9/x", None),
        ("https://charts.example.test/UPPER", None),
        ("https://user@charts.example.test/x", None),
        ("http://other.example.test", None),
        ("file://../redis", None),
        ("@stable", None),
        ("alias:stable", None),
        ("", None),
    ],
)
def test_a_repository_has_the_name_by_which_clients_would_ask(url: str, name: str | None) -> None:
    rules = replace(load_rules(RULES), own_host="gw.example.test:9000")
    found = repository_named(url, "app", rules)
    assert (None if found is None else str(found)) == name


def test_what_no_name_leads_to_is_told_unless_it_lies_inside() -> None:
    aliased = {"name": "redis", "version": "1.x", "repository": "@stable"}
    assert needs([aliased]).remarks == ("dependency redis: no name leads to @stable",)
    (told,) = needs([{**aliased, "repository": ""}]).remarks
    assert told == "dependency redis: it names no repository"
    inside = {"charts/redis/Chart.yaml": b"apiVersion: v2\nname: redis\nversion: 1.0.0\n"}
    assert needs([aliased], inside) == ChartNeeds((), (), ())


def test_what_lies_inside_is_needed_to_build_the_chart_anew() -> None:
    inside = {
        "charts/redis/Chart.yaml": b"apiVersion: v2\nname: redis\nversion: 1.0.0\n",
        "charts/broken/Chart.yaml": b"name: broken",
    }
    (one,) = needs([REDIS], inside).dependencies
    assert one.where == "dependency redis (which the archive has inside)"


async def test_a_chart_is_pulled_and_read_once_it_is_held_nobody_is_asked(tmp_path: Path) -> None:
    files = {"values.yaml": b"image: quay.io/a/b:1"}
    archive = make_chart("app", "1.0.0", files, dependencies=[REDIS])
    with HelmRepo() as repo:
        for path, content in repository_of(archive).items():
            repo.put(path, content)
        async with composed(tmp_path, "upstreams:\n" + upstream(repo.origin)) as at:
            found = await read(at, "app:1.0.0")
            assert found == ChartNeeds(
                (DependencyNeed(found.dependencies[0].name, ">=1.0.0 <2", False, "dependency redis"),),
                (ImageNeed(parse_location("quay.io/a/b:1", ()), "values.yaml: image"),),
                (),
            )
            asked = len(repo.requests)
            assert await read(at, "app:1.0.0") == found
            assert len(repo.requests) == asked


async def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    with HelmRepo(repository_of(make_chart("app", "1.0.0", dependencies=[REDIS]))) as repo:
        async with composed(tmp_path, "upstreams:\n" + upstream(repo.origin)) as at:
            await read(at, "app:1.0.0")
            location = parse_location(f"{HOST}/app:1.0.0", ())
            (row,) = [one.row for one in await at.gateway.storage.catalog.held()]
            book = NeedsBook(at.gateway.storage.engines, FORM)
            (text,) = (await book.of([row.digest])).values()
            await book.keep(row.digest, text.replace("redis", "valkey"))
            assert dependency(await read(at, "app:1.0.0"))[0].endswith("/valkey")
            reader = ChartReader(at.gateway.puller, book)
            known = await reader.known({location: row.digest})
            assert dependency(reader.told(location, known[location]))[0].endswith("/valkey")


def test_names_follow_the_rules_in_force_whatever_they_were_when_it_was_read() -> None:
    plain = {**REDIS, "repository": "http://charts.example.test"}
    chart = read_chart(BytesIO(make_chart("app", "1.0.0", dependencies=[plain])))
    assert needs_of(chart, RuleSet()).dependencies == ()
    assert dependency(needs_of(chart, load_rules(RULES)))[0] == "plain/redis"


async def read(at: Composed, reference: str) -> ChartNeeds:
    book = NeedsBook(at.gateway.storage.engines, FORM)
    return await ChartReader(at.gateway.puller, book).read(parse_location(f"{HOST}/{reference}", ()))


async def test_what_is_no_chart_or_not_there_is_an_error(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        OCI.image(10).push_to(registry, "image", "1")
        async with composed(tmp_path, "upstreams:\n" + upstream(registry.origin, kind="registry")) as at:
            for reference, code in (
                ("image:1", ErrorCode.MANIFEST_UNKNOWN),
                ("image:2", ErrorCode.MANIFEST_UNKNOWN),
                ("image", ErrorCode.MANIFEST_UNKNOWN),
            ):
                with pytest.raises(OciError) as caught:
                    await read(at, reference)
                assert caught.value.code is code
