"""Key pairs for ssh between the pods of an object: made here, put into a Secret, and kept nowhere else."""

import base64
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from shardwise.engines.mpi import AUTHORIZED_KEYS, CLIENT_KEY, HOST_ALIAS, HOST_KEY, KNOWN_HOSTS


def with_keys(secret: Mapping[str, Any]) -> dict[str, Any]:
    """Give a Secret with a pair for clients, a pair for servers, and the files by which each end checks the other."""
    client, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    files = {
        CLIENT_KEY: _private(client),
        AUTHORIZED_KEYS: _public(client) + b"\n",
        HOST_KEY: _private(host),
        KNOWN_HOSTS: HOST_ALIAS.encode() + b" " + _public(host) + b"\n",
    }
    return {**secret, "data": {name: base64.b64encode(text).decode() for name, text in files.items()}}


def _private(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
