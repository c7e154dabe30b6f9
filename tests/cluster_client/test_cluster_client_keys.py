"""Keys for ssh between pods: what is in the Secret, that ssh's own library reads it, and that nothing is ever twice."""

import base64
import logging

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from shardwise.cluster import with_keys
from shardwise.engines import mpi

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "default"}, "immutable": True}


def files(secret: dict[str, object]) -> dict[str, bytes]:
    """Give what pods find in their folder of keys."""
    data = secret["data"]
    assert isinstance(data, dict)
    return {name: base64.b64decode(text, validate=True) for name, text in data.items()}


def private(text: bytes) -> Ed25519PrivateKey:
    key = load_ssh_private_key(text, password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def public(text: bytes) -> Ed25519PublicKey:
    key = load_ssh_public_key(text)
    assert isinstance(key, Ed25519PublicKey)
    return key


def same(one: Ed25519PublicKey, other: Ed25519PublicKey) -> bool:
    return one.public_bytes_raw() == other.public_bytes_raw()


def test_the_secret_holds_a_file_for_each_name_the_configuration_of_ssh_has() -> None:
    """And all else of it is as it was."""
    made = with_keys(SECRET)
    assert set(files(made)) == {mpi.CLIENT_KEY, mpi.HOST_KEY, mpi.AUTHORIZED_KEYS, mpi.KNOWN_HOSTS}
    assert {key: value for key, value in made.items() if key != "data"} == SECRET
    assert "data" not in SECRET


def test_each_end_can_check_the_other() -> None:
    """The client's public key is the authorized one, the host's the known one, under the alias of the configuration."""
    found = files(with_keys(SECRET))
    assert same(private(found["id"]).public_key(), public(found["authorized_keys"]))
    alias, _, host = found["known_hosts"].partition(b" ")
    assert alias == mpi.HOST_ALIAS.encode()
    assert same(private(found["host"]).public_key(), public(host))
    assert not same(private(found["id"]).public_key(), private(found["host"]).public_key())


def test_files_end_as_ssh_wants_them() -> None:
    """With a newline, each public key on a line of its own."""
    for name, text in files(with_keys(SECRET)).items():
        assert text.endswith(b"\n"), name
    found = files(with_keys(SECRET))
    assert found["authorized_keys"].count(b"\n") == found["known_hosts"].count(b"\n") == 1


def test_no_two_secrets_have_the_same_keys() -> None:
    made = {files(with_keys(SECRET))[name] for _ in range(5) for name in ("id", "host")}
    assert len(made) == 10


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        with_keys(SECRET)
    assert caplog.text == ""
