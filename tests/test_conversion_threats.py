"""threats.md 1e as one table: what a Helm repository may send, and what a client then gets."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.composed import HOST, Composed, FakeDns, composed, upstream
from tests.fakes.charts import dump_index, index_entry, make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.helm.archives import END, member, pax, tgz

pytestmark = pytest.mark.slow  # many small tests, seconds together

Files = Mapping[str, bytes]

MIB = 1 << 20
CHART = b"apiVersion: v2\nname: demo\nversion: 1.0.0\n"
DEMO = make_chart("demo", "1.0.0")
LENIENT_HOST = "lenient.example.test"
FOLDER = "{folder}"  # stands for the row's own folder in an index


@dataclass(frozen=True, slots=True)
class Row:
    """A repository, what is asked of it, and the answer; ``reason`` is the error's ``detail.reason``.

    ``message`` is part of what the client is told; ``archives`` counts how often archives were asked for;
    ``looked_up`` are the names that DNS was asked for, beside the repository's.
    """

    id: str
    files: Files | Callable[[], Files]
    status: int
    code: str | None = None
    reason: str | None = None
    message: str = ""
    tag: str = "1.0.0"
    archives: int | None = None
    looked_up: frozenset[str] = frozenset()
    host: str = HOST


def listed(archive: bytes = DEMO, **changes: object) -> Files:
    """A repository whose index lists ``archive`` as demo 1.0.0, except for the changes."""
    entry = index_entry(DEMO, "demo-1.0.0.tgz", digest=hashlib.sha256(archive).hexdigest())
    entry = {key: value for key, value in {**entry, **changes}.items() if value is not ...}
    return {"index.yaml": dump_index({"demo": [entry]}), "demo-1.0.0.tgz": archive}


def written(entries: str, head: str = "apiVersion: v1\nentries:\n") -> Files:
    """A repository whose index is spelled out; its archive is DEMO."""
    return {"index.yaml": (head + entries).encode(), "demo-1.0.0.tgz": DEMO}


def hostile(index: bytes | str) -> Files:
    return {"index.yaml": index.encode() if isinstance(index, str) else index}


def packed(*members: bytes, end: bytes = END) -> Files:
    """A repository whose archive of demo 1.0.0 has these members."""
    return listed(tgz(*members, end=end))


def chart_file(text: bytes) -> Files:
    return packed(member(b"demo/Chart.yaml", text))


ok = partial(Row, status=200)
unknown = partial(Row, status=404, code="MANIFEST_UNKNOWN")
refused = partial(Row, status=502, code="UNKNOWN")
bad_url = partial(refused, reason="bad_chart_url")
no_chart = partial(refused, reason="archive_invalid", archives=1)
no_index = partial(refused, reason="index_invalid")
unasked = partial(Row, status=503, code="UNAVAILABLE", reason="unavailable", archives=0)
mislabelled = partial(refused, reason="chart_mismatch")

_TWO = "  demo:\n  - name: demo\n    version: {}\n    urls: [x.tgz]\n" + (
    "  - name: demo\n    version: 1.0.0\n    urls: [demo-1.0.0.tgz]\n"
)
_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghij")
)
_DEMO_YAML = member(b"demo/Chart.yaml", CHART)
_LINKS = [member(b"demo/" + flag, flag=flag) for flag in (b"1", b"2", b"6")]

SKIPPED = [
    unknown("C1 a version that is a float", written(_TWO.format("1.10")), tag="1.10", message="1 entries"),
    unknown("C1 and is not taken for 1.1", written(_TWO.format("1.10")), tag="1.1"),
    unknown("C1 a version that is an integer", written(_TWO.format("3")), tag="3", message="1 entries"),
    ok("C1 serves the entries beside it", written(_TWO.format("1.10"))),
    ok("C2 a null entry beside a good one", written("  demo:\n  - null\n" + _TWO.format("3")[8:])),
    Row("C2 a chart that is null", written("  demo: null\n"), 404, "NAME_UNKNOWN"),
    unknown("C3 a version that is a word", written(_TWO.format("latest")), tag="latest"),
    ok("C3 serves the entries beside it", written(_TWO.format("latest"))),
]
DIGESTS = [
    refused("C4 another digest", listed(digest="0" * 64), reason="digest_mismatch", archives=2),
    refused("C4 a digest that is none", listed(digest="12"), reason="digest_mismatch", archives=2),
    ok("C4 another digest, and warn", listed(digest="0" * 64), host=LENIENT_HOST),
    ok("C4 a prefixed digest", listed(digest="sha256:" + hashlib.sha256(DEMO).hexdigest())),
    ok("C4 an upper case digest", listed(digest=hashlib.sha256(DEMO).hexdigest().upper())),
    ok("C4 an empty digest", listed(digest="")),
]
URLS = [
    *(
        bad_url(f"C5 {url}", listed(urls=[url]), archives=0)
        for url in (
            *("file:///etc/passwd", "javascript:alert(1)", "data:,x", "ftp://a.example.org/x.tgz"),
            *("https://good.example.org@127.0.0.1/x.tgz", "https://good.example.org\\@evil.example.org/x"),
            *("https://evil.example.org%2f.good.example.org/x", "https:/x", "https://127。0。0。1/x.tgz"),
            *("x.tgz#y", "http://[::1/x.tgz"),
        )
    ),
    *(
        refused(f"C5 {url}", listed(urls=[url]), reason="bad_url", archives=0)
        for url in ("https://a.example.org:22/x.tgz", "//evil.example.org:81/x.tgz", "http://a.example.org/x")
    ),
    unasked(
        "C5 oci://",
        listed(urls=["oci://registry.example.org/x"]),
        looked_up=frozenset({"registry.example.org"}),
    ),
    bad_url("C5 oci:// and no name", listed(urls=["oci://registry.example.org/X"]), archives=0),
    ok("C5 the next URL is tried", listed(urls=["file:///x", "gone.tgz", "demo-1.0.0.tgz"])),
    bad_url(
        "C5 but not a fourth", listed(urls=["a.tgz", "file:///x", "b.tgz", "demo-1.0.0.tgz"]), archives=2
    ),
    ok("C6 ../", listed(urls=[f"../{FOLDER}/demo-1.0.0.tgz"])),
    ok("C6 a path from the root", listed(urls=[f"/{FOLDER}/demo-1.0.0.tgz"])),
    ok("C6 more ../ than there are folders", listed(urls=[f"../../../../{FOLDER}/demo-1.0.0.tgz"])),
    ok("C6 a query", listed(urls=["demo-1.0.0.tgz?token=a%20b"])),
    ok("C6 an absolute URL of this repository", listed(urls=[f"https://{HOST}/{FOLDER}/demo-1.0.0.tgz"])),
    *(
        unasked(f"C6 {host}", listed(urls=[f"https://{host}/x.tgz"]), looked_up=frozenset({host}))
        for host in ("private.example.org", "10.0.0.1", "nowhere.example.org")
    ),
    *(
        unknown(f"C7 urls: {urls}", listed(urls=urls), message="no downloadable URLs", archives=0)
        for urls in (..., [], None, "demo-1.0.0.tgz", [None], [7], [["a"]], {"a": "b"})
    ),
]
NAMES = [
    mislabelled("C8 the entry has another name", listed(name="other"), archives=0),
    mislabelled("C8 the archive has another name", chart_file(CHART.replace(b"demo", b"evil")), archives=1),
    mislabelled("C8 the archive has another version", listed(version="1.0.1"), tag="1.0.1", archives=1),
    ok("C8 the same version with a v", listed(version="v1.0.0"), tag="v1.0.0"),
    ok("C8 the same version in short", listed(version="1.0"), tag="1.0"),
    *(mislabelled(f"C9 name {name!r} in the index", listed(name=name), archives=0) for name in ("..", "a/b")),
    *(
        no_chart(f"C9 name {name!r} in the archive", chart_file(f"name: {name}\nversion: 1.0.0\n".encode()))
        for name in ("..", ".", "a/b", "../../x", "../proj1/x", "")
    ),
]
ARCHIVES = [
    no_chart("C10 two Chart.yaml", packed(_DEMO_YAML, _DEMO_YAML)),
    *(
        no_chart(f"C11 Chart.yaml of type {flag!r}", packed(member(b"demo/Chart.yaml", flag=flag)))
        for flag in (b"1", b"2", b"3", b"4", b"5", b"6")
    ),
    ok("C11 links elsewhere", packed(*_LINKS, _DEMO_YAML)),
    no_chart("C12 no Chart.yaml", packed(member(b"demo/values.yaml", b"a: 1"))),
    no_chart("C12 no folder", packed(member(b"Chart.yaml", CHART))),
    no_chart("C12 a folder too deep", packed(member(b"./demo/Chart.yaml", CHART))),
    ok("C12 a folder that is a dot", packed(member(b"./Chart.yaml", CHART))),
    ok("C12 a sub-chart first", packed(member(b"demo/charts/a/Chart.yaml", b"name: a"), _DEMO_YAML)),
    *(
        no_chart(f"C13 a member {name!r}", packed(_DEMO_YAML, member(name, b"x")))
        for name in (b"demo/../../../tmp/evil", b"/etc/evil", b"C:/x", b"demo\\..\\x")
    ),
    no_chart("C13 NUL in a name", packed(_DEMO_YAML, pax(("path", "demo/a\0b")), member(b"x", b"x"))),
    no_chart("C14 101 MiB", partial(packed, _DEMO_YAML, *[member(b"demo/zeros", bytes(4 * MIB))] * 26)),
    no_chart("C14 a file of more than 5 MiB", packed(_DEMO_YAML, member(b"demo/zeros", bytes(5 * MIB + 1)))),
    no_chart("C14 20,001 members", partial(packed, *[member(b"demo/x")] * 20_000, _DEMO_YAML)),
    no_chart("C14 a PAX header of 64 KiB", packed(pax(("comment", "x" * 65_536)), _DEMO_YAML)),
    no_chart("C14 a Chart.yaml of 1 MiB", chart_file(CHART + b"#" * MIB)),
    no_chart("C15 a negative size", packed(member(b"demo/Chart.yaml", CHART, size=b"-0000000001\0"))),
    no_chart(
        "C15 a size in base 256", packed(member(b"demo/Chart.yaml", CHART, size=b"\x80" + bytes(10) + b"*"))
    ),
    no_chart("C15 a sparse file", packed(member(b"demo/Chart.yaml", CHART, flag=b"S"))),
    no_chart("C15 a sparse file by PAX", packed(pax(("GNU.sparse.major", "1")), _DEMO_YAML)),
    no_chart("C15 an endless tar", packed(_DEMO_YAML, end=bytes(512) + b"x" * 512)),
    no_chart("C15 two gzip streams", listed(DEMO + DEMO)),
    no_chart("C15 no gzip trailer", listed(DEMO[:-4])),
    no_chart("C15 trailing garbage", listed(DEMO + b"garbage")),
    no_chart("C15 a wrong CRC", listed(DEMO[:-8] + b"\0\0\0\0" + DEMO[-4:])),
    no_chart("C15 no gzip at all", listed(b"<html>Sign in</html>")),
]
INDEXES = [
    no_index("C16 a bomb of aliases", hostile(_BOMB)),
    no_index("C16 a bomb of merge keys", hostile("a: &a {x: y}\nb: {<<: [*a, *a]}\nentries: {}\n")),
    no_index("C16 a recursive alias", hostile("apiVersion: v1\nentries: &a {demo: *a}\n")),
    no_index("C16 60 kB of [", hostile("[" * 30_000 + "]" * 30_000)),
    no_index("C16 depth behind a key", hostile("apiVersion: v1\nentries: " + "{a: " * 50_000)),
    no_index("C16 a tag of Python", hostile("apiVersion: v1\nentries: !!python/object:os.system {}\n")),
    no_index("C16 no UTF-8", hostile(b"apiVersion: v1\nentries:\n  demo:\n  - name: \xff\xfe\n")),
    no_index("C16 duplicate keys", hostile("apiVersion: v1\nentries: {demo: [], demo: []}\n")),
    no_index("C16 two documents", hostile("apiVersion: v1\nentries: {}\n---\nentries: {}\n")),
    no_index("C16 not a mapping", hostile("- demo\n")),
    no_index("C16 no apiVersion", hostile("entries: {}\n")),
    no_index("C16 nothing", hostile("")),
    Row("C16 HTML", hostile("<!DOCTYPE html><html></html>"), 404, "NAME_UNKNOWN", message="web page"),
    ok("C16 a BOM", {**listed(), "index.yaml": b"\xef\xbb\xbf" + listed()["index.yaml"]}),
    ok("C16 a version of 5,000 digits", written(_TWO.format("9" * 5_000))),
    ok("C16 a day that is none", listed(created="2001-99-99")),
    no_chart("C16 the same in Chart.yaml: aliases", chart_file(_BOMB.encode())),
    no_chart("C16 the same in Chart.yaml: depth", chart_file(b"name: " + b"[" * 30_000 + b"]" * 30_000)),
    no_chart("C16 the same in Chart.yaml: a tag", chart_file(b"name: !!python/name:os.system x\n")),
    no_chart("C16 the same in Chart.yaml: two keys", chart_file(CHART + b"name: demo\n")),
]
CONTENT = [
    no_chart("C18 annotations of 64 KiB", chart_file(CHART + b"annotations: {a: %b}\n" % (b"x" * 65_536))),
    ok("C18 controls in a description", chart_file(CHART + b'description: "\\e[31m<script>"\n')),
]
ROWS = [*SKIPPED, *DIGESTS, *URLS, *NAMES, *ARCHIVES, *INDEXES, *CONTENT]


def _marks(row: Row) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if callable(row.files) else []


@pytest.fixture(scope="module")
def repo() -> Iterator[HelmRepo]:
    with HelmRepo() as repo:
        yield repo


@pytest.fixture(scope="module")
async def gateway(repo: HelmRepo, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Composed]:
    keys = {HOST: "refuse", LENIENT_HOST: "warn"}
    rules = "".join(upstream(repo.url, key, digest_mismatch=policy) for key, policy in keys.items())
    dns = FakeDns({"private.example.org": ["93.184.216.34", "10.1.2.3"]})
    async with composed(tmp_path_factory.mktemp("data"), f"upstreams:\n{rules}", dns) as gateway:
        yield gateway


def test_the_table_has_every_row_of_the_threat_list_but_those_tested_below() -> None:
    tested = {row.id.partition(" ")[0] for row in ROWS}
    assert tested == {f"C{number}" for number in range(1, 21)} - {"C17", "C19", "C20"}


def _asked(repo: HelmRepo) -> int:
    """How often it was asked, beside whether it is a registry."""
    return repo.count() - repo.count("/v2/")


@pytest.mark.anyio
@pytest.mark.parametrize("row", [pytest.param(row, id=row.id, marks=_marks(row)) for row in ROWS])
async def test_what_a_repository_sends(row: Row, repo: HelmRepo, gateway: Composed) -> None:
    folder = _publish(repo, row)
    before, asked_before = await gateway.stored(), _asked(repo)
    gateway.dns.asked.clear()
    answer = await gateway.manifest(f"{row.host}/{folder}/demo", row.tag)
    after = await gateway.stored()
    error = answer.json().get("errors", [{}])[0]
    told = (answer.status_code, error.get("code"), error.get("detail", {}).get("reason"))
    assert told == (row.status, row.code, row.reason), answer.text
    assert row.message in error.get("message", "")
    assert (after == before) == (row.status != 200)
    assert row.archives in (None, _asked(repo) - asked_before - repo.count(f"/{folder}/index.yaml"))
    assert set(gateway.dns.asked) - {"127.0.0.1"} == row.looked_up


def _publish(repo: HelmRepo, row: Row) -> str:
    """Put the row's files into a folder of their own, and return its name."""
    folder = f"row{ROWS.index(row)}"
    files = row.files() if callable(row.files) else row.files
    for path, content in files.items():
        repo.put(f"{folder}/{path}", content.replace(FOLDER.encode(), folder.encode()))
    return folder


@pytest.mark.anyio
async def test_c17_a_huge_index_in_another_style_is_parsed_whole_once_for_all_its_charts(
    repo: HelmRepo, tmp_path: Path
) -> None:
    """Once for each content: what the parse gave is on the shelf, and outlasts the index itself."""
    charts = "".join(f"c{number}: [{{name: c{number}, version: 1.0.0}}], " for number in range(50))
    repo.put("huge/index.yaml", f"{{apiVersion: v1, entries: {{{charts}}}}}".encode())
    async with composed(tmp_path, f"upstreams:\n{upstream(repo.url)}") as gateway:
        await gateway.client.get(f"/v2/{HOST}/huge/c0/tags/list")
        await gateway.stored()
        (index,) = [path for path in gateway.data_dir.blobs.rglob("*") if b"{apiVersion" in _head(path)]
        index.unlink()
        answers = [await gateway.client.get(f"/v2/{HOST}/huge/c{number}/tags/list") for number in range(50)]
    assert {tuple(answer.json()["tags"]) for answer in answers} == {("1.0.0",)}
    assert repo.count("/huge/index.yaml") == 1


def _head(path: Path) -> bytes:
    return path.read_bytes()[:20] if path.is_file() else b""


@pytest.mark.anyio
async def test_c18_a_chart_cannot_rename_itself_by_annotations_and_its_bytes_stay(
    repo: HelmRepo, gateway: Composed
) -> None:
    own = {"org.opencontainers.image.title": "evil", "org.opencontainers.image.version": "6.6.6", "x": "<b>"}
    chart = make_chart("demo", "1.0.0", annotations=own)
    for path, content in repository_of(chart).items():
        repo.put(f"annotated/{path}", content)
    manifest = (await gateway.manifest(f"{HOST}/annotated/demo", "1.0.0")).json()
    titles = {key.rpartition(".")[2]: text for key, text in manifest["annotations"].items()}
    assert (titles["title"], titles["version"], titles["x"]) == ("demo", "1.0.0", "<b>")
    assert manifest["layers"][0]["digest"] == f"sha256:{hashlib.sha256(chart).hexdigest()}"


@pytest.mark.anyio
async def test_c19_the_same_archive_and_entry_give_the_same_manifest_on_any_host(
    repo: HelmRepo, tmp_path: Path
) -> None:
    contents = set()
    for host in ("one", "two"):
        for path, content in listed().items():
            repo.put(f"{host}/{path}", content)
        key = f"{host}.example.test"
        rules = f"upstreams:\n{upstream(f'{repo.url}/{host}', key)}"
        async with composed(tmp_path / host, rules) as gateway:
            contents.add((await gateway.manifest(f"{key}/demo", "1.0.0")).content)
    assert len(contents) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("moved_to", "layers"), [(None, 2), ("own", 2), ("foreign", 1)])
async def test_c20_a_provenance_file_counts_only_from_the_archives_own_origin(
    moved_to: str | None, layers: int, repo: HelmRepo, tmp_path: Path
) -> None:
    for path, content in {**listed(), "demo-1.0.0.tgz.prov": b"signed", "moved": b"signed"}.items():
        repo.put(f"signed/{path}", content)
    with HelmRepo({"signed/moved": b"signed"}) as foreign:
        places = {"own": repo.url, "foreign": foreign.url}
        faults = repo.faults_of("signed/demo-1.0.0.tgz.prov")
        faults.redirects_to = f"{places[moved_to]}/signed/moved" if moved_to else None
        rules = "".join(
            (
                "upstreams:\n",
                upstream(repo.url, provenance="true"),
                upstream(foreign.url, "foreign.example.test", trusted_by=f"[{HOST}]"),
            )
        )
        async with composed(tmp_path, rules) as gateway:
            manifest = (await gateway.manifest(f"{HOST}/signed/demo", "1.0.0")).json()
        assert foreign.count() == (moved_to == "foreign")
    assert len(manifest["layers"]) == layers
