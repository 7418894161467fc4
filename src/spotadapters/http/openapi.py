"""The OpenAPI 3.1 document, made from the route table and the classes that parse and render."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args

import attrs

from spotadapters.http.auth import Needs
from spotadapters.http.errors import STATUS
from spotadapters.http.reference import EXAMPLES, SECTIONS, TITLES
from spotadapters.http.routing import Endpoint
from spotadapters.http.schemas import Schema, Schemas, query_schema

JSON: Final = "application/json"
SECURITY: Final[Mapping[Needs, list[dict[str, list[str]]]]] = {
    Needs.NOBODY: [],
    Needs.ADMIN: [{"adminToken": []}, {"session": []}],
    Needs.CLIENT: [{"clientToken": []}, {"session": []}],
    Needs.EITHER: [{"clientToken": []}, {"adminToken": []}, {"session": []}],
    Needs.SESSION: [{"session": []}],
}
UPLOAD: Final[Schema] = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "model_type": {"type": "string"},
    },
}
ABOUT: Final = """Every answer is an object {status, data, error}; endpoints that agents parse repeat the keys of data
at the top level. A dashboard session, or the header X-Response-Shape: legacy, gets data alone. Errors are always
{status: "error", data: null, error, code, details}. Every answer carries X-Request-ID. Times are ISO 8601 in UTC,
money is a JSON number in US dollars, and what is unknown is null. Unknown fields and parameters are ignored."""


def document(endpoints: Iterable[Endpoint], version: str) -> dict[str, Any]:
    """The whole document."""
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    for endpoint in endpoints:
        operation = _operation(endpoint, schemas, alias=endpoint.number in seen)
        seen.add(endpoint.number)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "spotcore",
            "version": version,
            "description": " ".join(ABOUT.split()),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(SECTIONS.values())],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**dict(sorted(schemas.components.items())), "Error": _error_schema()},
            "securitySchemes": {
                "adminToken": {"type": "http", "scheme": "bearer", "description": "the operator's token"},
                "clientToken": {"type": "http", "scheme": "bearer", "description": "a client's token"},
                "session": {"type": "apiKey", "in": "cookie", "name": "so_session", "description": "from E100"},
            },
        },
    }


def _operation(endpoint: Endpoint, schemas: Schemas, *, alias: bool) -> dict[str, Any]:
    needs_token = endpoint.access.needs is not Needs.NOBODY
    title = TITLES[endpoint.number]
    operation: dict[str, Any] = {
        "operationId": endpoint.number + ("_alias" if alias else ""),
        "x-endpoint": endpoint.number,
        "summary": title + (" (alias)" if alias else ""),
        "tags": [SECTIONS[endpoint.number]],
        "security": SECURITY[endpoint.access.needs],
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, schemas, needs_token=needs_token),
    }
    if endpoint.method in ("POST", "PUT"):
        operation["requestBody"] = _request_body(endpoint, schemas)
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1, "maxLength": 128}
    found = [
        {"name": name, "in": "path", "required": True, "schema": text}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    if endpoint.asks is not None:
        for field in attrs.fields(endpoint.asks):
            name = field.metadata.get("name") or field.name
            found.append({"name": name, "in": "query", "required": False, "schema": query_schema(field)})
    if endpoint.idempotent:
        about = "the same key and body get the same answer for 24 hours"
        schema = {"type": "string", "maxLength": 128}
        found.append(
            {"name": "X-Request-ID", "in": "header", "required": False, "schema": schema, "description": about}
        )
    return found


def _request_body(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    if endpoint.uploads is not None:
        return {"required": True, "content": {endpoint.takes: {"schema": UPLOAD}}}
    schema = schemas.body(endpoint.body) if endpoint.body is not None else {"type": "object"}
    content: dict[str, Any] = {"schema": schema}
    if endpoint.number in EXAMPLES:
        content["example"] = EXAMPLES[endpoint.number]
    needed = endpoint.body is not None and any(one.default is attrs.NOTHING for one in attrs.fields(endpoint.body))
    return {"required": needed, "content": {endpoint.takes: content}}


def _responses(endpoint: Endpoint, schemas: Schemas, *, needs_token: bool) -> dict[str, Any]:
    content = {JSON: {"schema": _success(endpoint, schemas)}}
    if endpoint.gives != JSON:
        content = {endpoint.gives: {"schema": {"type": "string"}}}
    responses = {str(status): {"description": "done", "content": content} for status in endpoint.statuses}
    codes = {"SERVER_ERROR", "UNAVAILABLE", "METHOD_NOT_ALLOWED", "RATE_LIMITED", *endpoint.refuses}
    if endpoint.body is not None or endpoint.asks is not None or endpoint.method in ("POST", "PUT", "DELETE"):
        codes |= {"VALIDATION_ERROR", "PAYLOAD_TOO_LARGE"}
    if needs_token:
        codes |= {"UNAUTHORIZED", "INVALID_AUTH_FORMAT", "INVALID_TOKEN", "FORBIDDEN", "INACTIVE_CLIENT", "NOT_FOUND"}
    if endpoint.method != "GET":
        codes |= {"STATE_CONFLICT"}
    if endpoint.idempotent:
        codes |= {"DUPLICATE_REQUEST", "IDEMPOTENCY_KEY_REUSED"}
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(STATUS[code], []).append(code)
    for status, named in sorted(by_status.items()):
        if str(status) not in responses:
            refusal = {"$ref": "#/components/schemas/Error"}
            responses[str(status)] = {"description": ", ".join(named), "content": {JSON: {"schema": refusal}}}
    return responses


def _success(endpoint: Endpoint, schemas: Schemas) -> Schema:
    data = schemas.answer(endpoint.answers) if endpoint.answers is not None else {"type": "object"}
    if endpoint.number == "E01":
        return {"type": "object", "required": ["status", "data", "error"], "properties": {"data": data}}
    properties: dict[str, Schema] = {
        "status": {"const": "success"},
        "data": data,
        "error": {"type": "null"},
        "message": {"type": "string"},
    }
    if endpoint.mirror and endpoint.answers is not None:
        for kind in get_args(endpoint.answers) or (endpoint.answers,):
            properties = {**schemas.components[kind.__name__]["properties"], **properties}
    return {"type": "object", "required": ["status", "data", "error"], "properties": properties}


def _error_schema() -> Schema:
    return {
        "type": "object",
        "description": "Every refusal.",
        "required": ["status", "data", "error", "code"],
        "properties": {
            "status": {"const": "error"},
            "data": {"type": "null"},
            "error": {"type": "string", "description": "safe to show to people"},
            "code": {"type": "string", "enum": sorted(STATUS)},
            "details": {"type": "object", "description": "for VALIDATION_ERROR: field name to problems"},
        },
    }
