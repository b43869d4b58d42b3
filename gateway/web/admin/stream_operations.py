"""Operations of the admin API whose body, or answer, is a file of any size."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Generic

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.access.roles import Role, SignedIn
from gateway.oci.errors import OciError, Situation
from gateway.web.admin.operations import (
    JSON,
    OF_BODIES,
    Call,
    Nothing,
    Query,
    Reply,
    Schema,
    SchemaOf,
    Value,
    query_parameters,
    read_query,
    refused,
)
from gateway.web.admin.streams import Inflow, Outflow

_BYTES: Final[Schema] = {"type": "string", "format": "binary"}


@dataclass(frozen=True, slots=True)
class Leaving:
    """A file that is sent while it is made."""

    name: str
    media_type: str
    flow: Outflow


@dataclass(frozen=True, slots=True)
class Arriving:
    """A file that is read while it comes; ``headers`` are those of the operation's own that came with it.

    ``size_bytes`` is 0 where nobody said it.
    """

    flow: Inflow
    size_bytes: int
    headers: Mapping[str, str]


class FileAnswer(StreamingResponse):
    """Sends a file; where that ends before its end, whoever makes it is told so."""

    def __init__(self, leaving: Leaving) -> None:
        headers = {
            "Content-Disposition": f'attachment; filename="{leaving.name}"',
            "Cache-Control": "no-store",
        }
        super().__init__(leaving.flow.pieces(), 200, headers, leaving.media_type)
        self._flow = leaving.flow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._flow.close()


@dataclass(frozen=True, slots=True)
class Download(Generic[Query]):
    """A GET that is answered with a file, as one of ``media_types``; ``do`` begins to make it."""

    path: str
    tag: str
    summary: str
    do: Callable[[Call[Query, Nothing]], Awaitable[Leaving]]
    query: type[Query]
    media_types: tuple[str, ...]
    role: Role
    refusals: tuple[Situation, ...] = ()
    method: str = "GET"

    async def answer(self, request: Request, asker: SignedIn) -> Response:
        call = Call(asker, request.path_params, read_query(request, self.query), Nothing())
        if request.method == "HEAD":  # nothing is made for who does not want it
            return Response(headers={"Cache-Control": "no-store"}, media_type=self.media_types[0])
        return FileAnswer(await self.do(call))

    def types(self) -> list[object]:
        return []

    def described(self, _schema_of: SchemaOf) -> Schema:
        content = {media_type: {"schema": _BYTES} for media_type in self.media_types}
        return {
            "operationId": self.do.__name__,
            "tags": [self.tag],
            "summary": self.summary,
            "description": f"For the role {self.role.value}.",
            "parameters": query_parameters(self.query),
            "responses": {
                "200": {"description": HTTPStatus.OK.phrase, "content": content},
                **refused(self.refusals),
            },
        }


@dataclass(frozen=True, slots=True)
class Upload(Generic[Query, Value]):
    """A PUT of a file, as one of ``media_types`` or as none; ``headers``, as told, may come with it."""

    path: str
    tag: str
    summary: str
    do: Callable[[Call[Query, Arriving]], Awaitable[Reply[Value]]]
    query: type[Query]
    value: type[Value]
    media_types: tuple[str, ...]
    headers: Mapping[str, str]
    role: Role
    refusals: tuple[Situation, ...] = ()
    method: str = "PUT"

    async def answer(self, request: Request, asker: SignedIn) -> Response:
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given and given not in self.media_types:
            message = f"a file comes as {', '.join(self.media_types)}, or as nothing said"
            raise OciError(Situation.MEDIA_TYPE_NOT_TAKEN, message)
        query, flow = read_query(request, self.query), Inflow(request.receive)
        length = request.headers.get("content-length", "")
        given_headers = {name: request.headers[name] for name in self.headers if name in request.headers}
        arriving = Arriving(flow, int(length) if length.isdecimal() else 0, given_headers)
        try:
            reply = await self.do(Call(asker, request.path_params, query, arriving))
        finally:
            await flow.drain()
        headers = {"Cache-Control": "no-store", **reply.headers}
        return Response(msgspec.json.encode(reply.value), 200, headers, JSON)

    def types(self) -> list[object]:
        return [self.value]

    def described(self, schema_of: SchemaOf) -> Schema:
        content = {JSON: {"schema": schema_of(self.value)}}
        headers: list[Schema] = [
            {
                "name": name,
                "in": "header",
                "required": False,
                "description": told,
                "schema": {"type": "string"},
            }
            for name, told in self.headers.items()
        ]
        return {
            "operationId": self.do.__name__,
            "tags": [self.tag],
            "summary": self.summary,
            "description": f"For the role {self.role.value}.",
            "parameters": [*query_parameters(self.query), *headers],
            "requestBody": {
                "required": True,
                "content": {media_type: {"schema": _BYTES} for media_type in self.media_types},
            },
            "responses": {
                "200": {"description": HTTPStatus.OK.phrase, "content": content},
                **refused((*self.refusals, *OF_BODIES)),
            },
        }
