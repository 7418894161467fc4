"""The same request again gives the same answer (4.8, http-api 2.5), without doing anything twice.

The key's row is inserted before the work and in its transaction, so that a twin waits for the first one's commit and a
server error leaves no trace (ID-4, ID-5). A refusal is stored too; its work is undone by a savepoint.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from attrs import evolve

from spotadapters.http.envelope import Answer
from spotadapters.http.errors import STATUS
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire.rendering import encode
from spotcore import errors
from spotcore.control_plane import control_plane
from spotcore.errors import DuplicateRequest, IdempotencyKeyReused, SpotError, ValidationFailed
from spotcore.ids import ClientId
from spotcore.ports.storage import StoredAnswer, UnitOfWork
from spotcore.ports.world import Identity

MAX_KEY = 128
REPLAY_HEADER = {"X-Idempotent-Replay": "true"}


class RefusedAgain(Exception):
    """The first call was refused, and so is its repeat."""

    def __init__(self, refusal: SpotError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def replayed(endpoint: Endpoint, call: Call, identity: Identity, *, request_id: str | None) -> Answer:
    """The handler's answer; for an idempotent call with a key the stored one when there is one.

    Raises ``RefusedAgain`` when what is stored is a refusal."""
    key = _key(call, request_id) if endpoint.idempotent else None
    if key is None:
        return endpoint.handler(call)
    client = call.principal.client
    scope = _scope(client.client_id if client else "admin", endpoint.method, _path(endpoint, call))
    digest = hashlib.sha256(call.raw_body).hexdigest()
    refusal: SpotError | None = None
    with call.transactions() as uow:
        stored = uow.idempotency.claim(scope, key, digest, call.clock.now())
        if stored is not None:
            return _again(stored, digest, endpoint, call)
        try:
            with uow.savepoint():
                answer = endpoint.handler(_joined(call, uow, identity))
        except SpotError as failure:
            if STATUS[failure.code] >= 500:
                raise  # ID-5: a server error is not remembered
            refusal = failure
            text = encode({"refused": failure.code, "message": failure.message, "details": dict(failure.details)})
            uow.idempotency.complete(scope, key, STATUS[failure.code], text)
        else:
            uow.idempotency.complete(scope, key, answer.status, _kept(answer, endpoint))
    if refusal is not None:
        raise refusal
    return answer


def _key(call: Call, header: str | None) -> str | None:
    """The header's key, else the body's. A longer one is refused: cut short, two calls would share it."""
    named = header or call.data().get("request_id")
    if not isinstance(named, str) or not named:
        return None
    if len(named) > MAX_KEY:
        raise ValidationFailed("invalid: request_id", request_id=[f"longer than {MAX_KEY} characters"])
    return named


def _scope(caller: str, method: str, path: str) -> str:
    """Caller, method and path as one word of fixed length: a path may hold anything, also what no column takes."""
    return hashlib.sha256(json.dumps([caller, method, path]).encode()).hexdigest()


def _path(endpoint: Endpoint, call: Call) -> str:
    return endpoint.path.format_map(dict(call.path)) if call.path else endpoint.path


def _joined(call: Call, uow: UnitOfWork, identity: Identity) -> Call:
    """The call with use cases that work inside the key's transaction."""

    @contextmanager
    def join(*, urgent: bool = False) -> Iterator[UnitOfWork]:  # noqa: ARG001 - the port has it
        yield uow

    plane = control_plane(
        transactions=join,
        clock=call.clock,
        identity=identity,
        advisor=call.plane.decisions.advisor,
        library=call.plane.models.library,
    )
    return evolve(call, plane=plane, transactions=join, apart=uow.savepoint)


def _kept(answer: Answer, endpoint: Endpoint) -> bytes:
    """What is stored: everything but a token (Z10)."""
    kept = json.loads(encode(answer.data), parse_float=Decimal)
    if endpoint.secret is not None:
        kept = _without(kept, endpoint.secret)
    return encode({"data": kept, "message": answer.message, "headers": dict(answer.headers)})


def _without(value: Any, secret: str) -> Any:
    if isinstance(value, dict):
        return {name: None if name == secret else _without(one, secret) for name, one in value.items()}
    return value


def _again(stored: StoredAnswer, digest: str, endpoint: Endpoint, call: Call) -> Answer:
    if stored.body_hash != digest:
        raise IdempotencyKeyReused("this key was used with another body; use a new key")
    if stored.status is None or stored.body is None:
        raise DuplicateRequest("the first call with this key is still running")
    kept = json.loads(stored.body, parse_float=Decimal)
    if "refused" in kept:
        kind = next(one for one in _refusals() if one.code == kept["refused"])
        raise RefusedAgain(kind(kept["message"], **kept["details"]))
    data = kept["data"]
    if endpoint.secret is not None:
        data = _unsealed(data, endpoint.secret, call)
    return Answer(
        data=data, status=stored.status, message=kept["message"], headers={**kept["headers"], **REPLAY_HEADER}
    )


def _refusals() -> list[type[SpotError]]:
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SpotError)]
    return [one for one in found if one is not SpotError]


def _unsealed(data: dict[str, Any], secret: str, call: Call) -> dict[str, Any]:
    """The token again, as far as read-back allows: never from the stored answer."""
    inner = data.get("client")
    client_id = inner["id"] if isinstance(inner, dict) else call.path.get("client_id")
    token = call.plane.clients.read_token(ClientId(str(client_id))).token
    if isinstance(inner, dict):
        return {**data, "client": {**inner, secret: token}}
    return {**data, secret: token}
