"""Certificates of authorities that live as long as a test."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme
from cryptography.hazmat.primitives import serialization

if TYPE_CHECKING:
    from pathlib import Path

ELSEWHERE = "milvus.example"
"""The one name in the certificate `named`."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """A folder of PEM files: `ca`, `other_ca`, and each certificate with its key beside it."""

    folder: Path

    def cert(self, name: str) -> str:
        """Its path."""
        return str(self.folder / f"{name}.pem")

    def key(self, name: str) -> str:
        """The path of its private key."""
        return str(self.folder / f"{name}.key")


def write_certificates(folder: Path) -> Certificates:
    """Our authority with `server` (loopback), `named`, `expired` and `client`; `foreign` is a client of another's."""
    authority, other = trustme.CA(organization_name="Books and Sons"), trustme.CA(organization_name="Elsewhere")
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificates = {
        "server": authority.issue_cert("127.0.0.1", "localhost"),
        "named": authority.issue_cert(ELSEWHERE),
        "expired": authority.issue_cert("127.0.0.1", not_before=past, not_after=past + dt.timedelta(days=1)),
        "client": authority.issue_cert("migrator@books.example"),
        "foreign": other.issue_cert("somebody@elsewhere.example"),
    }
    authority.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other_ca.pem")
    for name, certificate in certificates.items():
        (folder / f"{name}.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        (folder / f"{name}.key").write_bytes(certificate.private_key_pem.bytes())
    (folder / "empty.pem").write_bytes(b"")
    (folder / "locked.key").write_bytes(_encrypted(certificates["client"].private_key_pem.bytes()))
    return Certificates(folder)


def _encrypted(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, password=None)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"sesame"))
