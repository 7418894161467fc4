"""E10…E14: clients and their tokens."""

from datetime import timedelta
from typing import Final

from spotadapters.http.auth import Access, Needs
from spotadapters.http.envelope import Answer
from spotadapters.http.routing import Call, Endpoint
from spotadapters.wire.objects import Done
from spotadapters.wire.parsing import required, wire
from spotadapters.wire.shapes import shape
from spotcore.ids import ClientId

ADMIN: Final = Access(needs=Needs.ADMIN)
NO_STORE: Final = {"Cache-Control": "no-store"}


@shape
class CreateClient:
    """E10."""

    name: str = required(limit=255)
    email: str | None = wire()


MAX_SECONDS: Final = 10**9  # far out of range, and no overflow


@shape
class RotateToken:
    """E12."""

    grace_seconds: int = wire(default=0)


@shape
class NewClient:
    """E10: the only time a token is shown unasked."""

    id: str
    name: str
    email: str | None
    token: str | None
    status: str


@shape
class ClientCreated:
    """E10."""

    success: bool = True
    client: NewClient


def create(call: Call) -> Answer:
    """E10."""
    body = call.parse(CreateClient)
    issued = call.plane.clients.create(body.name, body.email)
    client = NewClient(
        id=issued.client.client_id,
        name=issued.client.name,
        email=issued.client.email,
        token=issued.token,
        status="active",
    )
    return Answer(data=ClientCreated(client=client), status=201, headers=NO_STORE)


def delete(call: Call) -> Answer:
    """E11."""
    client = call.plane.clients.delete(ClientId(call.path_id("client_id")))
    return Answer(data=Done(), message=f"Client {client.name} deleted; its machines keep running")


@shape
class Rotated:
    """E12."""

    success: bool = True
    token: str | None


def rotate(call: Call) -> Answer:
    """E12."""
    grace = timedelta(seconds=max(-1, min(call.parse(RotateToken).grace_seconds, MAX_SECONDS)))
    issued = call.plane.clients.rotate(ClientId(call.path_id("client_id")), grace)
    return Answer(data=Rotated(token=issued.token), headers=NO_STORE)


@shape
class ShownToken:
    """E13. ``token`` is null when read-back is off."""

    token: str | None
    token_hint: str
    client_name: str


def read_token(call: Call) -> Answer:
    """E13."""
    view = call.plane.clients.read_token(ClientId(call.path_id("client_id")))
    data = ShownToken(token=view.token, token_hint=view.hint, client_name=view.client.name)
    return Answer(data=data, headers=NO_STORE)


@shape
class Validated:
    """E14."""

    valid: bool = True
    client_id: str
    name: str
    client_name: str
    email: str | None


def validate(call: Call) -> Answer:
    """E14."""
    client = call.principal.client
    assert client is not None  # the access rule lets clients alone through
    return Answer(
        data=Validated(client_id=client.client_id, name=client.name, client_name=client.name, email=client.email)
    )


CLIENTS: Final = "/api/admin/clients"
routes = [
    Endpoint(
        number="E10", method="POST", path=f"{CLIENTS}/create", handler=create, access=ADMIN, idempotent=True,
        secret="token", body=CreateClient, answers=ClientCreated, statuses=(201,),
        refuses=("CLIENT_EXISTS", "DUPLICATE_EMAIL"),
    ),
    Endpoint(
        number="E11", method="DELETE", path=CLIENTS + "/{client_id}", handler=delete, access=ADMIN, answers=Done
    ),
    Endpoint(
        number="E12", method="POST", path=CLIENTS + "/{client_id}/regenerate-token", handler=rotate, access=ADMIN,
        idempotent=True, secret="token", body=RotateToken, answers=Rotated,
    ),
    Endpoint(
        number="E13", method="GET", path=CLIENTS + "/{client_id}/token", handler=read_token, access=ADMIN,
        answers=ShownToken,
    ),
    Endpoint(
        number="E14", method="GET", path="/api/client/validate", handler=validate, mirror=True,
        access=Access(needs=Needs.CLIENT), answers=Validated,
    ),
]  # fmt: skip
