"""The catalog's pages: what is held is found and shown, whatever strangers wrote into it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from gateway.oci.digest import Digest
from gateway.web.admin.catalog_commands import Front
from gateway.web.admin.catalog_pages import SHOWN_BYTES, CatalogPages, ShownText, outward, shown_text
from gateway.web.admin.pages import Drawer
from tests.catalog_house import ARGO, HOST, CatalogHouse, catalog_house, image_of, index_of
from tests.fakes.charts import make_chart
from tests.web.admin_house import EDITOR, VIEWER, open_desk

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

MARKUP = '"><img src=x onerror=alert(1)><script>alert(1)</script>'
PAGE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class HeldNumbers:
    repositories: int = 12_345
    tags: int = 1_000_000
    blob_bytes: int = 3 << 30


@dataclass(frozen=True, slots=True)
class Site:
    house: CatalogHouse
    client: httpx.AsyncClient

    async def page(self, path: str, status: int = 200, role: dict[str, str] = VIEWER, **query: str) -> str:
        answer = await self.client.get(f"/admin/catalog{path}?{urlencode(query)}", headers=role)
        assert answer.status_code == status
        assert len(answer.content) < PAGE_BYTES
        return answer.text

    async def tag(self, view: str = "", reference: str = "5.1.0", name: str = ARGO) -> str:
        return await self.page("/tag", name=name, reference=reference, view=view)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async def numbers() -> HeldNumbers:
        return HeldNumbers()

    drawer = Drawer("test", lambda: 1_700_000_100.0)
    async with catalog_house(tmp_path) as house:
        pages = CatalogPages(house.desk, numbers, Front("charts.own.test", is_plain=False), drawer).pages()
        async with open_desk(pages=pages, drawer=drawer) as client:
            yield Site(house, client)


async def test_an_empty_catalog_says_how_it_fills(site: Site) -> None:
    assert "Nothing is held yet" in await site.page("")


async def test_the_catalog_lists_names_and_what_is_held_in_numbers(site: Site) -> None:
    await site.house.keep_chart(ARGO, "5.1.0")
    text = await site.page("")
    assert (
        f'<a href="/admin/catalog/repository?name={HOST.replace("/", "%2F")}%2Fargo%2Fargo-cd">{ARGO}</a>'
        in text
    )
    assert "12,345" in text
    assert "1,000,000" in text
    assert "3.0 GiB" in text


async def test_a_search_leads_to_the_tag_it_was_for(site: Site) -> None:
    await site.house.keep_chart(ARGO, "5.1.0")
    text = await site.page("", query="argo-cd:5.1.0")
    assert "reference=5.1.0" in text
    assert "Nothing that is held" in await site.page("", query="nginx")


async def test_what_was_searched_for_is_text(site: Site) -> None:
    text = await site.page("", query=MARKUP)
    assert "<img" not in text.replace('<img src="/admin/static/icon.svg"', "")
    assert "<script>" not in text


async def test_a_repository_lists_its_tags_with_what_stands_out(site: Site) -> None:
    await site.house.keep_chart(ARGO, "5.1.0")
    await site.house.keep(ARGO, "5.2.0", image_of(b"x"), seen=str(Digest.of(b"new")))
    text = await site.page("/repository", name=ARGO)
    assert text.index(">5.2.0<") < text.index(">5.1.0<")
    assert "changed upstream" in text
    assert "No tag that is held" in await site.page("/repository", name=ARGO, query="9")


async def test_a_short_name_says_what_it_stands_for(site: Site) -> None:
    await site.house.keep_chart("argo/argo-cd", "5.1.0", target=ARGO)
    assert f"Stands for <code>{ARGO}</code>" in await site.page("/repository", name="argo/argo-cd")


async def test_what_is_not_there_is_a_page_that_says_so(site: Site) -> None:
    assert "nothing was pulled by the name" in await site.page("/repository", 404, name="nobody")
    await site.house.keep_chart(ARGO, "5.1.0")
    assert "nothing is held" in await site.page("/tag", 404, name=ARGO, reference="9")
    assert "no page" in await site.page("/tag", 404, name=ARGO, reference="5.1.0", view="everything")


async def test_a_chart_is_shown_with_its_facts_and_the_commands_for_it(site: Site) -> None:
    await site.house.keep_chart(
        ARGO, "5.1.0", description="GitOps for all", home="https://argo.test", appVersion="v2"
    )
    text = await site.tag()
    assert "GitOps for all" in text
    assert '<a href="https://argo.test" rel="noopener noreferrer nofollow">' in text
    assert f"helm pull oci://charts.own.test/{ARGO} --version 5.1.0" in text
    assert "kind: Application" in text
    assert "kind: HelmRelease" in text
    assert f"https://{ARGO}-5.1.0.tgz" in text
    assert "None is held" in text  # of signatures


async def test_an_address_that_leads_nowhere_good_is_text(site: Site) -> None:
    scripts = "javascript:alert(1)"
    await site.house.keep_chart(
        ARGO, "5.1.0", home=scripts, icon=scripts, sources=[scripts, "data:text/html,x"]
    )
    text = await site.tag()
    assert scripts in text
    assert 'href="javascript' not in text
    assert 'href="data' not in text


async def test_markup_in_a_chart_is_text_on_every_page_of_it(site: Site) -> None:
    files = {"values.yaml": MARKUP.encode(), "README.md": MARKUP.encode()}
    dependency = {"name": MARKUP, "version": MARKUP, "repository": MARKUP, "condition": MARKUP}
    await site.house.keep_chart(
        ARGO,
        "5.1.0",
        files,
        description=MARKUP,
        home=MARKUP,
        appVersion=MARKUP,
        keywords=[MARKUP],
        maintainers=[{"name": MARKUP, "email": MARKUP, "url": MARKUP}],
        dependencies=[dependency],
    )
    for view in ("", "values", "readme", "manifest", "layers"):
        text = await site.tag(view)
        assert "<script>" not in text
        assert "<img src=x" not in text


async def test_markup_in_a_manifest_is_text(site: Site) -> None:
    image = {**image_of(b"x"), "annotations": {MARKUP: MARKUP}}
    await site.house.keep(ARGO, "5.1.0", image)
    for view in ("", "manifest", "layers"):
        assert "<img src=x" not in await site.tag(view)


async def test_values_are_shown_as_they_are_written(site: Site) -> None:
    await site.house.keep_chart(ARGO, "5.1.0", {"values.yaml": b"a: <b> # 'x'\n"})
    text = await site.tag("values")
    assert "a: &lt;b&gt; # &#39;x&#39;" in text
    assert "beginning" not in text


async def test_of_long_values_the_beginning_is_shown_with_the_command_for_all(site: Site) -> None:
    await site.house.keep_chart(ARGO, "5.1.0", {"values.yaml": b'key: "<value>"\n' * 10_000})
    text = await site.tag("values")
    assert "beginning of 146.5 KiB" in text
    assert f"helm show values oci://charts.own.test/{ARGO} --version 5.1.0" in text


async def test_a_readme_is_rendered(site: Site) -> None:
    await site.house.keep_chart(ARGO, "5.1.0", {"README.md": b"# Argo\n\n[docs](https://argo.test)"})
    text = await site.tag("readme")
    assert '<h2 id="readme-argo">Argo</h2>' in text
    assert '<a href="https://argo.test" rel="noopener noreferrer nofollow">docs</a>' in text


async def test_of_a_long_readme_whole_blocks_are_shown_with_the_command_for_all(site: Site) -> None:
    await site.house.keep_chart(ARGO, "5.1.0", {"README.md": b"Some *words*.\n\n" * 20_000})
    assert "helm show readme oci://" in await site.tag("readme")


async def test_a_chart_without_values_or_readme_says_so(site: Site) -> None:
    await site.house.keep_chart(ARGO, "5.1.0")
    assert "no values.yaml" in await site.tag("values")
    assert "no README" in await site.tag("readme")


async def test_an_archive_that_cannot_be_read_says_why(site: Site) -> None:
    manifest = await site.house.chart_manifest(make_chart("argo-cd", "5.1.0"), config=b"{}")
    broken = await site.house.chart_manifest(b"no archive", config=b"{}")
    await site.house.keep(ARGO, "5.1.0", {**manifest, "layers": broken["layers"]})
    assert "no intact gzip stream" in await site.tag("values")
    assert "no intact gzip stream" in await site.tag()


async def test_what_is_not_here_can_be_pulled_by_an_editor(site: Site) -> None:
    await site.house.keep_chart(ARGO, "5.1.0", {"README.md": b"x"})
    artifact = await site.house.desk.tag(ARGO, "5.1.0")
    assert artifact.chart_layer is not None
    await site.house.storage.blobs.delete(artifact.chart_layer)
    editors = await site.page("/tag", role=EDITOR, name=ARGO, reference="5.1.0", view="readme")
    assert 'action="/admin/actions/pull"' in editors
    viewers = await site.tag("readme")
    assert "not here" in viewers
    assert "/admin/actions/" not in viewers
    assert "not here" in await site.tag("layers")


async def test_a_viewer_has_no_buttons_that_change_something(site: Site) -> None:
    await site.house.keep_chart(ARGO, "5.1.0")
    for path in ("/repository", "/tag"):
        assert "/admin/actions/" not in await site.page(path, name=ARGO, reference="5.1.0")
        editors = await site.page(path, role=EDITOR, name=ARGO, reference="5.1.0")
        assert 'action="/admin/actions/refresh"' in editors
        assert 'action="/admin/actions/purge"' in editors
        assert 'name="form_token"' in editors


async def test_the_manifest_is_indented_for_reading(site: Site) -> None:
    digest = await site.house.keep_chart(ARGO, "5.1.0")
    text = await site.tag("manifest")
    assert str(digest) in text
    assert "\n  &#34;schemaVersion&#34;: 2," in text


async def test_an_image_index_lists_its_platforms(site: Site) -> None:
    name = "docker.io/library/redis"
    held = await site.house.keep(name, "7-amd64", image_of(b"x"))
    await site.house.keep(name, "7", index_of({"linux/amd64": held, "linux/arm64": Digest.of(b"y")}))
    text = await site.tag(reference="7", name=name)
    assert "Platforms: linux/amd64, linux/arm64" in text
    assert f"skopeo copy --all docker://charts.own.test/{name}:7 oci:redis:7" in text
    assert f"reference=sha256%3A{held.hex}" in await site.tag("layers", reference="7", name=name)


async def test_a_manifest_of_very_many_layers_stays_a_page(site: Site) -> None:
    await site.house.keep(ARGO, "5.1.0", image_of(*(str(number).encode() for number in range(2000))))
    for view in ("", "manifest", "layers"):
        await site.tag(view)
    assert "The first 100 of 2,001" in await site.tag("layers")


def test_a_text_is_cut_at_a_line_by_how_long_it_gets_in_html() -> None:
    cut = shown_text('"\n' * SHOWN_BYTES)
    assert cut.is_cut
    assert cut.text.endswith("\n")
    assert len(cut.text) * 3 <= SHOWN_BYTES
    assert shown_text("a\nb") == ShownText("a\nb", is_cut=False)


@pytest.mark.parametrize(
    ("url", "is_outward"),
    [
        ("https://a.test/b?c=d#e", True),
        ("mailto:a@b.test", True),
        ("HTTP://a.test", True),
        ("javascript:alert(1)", False),
        (" https://a.test", False),
        ("//a.test", False),
        ("/admin", False),
        ("https://a.test/\n", False),
        ("", False),
        ("https://a.test/" + "x" * 2000, False),
    ],
)
def test_an_address_leads_out_or_is_text(url: str, *, is_outward: bool) -> None:
    assert bool(outward(url)) is is_outward
