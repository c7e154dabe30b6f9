"""The keys of a control plane: its authority, certificates for its users, and what it takes from whom."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

FRONT_PROXY: Final = "front-proxy"
"""The user that the API server is for the servers of other APIs, to which it hands on calls."""


@dataclass
class Keys:
    """Files in a folder. Whoever reads them may be told to read them again: authorities and certificates rotate."""

    folder: Path
    _issuer: trustme.CA = field(init=False)

    @property
    def authority(self) -> Path:
        """Give the certificate that vouches for the API server."""
        return self.folder / "ca.crt"

    @property
    def clients(self) -> Path:
        """Give the certificates of the authorities whose clients the API server takes."""
        return self.folder / "clients.crt"

    @property
    def accounts(self) -> Path:
        """Give the key that signs the tokens of service accounts."""
        return self.folder / "accounts.key"

    def make(self) -> None:
        """Make the authority, the API server's own certificate, and the key of service accounts."""
        self._issuer = trustme.CA(organization_name="Shardwise testbed")
        self._issuer.cert_pem.write_to_path(str(self.authority))
        self.trust(self._issuer)
        self.issue("serving", None)
        self.issue(FRONT_PROXY, FRONT_PROXY)
        accounts = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        self.accounts.write_bytes(accounts)

    def issue(
        self,
        name: str,
        user: str | None,
        group: str | None = None,
        by: trustme.CA | None = None,
        service: Sequence[str] = (),
    ) -> dict[str, str]:
        """Issue a certificate for a user, or for a server on loopback, and give what a kubeconfig says of it.

        ``service`` are further names of the server, such as that of its Service.
        """
        hosts = ("127.0.0.1", "localhost", *service)
        issued = (by or self._issuer).issue_cert(*hosts, common_name=user, organization_name=group)
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        issued.private_key_pem.write_to_path(str(key))
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        return {"client-certificate": str(certificate), "client-key": str(key)}

    def trust(self, *others: trustme.CA) -> None:
        """Take clients of our own authority and of others, and of nobody else; the API server notices by itself."""
        taken = {one.cert_pem.bytes(): None for one in (self._issuer, *others)}
        partly = self.clients.with_suffix(".partly")
        partly.write_bytes(b"".join(taken))
        partly.replace(self.clients)
