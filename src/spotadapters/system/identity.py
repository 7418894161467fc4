"""Ids and tokens from a cryptographic source, and tokens under seal (CL-2)."""

import hashlib
import os
import secrets
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
TOKEN_BYTES = 32  # 256 bits


def new_seal_key() -> bytes:
    """A fresh 256-bit key for AES-GCM. Keep it outside the database."""
    return AESGCM.generate_key(bit_length=256)


class SecureIdentity:
    """``Identity``. Without a ``seal_key`` nothing is sealed and no token can be read back (``token_readback=off``)."""

    def __init__(self, seal_key: bytes | None) -> None:
        self._box = AESGCM(seal_key) if seal_key is not None else None

    def new_id(self) -> str:
        """UUID text."""
        return str(uuid.uuid4())

    def new_token(self) -> str:
        """64 lower-case hex characters."""
        return secrets.token_hex(TOKEN_BYTES)

    def hash_token(self, token: str) -> str:
        """SHA-256 hex: the look-up key. Looking a hash up leaks no timing about the token itself."""
        return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()

    def seal(self, token: str) -> bytes | None:
        """The token under the key, nonce in front; None when read-back is off."""
        if self._box is None:
            return None
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._box.encrypt(nonce, token.encode(), None)

    def unseal(self, sealed: bytes) -> str | None:
        """The clear token; None with another key, a damaged copy, or read-back off."""
        if self._box is None:
            return None
        try:
            return self._box.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None).decode()
        except (InvalidTag, ValueError):
            return None
