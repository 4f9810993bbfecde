"""Requests that are signed here, for the few that obstore cannot send."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from migrator.adapters.store_credentials import Keys
    from migrator.adapters.store_endpoint import StoreEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A way of signing: Amazon's fourth version, and Google's, which differs in words alone."""

    algorithm: str
    maker: str
    headers: str
    service: str
    end: str


AMAZON = Scheme(algorithm="AWS4-HMAC-SHA256", maker="AWS4", headers="x-amz", service="s3", end="aws4_request")
GOOGLE = Scheme(algorithm="GOOG4-HMAC-SHA256", maker="GOOG4", headers="x-goog", service="storage", end="goog4_request")


def trusted_authorities(endpoint: StoreEndpoint) -> ssl.SSLContext:
    """The system's authorities, and the plan's own.

    Raises:
        ValueError: The file is not one of certificates.
    """
    context = ssl.create_default_context()
    if endpoint.ca_cert:
        try:
            context.load_verify_locations(endpoint.ca_cert)
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(f"the certificate file {endpoint.ca_cert} cannot be read") from error
    return context


def signed(
    scheme: Scheme,
    method: str,
    url: str,
    headers: Mapping[str, str],
    data: bytes,
    *,
    keys: Keys,
    region: str,
    now: datetime | None = None,
) -> dict[str, str]:
    """The headers of a request with those that sign it: its address, which has no query, all of `headers`, its content.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html,
    https://cloud.google.com/storage/docs/authentication/signatures
    """
    at = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    address, content = urlsplit(url), hashlib.sha256(data).hexdigest()
    given = dict(headers) | {f"{scheme.headers}-date": at, f"{scheme.headers}-content-sha256": content}
    if keys.session_token:
        given[f"{scheme.headers}-security-token"] = keys.session_token
    all_of_them = sorted((given | {"host": address.netloc}).items())
    names = ";".join(name for name, _ in all_of_them)
    lines = "".join(f"{name}:{value}\n" for name, value in all_of_them)
    request = f"{method}\n{address.path or '/'}\n\n{lines}\n{names}\n{content}"
    scope = f"{at[:8]}/{region}/{scheme.service}/{scheme.end}"
    text = f"{scheme.algorithm}\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = f"{scheme.maker}{keys.secret_access_key}".encode()
    for part in (*scope.split("/"), text):
        signature = hmac.digest(signature, part.encode(), "sha256")
    credential = f"Credential={keys.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature.hex()}"
    return given | {"authorization": f"{scheme.algorithm} {credential}"}
