"""Ids, tokens, their hashes, and tokens under seal (CL-2, Z3)."""

import hashlib
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotadapters.system.identity import NONCE_BYTES, SecureIdentity, new_seal_key

KEY = bytes(range(32))
sealing = SecureIdentity(KEY)
TOKENS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80)


def test_a_token_is_64_lower_case_hex_characters_2_1() -> None:
    tokens = {sealing.new_token() for _ in range(200)}
    assert len(tokens) == 200
    assert all(re.fullmatch(r"[0-9a-f]{64}", one) for one in tokens)


def test_an_id_is_uuid_text_1_3() -> None:
    ids = {sealing.new_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(str(uuid.UUID(one)) == one for one in ids)


def test_tokens_do_not_depend_on_the_key_or_its_absence() -> None:
    assert len(SecureIdentity(None).new_token()) == 64
    assert SecureIdentity(None).hash_token("x") == sealing.hash_token("x")


def test_a_seal_key_is_256_bits_and_never_the_same() -> None:
    keys = {new_seal_key() for _ in range(50)}
    assert ({len(one) for one in keys}, len(keys)) == ({32}, 50)


@pytest.mark.parametrize("size", [0, 1, 15, 31, 33, 64])
def test_a_key_of_another_size_is_a_defect_at_once(size: int) -> None:
    with pytest.raises(ValueError, match="key"):
        SecureIdentity(bytes(size))


# ---- hashes


def test_the_look_up_key_is_sha_256_in_hex_so_that_deployed_tokens_stay_valid_2_1() -> None:
    for token in ("token-0123456789abcdefghijABCDEFGHIJ01", "ab" * 32):
        assert sealing.hash_token(token) == hashlib.sha256(token.encode()).hexdigest()


@given(st.text(st.characters()), st.text(st.characters()))
def test_two_tokens_never_share_a_hash_and_no_text_is_too_odd(one: str, other: str) -> None:
    first, second = sealing.hash_token(one), sealing.hash_token(other)
    assert (first == second) is (one == other)
    assert re.fullmatch(r"[0-9a-f]{64}", first)


def test_half_a_surrogate_pair_has_a_hash_too() -> None:
    assert len(sealing.hash_token("\ud800")) == 64


# ---- seals


@given(TOKENS)
def test_a_sealed_token_opens_to_itself(token: str) -> None:
    sealed = sealing.seal(token)
    assert sealed is not None
    assert sealing.unseal(sealed) == token


@given(TOKENS.filter(lambda token: len(token) > 3))
def test_a_sealed_token_cannot_be_read_and_is_never_the_same(token: str) -> None:
    first, second = sealing.seal(token), sealing.seal(token)
    assert first is not None
    assert second is not None
    assert token.encode() not in first
    assert first != second
    assert first[:NONCE_BYTES] != second[:NONCE_BYTES]  # a nonce is used once


def test_another_key_opens_nothing() -> None:
    sealed = SecureIdentity(new_seal_key()).seal("secret")
    assert sealed is not None
    assert sealing.unseal(sealed) is None


def test_the_same_key_in_another_process_opens_it() -> None:
    sealed = SecureIdentity(KEY).seal("secret")
    assert sealed is not None
    assert SecureIdentity(KEY).unseal(sealed) == "secret"


@given(position=st.integers(0, 200), bit=st.integers(0, 7))
def test_one_changed_bit_anywhere_opens_nothing(position: int, bit: int) -> None:
    sealed = bytearray(sealing.seal("ab" * 32) or b"")
    sealed[position % len(sealed)] ^= 1 << bit
    assert sealing.unseal(bytes(sealed)) is None


@given(st.binary(max_size=64))
def test_what_was_never_sealed_opens_to_nothing(noise: bytes) -> None:
    assert sealing.unseal(noise) is None


@pytest.mark.parametrize("kept", [0, 1, NONCE_BYTES - 1, NONCE_BYTES, NONCE_BYTES + 15, 40])
def test_a_copy_that_was_cut_off_opens_to_nothing(kept: int) -> None:
    sealed = sealing.seal("ab" * 32)
    assert sealed is not None
    assert sealing.unseal(sealed[:kept]) is None


def test_with_read_back_off_nothing_is_sealed_and_nothing_opens_z3() -> None:
    off = SecureIdentity(None)
    sealed = sealing.seal("secret")
    assert sealed is not None
    assert off.seal("secret") is None
    assert off.unseal(sealed) is None
