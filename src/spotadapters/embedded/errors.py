"""What can keep the embedded servers from running. Every text names the way out."""


class EmbeddedError(Exception):
    """The embedded servers cannot run here; the message says why and what to do."""
