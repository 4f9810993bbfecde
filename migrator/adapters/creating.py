"""Puts that create only, for stores that know no `If-None-Match` there and have a header of their own instead.

OSS answers 501 to the standard's header; COS and Google's store document their own alone; and Google's is not to be
mixed with Amazon's in one request, so that request has to be signed in Google's way throughout. obstore can add no
header that is signed.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import httpx
from obstore.exceptions import GenericError

from migrator.adapters.store_credentials import s3_provider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from migrator.adapters.store_endpoint import StoreEndpoint

_SILENCE_S = 30


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
_WAYS = {
    "aliyun": (AMAZON, "x-oss-forbid-overwrite", "true"),
    "tencent": (AMAZON, "x-cos-forbid-overwrite", "true"),
    "gcp": (GOOGLE, "x-goog-if-generation-match", "0"),
}
_TAKEN = {409, 412}


class Creator:
    """Puts small objects into one bucket, each only where its key is free."""

    def __init__(self, endpoint: StoreEndpoint) -> None:
        self._endpoint = endpoint
        self._scheme, self._header, self._value = _WAYS[endpoint.provider]
        self._provider = s3_provider(endpoint)
        self._authorities = trusted_authorities(endpoint)

    def create(self, key: str, data: bytes) -> bool:
        """Put the object; False comes back where the key is taken already.

        Raises:
            GenericError: As obstore's own requests do, the status and the service's code in its text.
        """
        path = quote(key if self._endpoint.has_bucket_in_address else f"{self._endpoint.bucket}/{key}", safe="/-._~")
        url = f"{self._endpoint.bucket_url}/{path}"
        headers = self._signed(url, {self._header: self._value}, data)
        try:
            answer = httpx.put(url, content=data, headers=headers, timeout=_SILENCE_S, verify=self._authorities)
        except httpx.HTTPError as error:
            raise GenericError(f"error sending request: {type(error).__name__}: {error}") from None
        if answer.status_code in _TAKEN:
            return False
        if not answer.is_success:
            raise GenericError(f"status code: {answer.status_code} {answer.text[:2000]}")
        return True

    def _signed(self, url: str, headers: dict[str, str], data: bytes) -> dict[str, str]:
        if self._endpoint.credentials == "none":
            return headers
        key, secret, token = (
            self._endpoint.access_key_id,
            self._endpoint.secret_access_key,
            self._endpoint.session_token,
        )
        if self._provider is not None:
            found = self._provider()
            key, secret, token = found["access_key_id"], found["secret_access_key"], found.get("token")
        if token:
            headers |= {f"{self._scheme.headers}-security-token": token}
        region = self._endpoint.region or "us-east-1"
        return signed(self._scheme, url, headers, data, keys=(key or "", secret or ""), region=region)


def find_creator(endpoint: StoreEndpoint) -> Creator | None:
    """What creates objects where obstore's own way is not understood; None where it is."""
    return Creator(endpoint) if endpoint.speaks_s3 and endpoint.provider in _WAYS else None


def trusted_authorities(endpoint: StoreEndpoint) -> ssl.SSLContext:
    """The system's authorities, and the plan's own."""
    context = ssl.create_default_context()
    if endpoint.ca_cert:
        try:
            context.load_verify_locations(endpoint.ca_cert)
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(f"the certificate file {endpoint.ca_cert} cannot be read") from error
    return context


def signed(
    scheme: Scheme,
    url: str,
    headers: Mapping[str, str],
    data: bytes,
    *,
    keys: tuple[str, str],
    region: str,
    now: datetime | None = None,
) -> dict[str, str]:
    """The headers of a put with those that sign it: its address, all of `headers`, and its content.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html,
    https://cloud.google.com/storage/docs/authentication/signatures
    """
    at = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    address, content = urlsplit(url), hashlib.sha256(data).hexdigest()
    given = dict(headers) | {f"{scheme.headers}-date": at, f"{scheme.headers}-content-sha256": content}
    all_of_them = sorted((given | {"host": address.netloc}).items())
    names = ";".join(name for name, _ in all_of_them)
    lines = "".join(f"{name}:{value}\n" for name, value in all_of_them)
    request = f"PUT\n{address.path}\n\n{lines}\n{names}\n{content}"
    scope = f"{at[:8]}/{region}/{scheme.service}/{scheme.end}"
    text = f"{scheme.algorithm}\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = f"{scheme.maker}{keys[1]}".encode()
    for part in (*scope.split("/"), text):
        signature = hmac.digest(signature, part.encode(), "sha256")
    credential = f"Credential={keys[0]}/{scope}, SignedHeaders={names}, Signature={signature.hex()}"
    return given | {"authorization": f"{scheme.algorithm} {credential}"}
