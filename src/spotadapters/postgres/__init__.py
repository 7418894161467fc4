"""The storage ports on PostgreSQL 15 or newer."""
