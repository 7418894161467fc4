"""A running server over HTTP: the ``data`` of an answer, or one failure that names the fix."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx2
from attrs import frozen

TIMEOUT: Final = httpx2.Timeout(15.0, connect=5.0)
UPLOAD_TIMEOUT: Final = httpx2.Timeout(300.0, connect=5.0)  # 256 MiB, and the look into them
STREAM_TIMEOUT: Final = httpx2.Timeout(75.0, connect=5.0)  # a stream says something every 30 s (12.3)

ADMIN_CALL: Final = "this call needs the admin token: --token or SPOTCORE_ADMIN_TOKEN; spotcore token makes a new one"
EITHER_CALL: Final = "give a valid token with --token, SPOTCORE_ADMIN_TOKEN or SPOTCORE_TOKEN"
CLIENT_CALL: Final = "this call opens to the client's own token alone; see it with: spotcore clients token CLIENT"
FIXES: Final[Mapping[str, str]] = {
    "INACTIVE_CLIENT": "the client is suspended; spotcore clients resume brings it back",
    "FORBIDDEN": "use that client's token, or the admin token",
    "NOT_FOUND": "check the id with the list command of the same group",
    "CONFIG_CONFLICT": "look at the present settings with: spotcore agents config get, then give the new --expect",
    "STATE_CONFLICT": "look at the present state and try again",
    "UPLOAD_DISABLED": "the operator of the server switched uploads off",
    "RATE_LIMITED": "wait a little and try again",
    "UNAVAILABLE": "the server is up but its database is not; try again, or look with: spotcore check",
    "SERVER_ERROR": "look for the request id in the server's log",
}
"""What to do about a code, where the server's own text does not say it."""


class ApiFailure(Exception):
    """The server could not be asked, or refused; the message is one line for people."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@frozen
class Api:
    """One server and one token."""

    http: httpx2.Client

    def get(self, path: str, *, needs: str = EITHER_CALL, **query: Any) -> Any:
        """The ``data`` of a GET; query values that are None are left out. Raises ``ApiFailure``."""
        return self._data(self._send("GET", path, params=_given(query)), needs)

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, needs: str = EITHER_CALL
    ) -> tuple[Any, str | None]:
        """The ``data`` of a POST, and the message beside it. Raises ``ApiFailure``."""
        return self._both(self._send("POST", path, json=dict(body or {})), needs)

    def delete(self, path: str, *, needs: str = EITHER_CALL) -> tuple[Any, str | None]:
        """The ``data`` of a DELETE, and the message beside it. Raises ``ApiFailure``."""
        return self._both(self._send("DELETE", path), needs)

    def upload(
        self, path: str, files: list[Path], fields: Mapping[str, str | None], *, needs: str
    ) -> tuple[Any, str | None]:
        """Files as ``multipart/form-data``. Raises ``ApiFailure``, ``OSError`` for a file that cannot be read."""
        parts = [("files", (one.name, one.read_bytes(), "application/octet-stream")) for one in files]
        answer = self._send("POST", path, files=parts, data=_given(fields), timeout=UPLOAD_TIMEOUT)
        return self._both(answer, needs)

    def csv(self, path: str, *, needs: str = EITHER_CALL) -> bytes:
        """The bytes of an export. Raises ``ApiFailure``."""
        answer = self._send("GET", path)
        if not answer.is_success:
            raise self._refusal(answer, needs)
        if not _is_of(answer, "text/csv"):
            raise self._stranger(answer)
        return answer.content

    @contextmanager
    def stream(self, path: str, *, last_id: str | None, **query: Any) -> Iterator[httpx2.EventSource]:
        """Server-sent events. Raises ``ApiFailure`` for a refusal; what breaks later is ``httpx2.TransportError``."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        with self.http.stream("GET", path, params=_given(query), headers=headers, timeout=STREAM_TIMEOUT) as answer:
            if not answer.is_success:
                answer.read()
                raise self._refusal(answer, EITHER_CALL)
            if not _is_of(answer, "text/event-stream"):
                raise self._stranger(answer)
            yield httpx2.EventSource(answer)

    def _send(self, method: str, path: str, **more: Any) -> httpx2.Response:
        try:
            return self.http.request(method, path, **more)
        except httpx2.TimeoutException:
            raise ApiFailure(f"{self._where} did not answer in time; try again, or look with: spotcore check") from None
        except httpx2.RequestError as failure:
            raise self.unreachable(failure) from None

    def unreachable(self, failure: Exception) -> ApiFailure:
        """What to say when no connection comes about, or it breaks."""
        return ApiFailure(
            f"cannot reach {self._where} ({failure}); start the server with: spotcore up, or give its address: --url"
        )

    @property
    def _where(self) -> str:
        return str(self.http.base_url.copy_with(userinfo=b"")).rstrip("/")

    def _data(self, answer: httpx2.Response, needs: str) -> Any:
        return self._both(answer, needs)[0]

    def _both(self, answer: httpx2.Response, needs: str) -> tuple[Any, str | None]:
        body = self._body(answer)
        if not answer.is_success:
            raise self._refusal(answer, needs)
        return body["data"], body.get("message")

    def _body(self, answer: httpx2.Response) -> dict[str, Any]:
        try:
            body = answer.json()
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or (answer.is_success and "data" not in body):
            raise self._stranger(answer)
        return body

    def _stranger(self, answer: httpx2.Response) -> ApiFailure:
        return ApiFailure(
            f"{self._where} answered {answer.status_code}, but not as a spotcore server; check --url",
            status=answer.status_code,
        )

    def _refusal(self, answer: httpx2.Response, needs: str) -> ApiFailure:
        body = self._body(answer)
        code = str(body.get("code") or "")
        fix = needs if answer.status_code == 401 else FIXES.get(code)
        details = body.get("details")
        text = f"{body.get('error') or 'refused'} [{answer.status_code} {code or '?'}]"
        if details:
            text += f" {json.dumps(details, ensure_ascii=False)}"
        if code == "SERVER_ERROR" and (request_id := answer.headers.get("X-Request-ID")):
            text += f" (request id {request_id})"
        return ApiFailure(f"{text}; {fix}" if fix else text, status=answer.status_code)


@contextmanager
def open_api(url: str, token: str) -> Iterator[Api]:
    """An ``Api`` whose connections are closed at the end."""
    headers = {"Authorization": f"Bearer {token}", "X-Response-Shape": "envelope"}
    with httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT, verify=_trusted(url)) as http:
        yield Api(http)


def _trusted(url: str) -> ssl.SSLContext | bool:
    """Whom to believe over TLS. Reading the known authorities takes 40 ms, which a plain address has no use for: it
    gets a context that believes nobody."""
    return True if httpx2.URL(url).scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _is_of(answer: httpx2.Response, content_type: str) -> bool:
    return bool(answer.headers.get("Content-Type", "").startswith(content_type))


def part(word: str) -> str:
    """One part of a path, whatever it holds."""
    return quote(word, safe="")
