"""PostgreSQL and Valkey from wheels, run as our own children (docs/decisions/0002)."""

from spotadapters.embedded.errors import EmbeddedError
from spotadapters.embedded.postgres import cluster_damage, has_database, running_database_url
from spotadapters.embedded.stack import EmbeddedStack, holder
from spotadapters.embedded.valkey import running_redis_url

__all__ = [
    "EmbeddedError", "EmbeddedStack", "cluster_damage", "has_database", "holder", "running_database_url",
    "running_redis_url",
]  # fmt: skip
