"""The catalog in the admin API: search, a repository's tags, an artifact, what is in a chart."""

from typing import Annotated

import msgspec

from gateway.catalog_desk import CatalogDesk
from gateway.catalog_shown import ArtifactDetail
from gateway.oci.errors import OciError, Situation
from gateway.web.admin.catalog_facts import (
    ArtifactFacts,
    ChartFacts,
    RepositoryPage,
    TagPage,
    artifact_facts,
    chart_facts,
    repository_facts,
    tag_page,
)
from gateway.web.admin.operations import Call, Endpoint, Nothing, Operation, Reply

_Limit = Annotated[int, msgspec.Meta(ge=1, le=200)]
_Text = Annotated[str, msgspec.Meta(max_length=400)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._/:-]*$", max_length=255)]
_Reference = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9._+-]{0,127}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$",
        max_length=135,
    ),
]
_Place = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9._/:@\[\]-]*$", max_length=255)]
_Cursor = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]*$", max_length=1500)]


class RepositoryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    query: _Text = ""
    after: _Cursor = ""
    limit: _Limit = 50


class TagQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: _Name
    query: _Text = ""
    after: _Cursor = ""
    limit: _Limit = 50


class ArtifactQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: _Name
    reference: _Reference
    target: _Place = ""
    variant: _Place = ""


def operations(catalog: CatalogDesk) -> list[Endpoint]:
    """What the API offers of the catalog."""
    return [_repositories(catalog), _tags(catalog), _artifact(catalog), _chart(catalog)]


def _repositories(catalog: CatalogDesk) -> Endpoint:
    async def search_repositories(call: Call[RepositoryQuery, Nothing]) -> Reply[RepositoryPage]:
        page = await catalog.search(call.query.query, call.query.after, call.query.limit)
        return Reply(RepositoryPage([repository_facts(one) for one in page.repositories], page.next))

    return Operation(
        "GET",
        "/catalog/repositories",
        "catalog",
        "Search names by a part of them, by name:tag, or by a digest or how it begins",
        search_repositories,
        query=RepositoryQuery,
        body=Nothing,
        value=RepositoryPage,
    )


def _tags(catalog: CatalogDesk) -> Endpoint:
    async def list_held_tags(call: Call[TagQuery, Nothing]) -> Reply[TagPage]:
        asked = call.query
        return Reply(tag_page(await catalog.repository(asked.name, asked.after, asked.limit, asked.query)))

    return Operation(
        "GET",
        "/catalog/tags",
        "catalog",
        "The tags that are held of a name, newest version first",
        list_held_tags,
        query=TagQuery,
        body=Nothing,
        value=TagPage,
        refusals=(Situation.NAME_NOT_KNOWN,),
    )


def _artifact(catalog: CatalogDesk) -> Endpoint:
    async def read_artifact(call: Call[ArtifactQuery, Nothing]) -> Reply[ArtifactFacts]:
        return Reply(artifact_facts(await _found(catalog, call.query)))

    return Operation(
        "GET",
        "/catalog/artifact",
        "catalog",
        "A manifest that is held: its parts, where it came from, what is attached to it",
        read_artifact,
        query=ArtifactQuery,
        body=Nothing,
        value=ArtifactFacts,
        refusals=(Situation.NAME_NOT_KNOWN, Situation.MANIFEST_NOT_KNOWN),
    )


def _chart(catalog: CatalogDesk) -> Endpoint:
    async def read_chart(call: Call[ArtifactQuery, Nothing]) -> Reply[ChartFacts]:
        contents = await catalog.chart(await _found(catalog, call.query))
        if contents is None:
            raise OciError(Situation.MANIFEST_NOT_KNOWN, f"{call.query.name} is no chart there")
        return Reply(chart_facts(contents))

    return Operation(
        "GET",
        "/catalog/chart",
        "catalog",
        "What is in a chart that is held: metadata, values.yaml, README",
        read_chart,
        query=ArtifactQuery,
        body=Nothing,
        value=ChartFacts,
        refusals=(Situation.NAME_NOT_KNOWN, Situation.MANIFEST_NOT_KNOWN),
    )


async def _found(catalog: CatalogDesk, asked: ArtifactQuery) -> ArtifactDetail:
    return await catalog.tag(asked.name, asked.reference, asked.target, asked.variant)
