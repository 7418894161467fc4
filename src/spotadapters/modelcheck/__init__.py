"""Looking into uploaded models: in a process of its own, with limits and without secrets (MS-6)."""

from spotadapters.modelcheck.process import ProcessValidator

__all__ = ["ProcessValidator"]
