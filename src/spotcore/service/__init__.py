"""Use cases: one transaction each, load → decide → save (GR-1). Synchronous; the caller brings the threads."""
