"""The key that seals client tokens and channels: where it is, and whether it is the one that sealed what there is."""

import contextlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Final

import psycopg

from spotadapters.postgres.sealed import last_sealed
from spotadapters.system.identity import SecureIdentity, new_seal_key
from spotapp.settings import Settings, SettingsError, parsed_key

log = logging.getLogger("spotapp.sealing")

GIVE_UP: Final = "or give up what was sealed with it: spotcore rekey"


def seal_key(settings: Settings) -> bytes | None:
    """The key that seals tokens: given, or made once and kept in a 0600 file; None with read-back off."""
    key = known_key(settings)
    if key is not None or not settings.token_readback:
        return key
    _write_secret(key_file(settings), new_seal_key().hex())
    return known_key(settings)  # perhaps that of another process that began at the same time


def known_key(settings: Settings) -> bytes | None:
    """The key where there is one, None with read-back off and before the first start; nothing is made. Raises
    ``SettingsError`` for a file that holds none."""
    if not settings.token_readback:
        return None
    if settings.seal_key is not None:
        return bytes.fromhex(settings.seal_key)
    file = key_file(settings)
    try:
        return bytes.fromhex(parsed_key(file.read_text(errors="replace")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as wrong:
        raise SettingsError(
            f"{file} holds no key, which is {wrong}; put it back from your backup, set SPOTCORE_SEAL_KEY, or remove it "
            "and give up what was sealed with it: spotcore rekey"
        ) from None


def is_lost(settings: Settings, database_url: str) -> bool:
    """Whether there is no key although something was sealed with one, or nobody can say. It is not replaced then: what
    a new key sealed could not be opened any more once the old one is back."""
    if not settings.token_readback or known_key(settings) is not None:
        return False
    with contextlib.suppress(psycopg.Error):
        return last_sealed(database_url) is not None
    return True


def tell_wrong_key(settings: Settings, database_url: str) -> None:
    """Log it when the key is lost or another than sealed last. A server starts all the same: agents and failovers need
    no seal, and they come first."""
    try:
        require_right_key(settings, database_url)
    except SettingsError as wrong:
        log.error("seal_key_wrong", extra={"reason": str(wrong)})


def key_file(settings: Settings) -> Path:
    """Where the key is kept that no setting gives."""
    return settings.data_dir / "seal.key"


def require_right_key(settings: Settings, database_url: str) -> None:
    """Raises ``SettingsError`` when the key is lost, or another than sealed last: channels would go silent and tokens
    could never be shown again, and nobody would be told. Call it before a key is made."""
    if not settings.token_readback:
        return  # said on purpose: nothing is opened, nothing is sealed
    sealed, key = last_sealed(database_url), known_key(settings)
    if sealed is None or (key is not None and SecureIdentity(key).unseal(sealed) is not None):
        return
    if settings.seal_key is not None:
        raise SettingsError(
            "SPOTCORE_SEAL_KEY is not the key that client tokens and channels are sealed with; set that one, " + GIVE_UP
        )
    state = "is gone" if key is None else "holds another key"
    raise SettingsError(
        f"{key_file(settings)} {state}, and client tokens or channels of this database are sealed; put the file back "
        f"from your backup, set SPOTCORE_SEAL_KEY, {GIVE_UP}"
    )


def _write_secret(file: Path, text: str) -> None:
    """Whole or not at all, and by one of several that begin at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)  # 0600
    try:
        with os.fdopen(handle, "w") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(handle)
        with contextlib.suppress(FileExistsError):
            os.link(name, file)
    finally:
        os.unlink(name)
