"""The admin API's own description, OpenAPI 3.1, made of the operations that answer it."""

from collections.abc import Sequence

import msgspec

from gateway.oci.errors import ErrorCode
from gateway.web.admin.operations import API, Endpoint, Schema

_ERROR: Schema = {
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": {"enum": sorted(code.value for code in ErrorCode)},
                    "message": {"type": "string"},
                    "detail": {"type": "object"},
                },
            },
        }
    },
}


def openapi(version: str, endpoints: Sequence[Endpoint]) -> Schema:
    """What ``/admin/api/openapi.json`` answers."""
    types = [one for endpoint in endpoints for one in endpoint.types()]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        told = endpoint.described(lambda asked: by_type[id(asked)])
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "chart-gateway: the admin's desk",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": API}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {
                "Refused": {
                    "description": "An OCI error body, which says why",
                    "content": {"application/json": {"schema": _ERROR}},
                }
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "made by gateway token create"}
            },
        },
    }
