"""Price history in bulk: files of change points in, clean buckets out. Needs the extra ``history``."""
