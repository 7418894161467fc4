"""The API's reference as a page: everything of the document, nothing that runs, nothing that escapes its quotes."""

import copy
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from spotadapters.http.app import SERVED
from spotadapters.http.docs_page import page
from spotadapters.http.openapi import document

DOCUMENT = document(SERVED, "1.2.3")
TEXT = page(DOCUMENT)
VOID = {"meta", "link", "br"}


class Outline(HTMLParser):
    """Tags that are left open or closed twice, and every id and link."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [str(known["href"])] if "href" in known else []
        self.wrong += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")


def outline(text: str) -> Outline:
    seen = Outline()
    seen.feed(text)
    return seen


def tiny(**changes: Any) -> dict[str, Any]:
    operation = {
        "operationId": "E999", "x-endpoint": "E999", "summary": "Do it", "tags": ["Things"], "security": [],
        "parameters": [], "responses": {"200": {"description": "done", "content": {"application/json": {"schema": {}}}}},
        **changes,
    }  # fmt: skip
    return {
        "info": {"title": "spotcore", "version": "1", "description": "about"}, "tags": [{"name": "Things"}, {"name": "Nothing"}],
        "paths": {"/things": {"get": operation}}, "components": {"schemas": {}},
    }  # fmt: skip


def test_it_is_well_formed_and_runs_nothing() -> None:
    seen = outline(TEXT)
    assert (seen.open, seen.wrong) == ([], [])
    assert not seen.tags & {"script", "iframe", "object", "form", "style"}
    assert len(seen.ids) == len(set(seen.ids))


def test_every_link_leads_somewhere_on_this_host() -> None:
    seen = outline(TEXT)
    for link in seen.links:
        assert link.startswith("/") or link.removeprefix("#") in seen.ids, link


@pytest.mark.parametrize("row", SERVED, ids=lambda row: f"{row.number} {row.path}")
def test_every_operation_has_its_entry_with_parameters_bodies_and_refusals(row: Any) -> None:
    operation = DOCUMENT["paths"][row.path][row.method.lower()]
    entry = TEXT.partition(f"<details id='{operation['operationId']}'>")[2].partition("</details>")[0]
    assert f"<b>{row.number}</b>" in entry
    assert f"{row.method} {row.path}" in entry
    for one in operation["parameters"]:
        assert f"<code>{one['name']}</code>" in entry
    for code in row.refuses:
        assert code in entry
    if "example" in str(operation.get("requestBody", {})):
        assert "<pre>" in entry


def test_endpoints_of_a_section_stand_in_the_order_of_their_numbers() -> None:
    for section in TEXT.split("<h2 ")[1:]:
        numbers = [int(number) for number in re.findall(r"<b>E(\d+)</b>", section)]
        assert numbers == sorted(numbers)


def test_a_section_without_endpoints_is_left_out() -> None:
    text = page(tiny())
    assert "Things" in text
    assert "Nothing" not in text


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "'><b onclick=x>", "a & b", '"quoted"'])
def test_whatever_a_text_holds_it_stays_text(evil: str) -> None:
    made = tiny(
        summary=evil, parameters=[{"name": evil, "in": "query", "schema": {"type": "string", "description": evil}}]
    )
    made["info"] = {"title": evil, "version": evil, "description": evil}
    seen = outline(page(made))
    assert (seen.open, seen.wrong) == ([], [])
    assert "script" not in seen.tags


SCHEMAS: list[tuple[dict[str, Any], str]] = [
    ({"type": "string"}, "string"), ({"type": ["string", "null"]}, "string or null"), ({}, "anything"),
    ({"enum": ["a", None]}, "<code>a</code> | <code>None</code>"), ({"type": "array", "items": {"type": "integer"}}, "list of integer"),
    ({"$ref": "#/components/schemas/Thing"}, "Thing"), ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
    ({"enum": ["<b>"]}, "<code>&lt;b&gt;</code>"), ({"anyOf": [{}]}, "anything"), ({"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}, "list of Thing"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "words"), SCHEMAS)
def test_a_type_in_words(schema: dict[str, Any], words: str) -> None:
    text = page(tiny(parameters=[{"name": "p", "in": "query", "schema": schema}]))
    assert f"<td>{words}</td>" in text


def test_an_answer_shows_the_fields_of_its_class_and_that_it_is_a_list() -> None:
    made = tiny()
    made["components"]["schemas"]["Thing"] = {
        "type": "object", "description": "One thing.", "properties": {"size": {"type": "number", "description": "in feet"}},
    }  # fmt: skip
    plain, listed = copy.deepcopy(made), copy.deepcopy(made)
    reference = {"$ref": "#/components/schemas/Thing"}
    for one, data in ((plain, reference), (listed, {"type": "array", "items": reference})):
        schema = {"properties": {"data": data}}
        one["paths"]["/things"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] = schema
    wanted = "One thing.</p><table><tr><td><code>size</code></td><td>number</td><td>in feet</td></tr></table>"
    assert f"<p>{wanted}" in page(plain)
    assert f"<p>A list. {wanted}" in page(listed)


@pytest.mark.parametrize(
    ("security", "words"),
    [
        ([], "nobody in particular"),
        ([{"adminToken": []}], "admin token"),
        ([{"clientToken": []}, {"session": []}], "client token or session"),
    ],
)
def test_it_says_who_calls(security: list[Any], words: str) -> None:
    assert f"Called with: {words}<" in page(tiny(security=security))
