"""The operator's token: given by the environment, or made once and shown once (no default secrets)."""

from spotadapters.postgres.queries import query
from spotadapters.postgres.storage import PostgresClients
from spotapp.wiring import Wiring
from spotcore.ports.storage import TokenRecord


def ensure_admin_token(wiring: Wiring) -> str | None:
    """A fresh token to show once, None when one is configured or was made before. Only its hash is stored."""
    given = wiring.settings.admin_token
    now = wiring.parts.clock.now()
    with wiring.connections.connection() as connection:
        if given is not None:
            row = connection.execute(
                query("admin_token_known"), {"token_hash": wiring.identity.hash_token(given), "now": now}
            ).fetchone()
            if row is None or not row[0]:
                connection.execute(query("admin_tokens_end"), {"at": now})
                PostgresClients(connection).add_token(_record(wiring, given))
            return None
        row = connection.execute(query("admin_token_exists"), {"now": now}).fetchone()
        if row is not None and row[0]:
            return None
        token = wiring.identity.new_token()
        PostgresClients(connection).add_token(_record(wiring, token))
        return token


def rotate_admin_token(wiring: Wiring) -> str:
    """A fresh token; every earlier one ends now."""
    token = wiring.identity.new_token()
    with wiring.connections.connection() as connection:
        connection.execute(query("admin_tokens_end"), {"at": wiring.parts.clock.now()})
        PostgresClients(connection).add_token(_record(wiring, token))
    return token


def _record(wiring: Wiring, token: str) -> TokenRecord:
    return TokenRecord(
        token_hash=wiring.identity.hash_token(token),
        hint=token[-4:],
        sealed=None,
        client_id=None,
        created_at=wiring.parts.clock.now(),
    )
