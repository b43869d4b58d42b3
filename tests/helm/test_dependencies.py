"""A chart's dependencies point at this gateway, and nothing else of the chart changes."""

import io

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.helm.archive import ArchiveError, ChartFiles
from gateway.helm.archive_copy import read_files
from gateway.helm.dependencies import RewrittenChart, rewrite_chart, rewrite_repository
from gateway.helm.document import parse_document
from gateway.helm.lock import parse_lock
from gateway.helm.metadata import MetadataError, parse_metadata
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.repository import Repository
from tests.helm.archives import chart_yaml, member, read, tgz

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

BASE = "gw.example.test:9000"
FILES = frozenset((b"Chart.yaml", b"Chart.lock", b"requirements.yaml", b"requirements.lock"))
HEAD = "apiVersion: v2 # kept\nname: demo\nversion: 1.10\n"
OLD = "https://charts.example.test/stable"
NEW = f"oci://{BASE}/charts.example.test/stable"
WANTED = f"dependencies:\n- name: sub\n  version: 1.x\n  repository: {OLD}/ # there\n"
LOCKED = f"dependencies:\n- name: sub\n  repository: {OLD}/\n  version: 1.2.3\n"


@pytest.mark.parametrize(
    ("url", "rewritten"),
    [
        ("https://charts.example.test", f"oci://{BASE}/charts.example.test"),
        ("https://charts.example.test/", f"oci://{BASE}/charts.example.test"),
        ("https://charts.example.test/a/b-c", f"oci://{BASE}/charts.example.test/a/b-c"),
        ("https://charts.example.test/a//", f"oci://{BASE}/charts.example.test/a"),
        ("oci://ghcr.io/team/charts", f"oci://{BASE}/ghcr.io/team/charts"),
        ("oci://registry-1.docker.io/bitnamicharts/", f"oci://{BASE}/registry-1.docker.io/bitnamicharts"),
        ("oci://gw.example.test/a", f"oci://{BASE}/gw.example.test/a"),
    ],
)
def test_a_repository_upstream_becomes_one_here(url: str, rewritten: str) -> None:
    assert rewrite_repository(url, BASE) == rewritten


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file://../sub",
        "file:../sub",
        "@stable",
        "alias:stable",
        "stable",
        "http://charts.example.test/a",
        "HTTPS://charts.example.test/a",
        "https:charts.example.test",
        "https:///a",
        "https://",
        f"oci://{BASE}",
        f"oci://{BASE}/charts.example.test/a/",
        f"https://{BASE}/charts/a",
        "https://charts.example.test:8443/a",
        "oci://localhost:5000/a",
        "https://[::1]/a",
        "https://Charts.example.test/a",
        "https://charts.example.test/Stable",
        "https://charts.example.test/a?token=x",
        "https://charts.example.test/a#b",
        "https://user:word@charts.example.test/a",
        "https://charts.example.test/~user",
        "https://charts.example.test/a//b",
        "https://charts.example.test/../b",
        "https://charts.example.test/%61",
        "https://charts.example.test/a ",
        f"https://charts.example.test/{'a' * 236}",
    ],
)
def test_what_is_no_place_upstream_or_can_have_no_name_here_stays(url: str) -> None:
    assert rewrite_repository(url, BASE) == url


@pytest.mark.parametrize("base", ["gw.example.test", "localhost:9000", "[::1]:9000"])
def test_the_base_is_taken_as_it_is(base: str) -> None:
    rewritten = rewrite_repository(OLD, base)
    assert rewritten == f"oci://{base}/charts.example.test/stable"
    assert rewrite_repository(rewritten, base) == rewritten
    assert rewrite_repository(f"https://{base}/x", base) == f"https://{base}/x"


def test_the_charts_own_name_counts_too() -> None:
    assert rewrite_repository(OLD, BASE, "sub") == NEW
    assert rewrite_repository(OLD, BASE, "Sub") == OLD
    assert rewrite_repository(OLD, BASE, "s" * 255) == OLD


hosts = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]{2,6}){0,2}", fullmatch=True)
schemes = st.sampled_from(["https://", "oci://", "http://", "file://", ""])
urls = st.builds("{}{}/{}".format, schemes, hosts, st.text("abZ09/._~%?-", max_size=20))


@given(url=urls | st.text(max_size=40), base=hosts)
def test_a_repository_is_rewritten_once_and_into_a_name_that_can_be_asked_for(url: str, base: str) -> None:
    rewritten = rewrite_repository(url, base)
    assert rewrite_repository(rewritten, base) == rewritten
    if rewritten != url:
        assert str(Repository.parse(rewritten.removeprefix(f"oci://{base}/"))) in url


def archive(**texts: str) -> bytes:
    """A chart of these files, ``Chart_yaml`` meaning Chart.yaml; a chart with its own lock lies inside."""
    inner = member(b"demo/charts/sub/Chart.yaml", f"name: sub\nversion: 1.2.3\n{WANTED}".encode())
    files = {name.replace("_", "."): text for name, text in texts.items()}
    return tgz(*(member(f"demo/{name}".encode(), text.encode()) for name, text in files.items()), inner)


def rewritten(content: bytes, base: str = BASE) -> RewrittenChart | None:
    return rewrite_chart(io.BytesIO(content), base)


def files_of(chart: RewrittenChart | None) -> dict[str, str]:
    assert chart is not None
    found = read_files(io.BytesIO(chart.archive), FILES)
    return {name.decode(): content.decode() for name, content in found.items()}


def lock_of(chart: str, requirements: str | None, lock: str) -> str:
    """The lock with the digest that it has if it is in sync, as told by what a lock of Helm's own stands."""
    files = ChartFiles(chart.encode(), None if requirements is None else requirements.encode())
    required = parse_metadata(files).dependencies
    locked = parse_lock(parse_document(lock.encode()), "lock").dependencies
    json_of = [[item.to_json() for item in items] for items in (required, locked)]
    return f"{lock}digest: {Digest.of(dump_compact(json_of))} # sum\n"


def is_in_step(chart: str, requirements: str | None, lock: str) -> bool:
    return lock_of(chart, requirements, lock.partition("digest:")[0]) == lock


def test_the_charts_own_files_are_rewritten_and_those_inside_stay() -> None:
    lock = lock_of(HEAD + WANTED, None, LOCKED)
    chart = rewritten(archive(Chart_yaml=HEAD + WANTED, Chart_lock=lock))
    files = files_of(chart)
    assert files["Chart.yaml"] == HEAD + WANTED.replace(f"{OLD}/", NEW)
    assert files["Chart.lock"].startswith(LOCKED.replace(f"{OLD}/", NEW))
    assert is_in_step(files["Chart.yaml"], None, files["Chart.lock"])
    assert chart is not None
    inner = read_files(io.BytesIO(chart.archive), {b"charts/sub/Chart.yaml"})
    assert inner == {b"charts/sub/Chart.yaml": f"name: sub\nversion: 1.2.3\n{WANTED}".encode()}


def test_requirements_of_older_charts_are_rewritten() -> None:
    head = HEAD.replace("v2", "v1")
    lock = lock_of(head, WANTED, LOCKED)
    files = files_of(rewritten(archive(Chart_yaml=head, requirements_lock=lock, requirements_yaml=WANTED)))
    assert files["Chart.yaml"] == head
    assert files["requirements.yaml"] == WANTED.replace(f"{OLD}/", NEW)
    assert is_in_step(head, files["requirements.yaml"], files["requirements.lock"])


def test_the_digest_that_helm_2_wrote_is_replaced_by_its_like() -> None:
    required = parse_metadata(ChartFiles(HEAD.encode(), WANTED.encode())).dependencies
    digest = str(Digest.of(dump_compact({"dependencies": [item.to_json() for item in required]})))
    files = files_of(
        rewritten(
            archive(
                Chart_yaml=HEAD, requirements_yaml=WANTED, requirements_lock=f"{LOCKED}digest: '{digest}'\n"
            )
        )
    )
    after = parse_metadata(ChartFiles(HEAD.encode(), files["requirements.yaml"].encode())).dependencies
    expected = Digest.of(dump_compact({"dependencies": [item.to_json() for item in after]}))
    assert files["requirements.lock"].endswith(f"digest: '{expected}'\n")


def test_a_lock_that_was_out_of_sync_keeps_its_digest() -> None:
    lock = f"{LOCKED}digest: sha256:{'0' * 64}\n"
    files = files_of(rewritten(archive(Chart_yaml=HEAD + WANTED, Chart_lock=lock)))
    assert files["Chart.lock"] == lock.replace(f"{OLD}/", NEW)


def test_an_alias_stays_and_what_was_locked_for_it_is_rewritten() -> None:
    """Whoever has the alias gets the chart from here: Helm compares with what the alias was."""
    lock = lock_of(HEAD + WANTED, None, LOCKED)
    chart = HEAD + WANTED.replace(f"{OLD}/", "'@stable'")
    files = files_of(rewritten(archive(Chart_yaml=chart, Chart_lock=lock)))
    assert files["Chart.yaml"] == chart
    assert files["Chart.lock"].startswith(LOCKED.replace(f"{OLD}/", NEW))
    assert is_in_step(HEAD + WANTED, None, files["Chart.lock"])


@pytest.mark.parametrize(
    ("dependency", "expected"),
    [
        (f"{{name: a, repository: '{OLD}'}}", f"{{name: a, repository: '{NEW}'}}"),
        (f'{{"repository": "{OLD}", "name": "a"}}', f'{{"repository": "{NEW}", "name": "a"}}'),
        (f"{{name: a, Repository: {OLD}}}", f"{{name: a, Repository: {NEW}}}"),
        (f"{{alias: b, repository: {OLD}, name: a}}", f"{{alias: b, repository: {NEW}, name: a}}"),
    ],
)
def test_every_way_to_write_a_dependency_is_found(dependency: str, expected: str) -> None:
    text = f"{HEAD}dependencies: [{dependency}]\n"
    assert files_of(rewritten(archive(Chart_yaml=text)))["Chart.yaml"] == text.replace(dependency, expected)


def test_what_cannot_be_seen_in_a_url_is_no_part_of_it() -> None:
    text = f'{HEAD}dependencies: [{{name: a, repository: "{OLD}\\u200b"}}]\n'
    files = files_of(rewritten(archive(Chart_yaml=text)))
    assert files["Chart.yaml"] == f'{HEAD}dependencies: [{{name: a, repository: "{NEW}"}}]\n'


def test_of_several_dependencies_each_is_judged_alone() -> None:
    text = (
        f"{HEAD}dependencies:\n- {{name: a, repository: &r {OLD}}}\n- {{name: B, repository: *r}}\n"
        "- {name: c, repository: file://../c}\n- {name: d}\n- {name: e, repository: }\n"
    )
    chart = rewritten(archive(Chart_yaml=text))
    assert chart is not None
    assert [dependency.repository for dependency in chart.metadata.dependencies] == [
        NEW,
        OLD,
        "file://../c",
        "",
        "",
    ]


@pytest.mark.parametrize(
    "texts",
    [
        {"Chart_yaml": HEAD},
        {"Chart_yaml": f"{HEAD}dependencies: []\n", "Chart_lock": f"{LOCKED}digest: x\n"},
        {"Chart_yaml": f"{HEAD}home: {OLD}\n"},
        {"Chart_yaml": HEAD + WANTED.replace(OLD, "http://charts.example.test")},
        {"Chart_yaml": HEAD + WANTED.replace(f"{OLD}/", NEW), "Chart_lock": ""},
        {"Chart_yaml": HEAD, "requirements_yaml": "dependencies: [{name: a, repository: file://../a}]"},
    ],
)
def test_a_chart_without_dependencies_elsewhere_is_left_alone(texts: dict[str, str]) -> None:
    assert rewritten(archive(**texts)) is None


def test_rewriting_twice_is_rewriting_once() -> None:
    content = archive(Chart_yaml=HEAD + WANTED, Chart_lock=lock_of(HEAD + WANTED, None, LOCKED))
    once = rewritten(content)
    assert once is not None
    assert rewritten(once.archive) is None
    assert rewritten(content) == once


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"Chart_yaml": f"{HEAD}x: &x [{{name: a, repository: {OLD}}}]\ndependencies: *x\n"}, "one place"),
        ({"Chart_yaml": HEAD + WANTED, "Chart_lock": "dependencies: ["}, r"Chart\.lock: "),
        ({"Chart_yaml": HEAD + WANTED, "Chart_lock": "[]"}, r"Chart\.lock is no mapping"),
        ({"Chart_yaml": HEAD + WANTED, "requirements_lock": "dependencies: [null]"}, r"requirements\.lock"),
        (
            {
                "Chart_yaml": f"{HEAD}dependencies: [{{name: Sub}}]\n",
                "requirements_yaml": f"dependencies: [{{repository: '{OLD}', name: sub}}]",
                "Chart_lock": "a: !!x b",
            },
            r"Chart\.lock: the tag",
        ),
        (
            {
                "Chart_yaml": f"{HEAD}dependencies: [{{name: Sub}}]\n",
                "requirements_yaml": f"dependencies: [{{repository: '{OLD}'}}]",
            },
            "say different things",
        ),
    ],
)
def test_a_chart_that_cannot_be_rewritten_soundly_is_refused(texts: dict[str, str], reason: str) -> None:
    with pytest.raises(MetadataError, match=reason):
        rewritten(archive(**texts))


def test_what_is_no_chart_archive_is_refused() -> None:
    with pytest.raises(ArchiveError, match="leads out"):
        rewritten(tgz(chart_yaml((HEAD + WANTED).encode()), member(b"x/../../etc")))


dependencies = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abcdef"), "repository": urls | st.just(OLD)},
        optional={"condition": st.text("abc.é", max_size=9), "version": st.just("1.x")},
    ),
    max_size=5,
    unique_by=lambda dependency: str(dependency["name"]),
)


@given(
    dependencies=dependencies,
    is_flow=st.sampled_from([None, True, False]),
    style=st.sampled_from([None, "'", '"']),
)
def test_metadata_is_equal_but_for_repositories(
    dependencies: list[dict[str, str]], is_flow: bool | None, style: str | None
) -> None:
    described = {"name": "demo", "version": "1.2.3", "dependencies": dependencies, "keywords": [OLD, "é"]}
    text = yaml.safe_dump(described, default_flow_style=is_flow, default_style=style, sort_keys=False)
    content = archive(Chart_yaml=text, Chart_lock=lock_of(text, None, f"generated: {OLD}\n{LOCKED}"))
    chart = rewritten(content)
    before = parse_metadata(read(content)).to_json()
    if chart is None:
        assert not dependencies or OLD not in {item["repository"] for item in dependencies}
        return
    after = parse_metadata(read(chart.archive))
    assert after == chart.metadata
    expected = [
        {**item, "repository": rewrite_repository(item["repository"], BASE, item["name"])}
        for item in dependencies
    ]
    names = ("name", "repository")
    told = [{name: item.to_json()[name] for name in names} for item in after.dependencies]
    assert told == [{name: item[name] for name in names} for item in expected]
    assert {**after.to_json(), "dependencies": None} == {**before, "dependencies": None}
    files = files_of(chart)
    assert is_in_step(files["Chart.yaml"], None, files["Chart.lock"])
