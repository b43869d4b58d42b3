"""One operation of the admin API: what it takes and gives, as types; answers and OpenAPI are made of them."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Annotated, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec.inspect import type_info
from starlette.requests import Request
from starlette.responses import Response

from gateway.access.roles import Role, SignedIn
from gateway.oci.errors import OciError, Situation
from gateway.web.admin.bodies import read_body

API = "/admin/api"
JSON = "application/json"
_PATH_PARAMETER = re.compile(r"\{([a-z_]+)\}")
_NUMBER = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
_WORD = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,254}$"}


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No query, or no body."""


NumberCursor = Annotated[str, msgspec.Meta(pattern="^[0-9]{0,9}$", description="next of the page before")]
Query = TypeVar("Query", bound=msgspec.Struct)
Body = TypeVar("Body")
Value = TypeVar("Value")
Schema = dict[str, object]
SchemaOf = Callable[[object], Schema]


@dataclass(frozen=True, slots=True)
class Call(Generic[Query, Body]):
    """What was asked, by whom. ``path`` has what the path's parameters were."""

    asker: SignedIn
    path: Mapping[str, str]
    query: Query
    body: Body
    if_match: str | None = None

    def number(self, name: str) -> int:
        """A path's parameter that counts something; raise RESOURCE_NOT_KNOWN where it counts nothing."""
        text = self.path[name]
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
            raise OciError(Situation.RESOURCE_NOT_KNOWN, f"there is no {name} {text[:40]!r}: it is a number")
        return int(text)


@dataclass(frozen=True, slots=True)
class Reply(Generic[Value]):
    """``headers`` are sent beside the value."""

    value: Value
    headers: Mapping[str, str] = field(default_factory=dict)


class Endpoint(Protocol):
    """An operation, whatever its types are."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def role(self) -> Role: ...

    async def answer(self, request: Request, asker: SignedIn) -> Response: ...

    def types(self) -> list[object]: ...

    def described(self, schema_of: SchemaOf) -> Schema: ...


@dataclass(frozen=True, slots=True)
class Operation(Generic[Query, Body, Value]):
    """``do`` answers a call. ``path`` is below /admin/api; ``tag`` is the group it is shown in.

    ``refusals`` are the situations that are this operation's own, beside those that any may end in.
    ``takes_if_match``: an If-Match header says what the change is based on.
    """

    method: str
    path: str
    tag: str
    summary: str
    do: Callable[[Call[Query, Body]], Awaitable[Reply[Value]]]
    query: type[Query]
    body: type[Body]
    value: type[Value]
    role: Role = Role.VIEWER
    status: HTTPStatus = HTTPStatus.OK
    refusals: tuple[Situation, ...] = ()
    takes_if_match: bool = False
    max_body_bytes: int = 64 * 1024

    async def answer(self, request: Request, asker: SignedIn) -> Response:
        call = Call(
            asker,
            request.path_params,
            read_query(request, self.query),
            await self._body(request),
            request.headers.get("if-match") if self.takes_if_match else None,
        )
        reply = await self.do(call)
        headers = {"Cache-Control": "no-store", **reply.headers}
        if self.status is HTTPStatus.NO_CONTENT:
            return Response(None, self.status, headers)
        return Response(msgspec.json.encode(reply.value), self.status, headers, JSON)

    async def _body(self, request: Request) -> Body:
        """An operation that takes none reads none."""
        if self.body is Nothing:
            return self.body()
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise OciError(Situation.MEDIA_TYPE_NOT_TAKEN, f"the admin API takes {JSON}")
        content = await read_body(request, self.max_body_bytes)
        try:
            return msgspec.convert(_with_whole_numbers(msgspec.json.decode(content)), self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise OciError(Situation.BODY_MALFORMED, f"the body cannot be read: {error}") from error

    def types(self) -> list[object]:
        """Whose schemas the description needs."""
        return [one for one in (self.body, self.value) if one is not Nothing]

    def described(self, schema_of: SchemaOf) -> Schema:
        """As OpenAPI 3.1 has an operation."""
        told: Schema = {
            "operationId": self.do.__name__,
            "tags": [self.tag],
            "summary": self.summary,
            "description": f"For the role {self.role.value}.",
            "parameters": [*self._path_parameters(), *query_parameters(self.query), *self._headers()],
            "responses": self._responses(schema_of),
        }
        if self.body is not Nothing:
            content = {JSON: {"schema": schema_of(self.body)}}
            told["requestBody"] = {"required": True, "content": content}
        return told

    def _path_parameters(self) -> list[Schema]:
        names = _PATH_PARAMETER.findall(self.path)
        schemas = (_NUMBER if name == "number" else _WORD for name in names)
        return [
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in zip(names, schemas, strict=True)
        ]

    def _headers(self) -> list[Schema]:
        if not self.takes_if_match:
            return []
        told = "the ETag of what the change is based on"
        schema = {"type": "string"}
        return [
            {"name": "If-Match", "in": "header", "required": False, "description": told, "schema": schema}
        ]

    def _responses(self, schema_of: SchemaOf) -> Schema:
        answered: Schema = {"description": self.status.phrase}
        if self.status is not HTTPStatus.NO_CONTENT:
            answered["content"] = {JSON: {"schema": schema_of(self.value)}}
        return {str(self.status.value): answered, **refused(self._own_refusals())}

    def _own_refusals(self) -> tuple[Situation, ...]:
        return self.refusals if self.body is Nothing else (*self.refusals, *OF_BODIES)


def read_query(request: Request, kind: type[Query]) -> Query:
    """What a query says; raise OciError for one that says anything else."""
    given = request.query_params
    lists = _lists(kind)
    if any(len(given.getlist(name)) > 1 for name in given if name not in lists):
        raise OciError(Situation.QUERY_MALFORMED, "a query parameter stands there twice")
    values = {name: given.getlist(name) if name in lists else given[name] for name in given}
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise OciError(Situation.QUERY_MALFORMED, f"the query cannot be read: {error}") from error


def query_parameters(kind: type[msgspec.Struct]) -> list[Schema]:
    """As OpenAPI has them."""
    return [
        {"name": one.encode_name, "in": "query", "required": one.required, "schema": _inline_schema(one.type)}
        for one in msgspec.structs.fields(kind)
    ]


def refused(situations: Sequence[Situation]) -> Schema:
    """The answers of these, and of those that any operation may end in."""
    statuses = {OciError(one, "").status for one in (*_ANY, *situations)}
    return {str(one): {"$ref": "#/components/responses/Refused"} for one in sorted(statuses)}


def number_of(cursor: str) -> int | None:
    """The number that a page goes on from; None for the first; raise OciError for what no page gave."""
    if not re.fullmatch(r"[0-9]{0,9}", cursor, re.ASCII):
        raise OciError(Situation.QUERY_MALFORMED, "after is what next said on the page before")
    return int(cursor) if cursor else None


@cache
def _lists(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Parameters that may stand there several times."""
    fields = msgspec.structs.fields(kind)
    return frozenset(
        one.encode_name for one in fields if isinstance(type_info(one.type), msgspec.inspect.ListType)
    )


def _with_whole_numbers(value: object) -> object:
    """1.0 is a whole number too, as JSON schemas count."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_with_whole_numbers(one) for one in value]
    if isinstance(value, dict):
        return {key: _with_whole_numbers(one) for key, one in value.items()}
    return value


def _inline_schema(kind: object) -> Schema:
    """The schema of a simple type, also of an enumeration, as it stands in a query."""
    (schema,), components = msgspec.json.schema_components([kind])
    for choice in (schema, *schema.get("anyOf", ())):
        name = str(choice.pop("$ref", "")).rpartition("/")[2]
        choice.update(components.get(name, {}))
    return schema


_ANY: Final = (
    Situation.QUERY_MALFORMED,
    Situation.NOT_SIGNED_IN,
    Situation.DENIED,
    Situation.BODY_NOT_ALLOWED,
    Situation.TARGET_TOO_LONG,
    Situation.RATE_LIMITED,
    Situation.HEADERS_TOO_LARGE,
    Situation.OUR_FAULT,
    Situation.SOURCES_DOWN,
)
OF_BODIES: Final = (
    Situation.BODY_MALFORMED,
    Situation.BODY_TOO_SLOW,
    Situation.BODY_TOO_LARGE,
    Situation.MEDIA_TYPE_NOT_TAKEN,
)
