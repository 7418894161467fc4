"""The storage ports in memory."""

from spotadapters.memory.store import MemoryCredentials, MemoryStorage

__all__ = ["MemoryCredentials", "MemoryStorage"]
