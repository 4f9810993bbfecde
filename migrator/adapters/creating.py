"""Puts that create only, for stores that know no `If-None-Match` there and have a header of their own instead.

OSS answers 501 to the standard's header; COS and Google's store document their own alone; and Google's is not to be
mixed with Amazon's in one request, so that request has to be signed in Google's way throughout. obstore can add no
header that is signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from obstore.exceptions import GenericError

from migrator.adapters.signing import AMAZON, GOOGLE, signed, trusted_authorities
from migrator.adapters.store_credentials import key_finder

if TYPE_CHECKING:
    from migrator.adapters.store_endpoint import StoreEndpoint

_SILENCE_S = 30
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
        self._find_keys = key_finder(endpoint)
        self._authorities = trusted_authorities(endpoint)

    def create(self, key: str, data: bytes) -> bool:
        """Put the object; False comes back where the key is taken already.

        Raises:
            GenericError: As obstore's own requests do, the status and the service's code in its text.
        """
        import httpx  # noqa: PLC0415 - slow to import, and seldom used

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
        keys = self._find_keys()
        if keys is None:
            return headers
        region = self._endpoint.region or "us-east-1"
        return signed(self._scheme, "PUT", url, headers, data, keys=keys, region=region)


def find_creator(endpoint: StoreEndpoint) -> Creator | None:
    """What creates objects where obstore's own way is not understood; None where it is."""
    return Creator(endpoint) if endpoint.speaks_s3 and endpoint.provider in _WAYS else None
