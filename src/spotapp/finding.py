"""What a look of the doctor comes to."""

from attrs import frozen


@frozen(kw_only=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    found: str
    fix: str | None = None
