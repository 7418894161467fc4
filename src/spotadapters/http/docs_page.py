"""The OpenAPI document as a page: plain HTML, no script, nothing from another host."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

Document = Mapping[str, Any]

_WHO: Final = {"adminToken": "admin token", "clientToken": "client token", "session": "session"}


def page(document: Document) -> str:
    """The page."""
    info = document["info"]
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>API · {escape(info['title'])}</title><link rel=stylesheet href=/docs/page.css></head><body><main>"
        f"<h1>{escape(info['title'])} API</h1>"
        f"<p>Version {escape(info['version'])} · <a href=/openapi.json>openapi.json</a></p>"
        f"<p>{escape(info['description'])}</p>{''.join(_sections(document))}</main></body></html>"
    )


def _sections(document: Document) -> Iterator[str]:
    by_tag: dict[str, list[tuple[str, str, Document]]] = {one["name"]: [] for one in document["tags"]}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            by_tag[operation["tags"][0]].append((method.upper(), path, operation))
    yield "<nav>" + " ".join(f"<a href='#{escape(tag)}'>{escape(tag)}</a>" for tag in by_tag if by_tag[tag]) + "</nav>"
    for tag, rows in by_tag.items():
        if rows:
            yield f"<h2 id='{escape(tag)}'>{escape(tag)}</h2>"
            yield from (
                _operation(method, path, operation, document) for method, path, operation in sorted(rows, key=_order)
            )


def _order(row: tuple[str, str, Document]) -> tuple[int, str]:
    digits = row[2]["x-endpoint"].lstrip("E")
    return (int(digits) if digits.isdigit() else 0, row[1])


def _operation(method: str, path: str, operation: Document, document: Document) -> str:
    who = " or ".join(_WHO[name] for one in operation["security"] for name in one) or "nobody in particular"
    parts = [f"<p>Called with: {escape(who)}</p>"]
    if operation["parameters"]:
        rows = "".join(_parameter(one) for one in operation["parameters"])
        parts.append(f"<h4>Parameters</h4><table>{rows}</table>")
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h4>Body ({escape(media)})</h4>{_fields(content['schema'], document)}")
        if "example" in content:
            parts.append(f"<pre>{escape(json.dumps(content['example'], indent=2, ensure_ascii=False))}</pre>")
    for status, response in operation["responses"].items():
        if response["description"] == "done":
            parts.append(f"<h4>Answer {status}</h4>{_answer(response, document)}")
    refusals = "".join(
        _row(status, escape(response["description"]))
        for status, response in operation["responses"].items()
        if response["description"] != "done"
    )
    parts.append(f"<h4>Refusals</h4><table>{refusals}</table>")
    number = escape(operation["x-endpoint"])
    title = f"<b>{number}</b> <code>{method} {escape(path)}</code> {escape(operation['summary'])}"
    name = escape(operation["operationId"])
    return f"<details id='{name}'><summary>{title}</summary>{''.join(parts)}</details>"


def _parameter(parameter: Document) -> str:
    text = parameter["schema"].get("description") or parameter.get("description", "")
    return _row(f"<code>{escape(parameter['name'])}</code>", parameter["in"], _type(parameter["schema"]), escape(text))


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _answer(response: Document, document: Document) -> str:
    media, content = next(iter(response["content"].items()))
    data = content["schema"].get("properties", {}).get("data")
    return _fields(data, document) if data is not None else f"<p>{escape(media)}</p>"


def _fields(schema: Document, document: Document) -> str:
    target, is_list = schema, schema.get("type") == "array"
    if is_list:
        target = schema["items"]
    if "$ref" in target:
        target = document["components"]["schemas"][target["$ref"].rpartition("/")[2]]
    rows = "".join(
        _row(f"<code>{escape(name)}</code>", _type(one), escape(one.get("description", "")))
        for name, one in target.get("properties", {}).items()
    )
    about = f"<p>{'A list. ' if is_list else ''}{escape(target.get('description', ''))}</p>"
    return about + (f"<table>{rows}</table>" if rows else "")


def _type(schema: Document) -> str:
    if "$ref" in schema:
        return escape(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one) or "anything"
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    return escape(" or ".join(kind) if isinstance(kind, list) else str(kind))
