"""What is kept under seal: copies of client tokens (CL-2) and the addresses of channels."""

import psycopg
from attrs import frozen

from spotadapters.postgres.link import probed
from spotadapters.postgres.pool import Connections
from spotadapters.postgres.queries import query
from spotadapters.system.identity import SecureIdentity


@frozen(kw_only=True)
class Forgotten:
    """How many copies were dropped because no key opens them any more."""

    tokens: int
    channels: int


def last_sealed(database_url: str) -> bytes | None:
    """What was sealed last, None where nothing is; its key is the site's. Raises ``psycopg.Error``."""
    with psycopg.connect(probed(database_url), autocommit=True, connect_timeout=5) as connection:
        connection.execute("set role spotcore_app; set spotcore.tenant = '*'")
        row = connection.execute(query("sealed_last")).fetchone()
    return bytes(row[0]) if row is not None else None


def forget_unreadable(connections: Connections, identity: SecureIdentity) -> Forgotten:
    """Drop the copies of tokens, and the channels, that the key at hand does not open. The tokens themselves stay
    valid: they are known by their hashes. Repeatable."""
    with connections.connection() as connection:
        tokens, channels = (
            [name for name, sealed in connection.execute(query(what)).fetchall() if identity.unseal(sealed) is None]
            for what in ("sealed_tokens", "sealed_channels")
        )
        connection.execute(query("sealed_tokens_forget"), {"hashes": tokens})
        for channel_id in channels:
            connection.execute(query("channel_remove"), {"channel_id": channel_id})
    return Forgotten(tokens=len(tokens), channels=len(channels))
