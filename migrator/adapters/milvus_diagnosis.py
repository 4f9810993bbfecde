"""Why a Milvus cannot be reached: what answers in its place, and which field of the plan file is wrong."""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING

from migrator.adapters.milvus_tls import host_and_port, trusting
from migrator.adapters.probe import Answer, first_words, look_at_port
from migrator.errors import MilvusRefused, MilvusUnavailable

if TYPE_CHECKING:
    from migrator.adapters.milvus import MilvusEndpoint
    from migrator.adapters.probe import PeerTls, Sighting
    from migrator.errors import MilvusError

CONNECT_TIMEOUT_S = 10.0
_HANDSHAKE_S = 3.0
_REFUSAL_S = 0.5
"""How long we wait to be refused after a handshake: from TLS 1.3 on a server says no to our certificate only then."""
_OTHER_NAME = {62, 64}
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_OUT_OF_TIME = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""

BUSY = ("rate limit exceeded", "request limit exceeded")
"""In reasons, lower case: said before anything else is done with a request."""
PASSING = (
    *BUSY,
    "not ready",
    "not healthy",
    "unavailable",
    "no available",
    "channel not available",
    "node not match",
    "node offline",
    "connection refused",
    "connection reset",
    "context deadline exceeded",
    "context canceled",
    "etcdserver: request timed out",
    "etcdserver: leader changed",
)
"""In reasons, lower case: a server that is starting, overloaded, or cut off from a part of itself."""
_LACKING = re.compile(r"Privilege(\w+): permission deny to (\S+)")


def login_hint(endpoint: MilvusEndpoint) -> str:
    """What to change where a login was refused, or none was given."""
    field = endpoint.plan_field
    if endpoint.token is None:
        return f"add {field}.username and {field}.password, or {field}.token"
    return "correct " + " or ".join(f"{field}.{name}" for name in endpoint.login_fields)


def privilege_hint(endpoint: MilvusEndpoint, detail: str) -> str:
    """What to grant, as far as `detail` names it."""
    lacking = _LACKING.search(detail)
    wish = f"the privilege {lacking[1]} to {lacking[2]}" if lacking else "the privilege that the message names"
    return f"grant {wish}, or log in as another user ({endpoint.plan_field}.username)"


def require_listener(endpoint: MilvusEndpoint) -> None:
    """Ask the socket first: it tells a refused connection at once, where gRPC would wait out its deadline."""
    try:
        socket.create_connection(host_and_port(endpoint.uri), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:  # the latter of a name that cannot be one
        raise MilvusUnavailable(
            f"no Milvus answers at {endpoint.uri}: {getattr(error, 'strerror', None) or error}",
            hint=f"correct {endpoint.uri_field}, or start the server",
        ) from error


def explain(endpoint: MilvusEndpoint, error: MilvusUnavailable) -> MilvusError:
    """What to tell in the place of `error`, which the handshake ended with; a few seconds are spent on looking."""
    seen = look_at_port(*host_and_port(endpoint.uri))
    return _of_language(endpoint, seen) or _of_certificates(endpoint, seen.tls) or _of_anything(endpoint, error)


def explain_certificates(endpoint: MilvusEndpoint) -> MilvusError | None:
    """Why `endpoint` and we do not trust one another; None where that is not what is wrong."""
    if not endpoint.uri.startswith("https"):
        return None
    seen = look_at_port(*host_and_port(endpoint.uri))
    return _of_certificates(endpoint, seen.tls)


def _of_anything(endpoint: MilvusEndpoint, error: MilvusUnavailable) -> MilvusError:
    return MilvusUnavailable(
        f"something listens at {endpoint.uri}, and it does not answer as a Milvus: {error.message}",
        hint=f"correct {endpoint.uri_field} (the gRPC port, 19530 by default; http or https)",
    )


def _of_language(endpoint: MilvusEndpoint, seen: Sighting) -> MilvusError | None:
    uri, is_https = endpoint.uri_field, endpoint.uri.startswith("https")
    if seen.answer is Answer.HTTP1:
        hint = f"correct {uri}: it is the address of Milvus's gRPC port, 19530 by default"
        return MilvusRefused(f"{seen}, and no gRPC", hint=hint)
    if is_https and seen.is_grpc and seen.tls is None:
        return MilvusRefused(f"{seen}, and {uri} says https", hint=f"write http:// in {uri}, or give the server TLS")
    if not is_https and seen.tls is not None:
        mode = "mutual" if seen.tls.wants_client_cert else "server"
        hint = f"write https:// in {uri}; certificates are named by {endpoint.plan_field}.tls (mode {mode})"
        return MilvusRefused(f"{seen}, and {uri} says http", hint=hint)
    return None


def _of_certificates(endpoint: MilvusEndpoint, peer: PeerTls | None) -> MilvusError | None:
    """Shake hands as gRPC did, with a library that says what it did not like."""
    if peer is None:
        return None
    host, port = host_and_port(endpoint.uri)
    try:
        with (
            socket.create_connection((host, port), timeout=_HANDSHAKE_S) as line,
            trusting(endpoint).wrap_socket(line, server_hostname=endpoint.server_name or host) as safe,
        ):
            return _of_ours(endpoint) if first_words(safe, _REFUSAL_S) is None else None
    except ssl.SSLCertVerificationError as error:
        return _of_theirs(endpoint, peer, error.verify_code)
    except ssl.SSLError as error:
        return _of_ours(endpoint) if "ALERT" in (error.reason or "") else None
    except OSError:
        return None


def _of_theirs(endpoint: MilvusEndpoint, peer: PeerTls, verify_code: int) -> MilvusError:
    host, port = host_and_port(endpoint.uri)
    tls = f"{endpoint.plan_field}.tls"
    if verify_code in _OTHER_NAME:
        hint = f"set {tls}.server_name to a name in the certificate, or correct {endpoint.uri_field}"
        return MilvusRefused(f"{host}:{port} shows {peer}, and not for {endpoint.server_name or host}", hint=hint)
    if verify_code in _OUT_OF_TIME:
        hint = f"renew it at the server that {endpoint.uri_field} leads to, or set this machine's clock"
        return MilvusRefused(f"{host}:{port} shows {peer}, and it is not valid today", hint=hint)
    whom = f"{tls}.ca_cert does not vouch" if endpoint.ca_cert else "no authority of this system vouches"
    hint = f"set {tls}.ca_cert to the PEM file of the authority that signed the server's certificate"
    return MilvusRefused(f"{host}:{port} shows {peer}, for which {whom}", hint=hint)


def _of_ours(endpoint: MilvusEndpoint) -> MilvusError:
    (host, port), tls = host_and_port(endpoint.uri), f"{endpoint.plan_field}.tls"
    if endpoint.client_cert is None:
        return MilvusRefused(
            f"the server at {host}:{port} wants a client certificate, and {tls} names none",
            hint=f"write mode: mutual there, with {tls}.client_cert and {tls}.client_key",
        )
    return MilvusRefused(
        f"the server at {host}:{port} refuses the certificate of {tls}.client_cert",
        hint="use one that its authority has signed (tls.caPemPath in its milvus.yaml)",
    )
