"""The OpenAPI document says what is served: no more, no less, and in valid OpenAPI 3.1."""

import asyncio
import json
import re
import threading
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta
from starlette.requests import Request

from spotadapters.http.app import SERVED
from spotadapters.http.errors import STATUS
from spotadapters.http.openapi import document
from spotadapters.http.pages import Pages
from spotadapters.http.reference import EXAMPLES, SECTIONS, TITLES
from spotadapters.http.routing import Endpoint
from spotadapters.wire.parsing import parse
from tests.unit.http.frame import Frame

DOCUMENT = document(SERVED, "test")
OPERATIONS = [(path, method, one) for path, item in DOCUMENT["paths"].items() for method, one in item.items()]


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if "$ref" in value else set()
        return found.union(*(references(one) for one in value.values()))
    return set().union(*(references(one) for one in value)) if isinstance(value, list) else set()


def test_every_route_is_described_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, method, _ in OPERATIONS}
    assert described == {(row.method, row.path) for row in SERVED}


def test_the_application_serves_exactly_these_routes_and_the_pages(frame: Frame) -> None:
    pages = {"/login", "/login/page.js", "/login/page.css", "/openapi.json", "/docs", "/docs/page.css"}
    served = {route.path for route in frame.app.routes}  # type: ignore[attr-defined]
    assert served == {row.path for row in SERVED} | pages


def test_ids_are_unique_and_every_reference_leads_somewhere() -> None:
    ids = [one["operationId"] for _, _, one in OPERATIONS]
    assert len(ids) == len(set(ids))
    for reference in references(DOCUMENT):
        assert reference.removeprefix("#/components/schemas/") in DOCUMENT["components"]["schemas"]


def test_every_schema_is_a_json_schema() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        meta.validate(schema)


@pytest.mark.parametrize("row", SERVED, ids=lambda row: f"{row.number} {row.path}")
def test_every_endpoint_has_a_title_a_section_and_says_who_may_call(row: Endpoint) -> None:
    operation = DOCUMENT["paths"][row.path][row.method.lower()]
    assert operation["summary"].startswith(TITLES[row.number])
    assert operation["tags"] == [SECTIONS[row.number]]
    assert bool(operation["security"]) == (row.access.needs != "-")
    assert {"500", "503"} <= set(operation["responses"])
    assert ("401" in operation["responses"]) == (row.access.needs != "-" or row.number == "E100")


@pytest.mark.parametrize("row", SERVED, ids=lambda row: f"{row.number} {row.path}")
def test_every_named_refusal_is_one_of_the_table_and_stands_under_its_status(row: Endpoint) -> None:
    responses = DOCUMENT["paths"][row.path][row.method.lower()]["responses"]
    for code in row.refuses:
        shown = responses[str(STATUS[code])]
        assert code in shown["description"] or STATUS[code] in row.statuses


WITH_BODY = [row for row in SERVED if row.body is not None and row.takes == "application/json"]


@pytest.mark.parametrize("row", WITH_BODY, ids=lambda row: f"{row.number} {row.path}")
def test_every_body_has_an_example_that_its_own_class_accepts(row: Endpoint) -> None:
    parse(json.dumps(EXAMPLES[row.number]).encode(), row.body)  # type: ignore[arg-type]


def test_every_example_belongs_to_an_endpoint_and_fits_its_schema() -> None:
    for number in EXAMPLES:
        assert number in TITLES
    for _, _, operation in OPERATIONS:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            if "example" in content:
                schema = {**content["schema"], "components": DOCUMENT["components"]}
                Draft202012Validator(schema).validate(content["example"])


def test_no_class_of_the_wire_is_described_with_an_endpoint_number_alone() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert re.search(r"\w", schema.get("description", name))


def test_the_document_and_its_page_are_served_and_need_no_other_host(frame: Frame) -> None:
    served = frame.http.get("/openapi.json")
    assert served.json()["openapi"] == "3.1.0"
    assert served.json()["paths"].keys() == DOCUMENT["paths"].keys()
    page = frame.http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for row in SERVED:
        assert f"{row.method} {row.path}" in page.text
    assert not re.search(r"(?:src|href)=['\"]?(?:https?:)?//", page.text)
    assert "<script" not in page.text
    assert frame.http.get("/docs/page.css").headers["content-type"].startswith("text/css")


def test_the_document_is_made_once_and_not_by_the_thread_that_everybody_waits_for() -> None:
    makers: list[Any] = []

    def describe() -> Any:
        makers.append(threading.current_thread())
        return DOCUMENT

    async def nothing(_: Any) -> Any: ...

    pages = Pages(root=nothing, find_session=nothing, dashboard=None, describe=describe)

    async def main() -> None:
        for _ in range(2):
            await pages.openapi(Request({"type": "http"}))

    asyncio.run(main())
    assert [one is threading.main_thread() for one in makers] == [False]


def test_two_classes_of_one_name_are_refused() -> None:
    from attrs import frozen

    from spotadapters.http.schemas import Schemas

    def made(kind: type) -> type:
        @frozen
        class Twin:
            value: kind  # type: ignore[valid-type]

        return Twin

    schemas = Schemas()
    schemas.answer(made(int))
    with pytest.raises(TypeError, match="Twin"):
        schemas.answer(made(str))
