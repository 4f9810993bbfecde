"""The certificates of a connection to Milvus: read, and found to be what they should be, before anything is sent.

Whoever answers is always verified: there is no way to turn that off.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from migrator.errors import MilvusRefused

if TYPE_CHECKING:
    from migrator.adapters.milvus import MilvusEndpoint

_SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_NOT_A_PAIR = "KEY_VALUES_MISMATCH"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files as bytes; None where the plan file names none. The key does not show."""

    ca_cert: bytes | None
    client_cert: bytes | None
    client_key: bytes | None

    def __repr__(self) -> str:
        return "TlsFiles(...)"


def host_and_port(uri: str) -> tuple[str, int]:
    """Where a Milvus's address leads; 443 or 19530 where it names no port."""
    address = urlsplit(uri)
    return address.hostname or "", address.port or (443 if address.scheme == "https" else 19530)


def read_files(endpoint: MilvusEndpoint) -> TlsFiles:
    """The certificates of the plan file.

    Raises:
        MilvusRefused: One is missing, is no PEM file, or the key is not that of the certificate; named by its field.
    """
    trusting(endpoint)
    return TlsFiles(
        ca_cert=_read(endpoint, "ca_cert", endpoint.ca_cert) or _system_authorities(),
        client_cert=_read(endpoint, "client_cert", endpoint.client_cert),
        client_key=_read(endpoint, "client_key", endpoint.client_key),
    )


def trusting(endpoint: MilvusEndpoint) -> ssl.SSLContext:
    """Whom we trust, the plan's own authority or the system's, and who we are; raises as `read_files`."""
    for name in ("ca_cert", "client_cert", "client_key"):
        _read(endpoint, name, getattr(endpoint, name))
    context = ssl.create_default_context(cafile=_bundle()) if endpoint.ca_cert is None else _own_authority(endpoint)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # as gRPC: the server's own certificate will do
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT  # as gRPC: from Python 3.13 on it would be set
    if endpoint.client_cert is not None:
        _add_client(context, endpoint)
    return context


def _own_authority(endpoint: MilvusEndpoint) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=endpoint.ca_cert)
    except ssl.SSLError as error:
        raise _is_no_pem(endpoint, "ca_cert") from error


def _add_client(context: ssl.SSLContext, endpoint: MilvusEndpoint) -> None:
    field, path = f"{endpoint.plan_field}.tls", endpoint.client_cert or ""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise _is_no_pem(endpoint, "client_cert") from error
    try:
        context.load_cert_chain(path, endpoint.client_key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == _NOT_A_PAIR:
            raise MilvusRefused(
                f"{field}.client_key is not the key of {field}.client_cert",
                hint="name the two files of one certificate",
            ) from error
        raise _is_no_pem(endpoint, "client_key") from error


def _no_password() -> str:
    """Asked for where a key is encrypted; without an answer OpenSSL would ask the terminal."""
    return ""


def _is_no_pem(endpoint: MilvusEndpoint, name: str) -> MilvusRefused:
    field, is_key = f"{endpoint.plan_field}.tls.{name}", name == "client_key"
    what = "private key in PEM, or is encrypted" if is_key else "certificate in PEM"
    return MilvusRefused(
        f"{field}: {getattr(endpoint, name)} holds no {what}",
        hint=f"name a file that begins with -----BEGIN {'PRIVATE KEY' if is_key else 'CERTIFICATE'}-----",
    )


def _read(endpoint: MilvusEndpoint, name: str, path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError as error:
        field = f"{endpoint.plan_field}.tls.{name}"
        raise MilvusRefused(
            f"{field}: {path} cannot be read: {error.strerror}",
            hint=f"correct {field}, which is relative to the file it stands in",
        ) from error


def _system_authorities() -> bytes | None:
    """Those that the rest of the system trusts; gRPC brings a list of its own, which no administrator has seen."""
    bundle = _bundle()
    return Path(bundle).read_bytes() if bundle else None


def _bundle() -> str | None:
    """The system's file of authorities, or what `SSL_CERT_FILE` names."""
    candidates = (ssl.get_default_verify_paths().cafile, *_SYSTEM_BUNDLES)
    return next((path for path in candidates if path and Path(path).is_file()), None)
