"""Signatures of our own, held against those of the provider's client."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from migrator.adapters.signing import AMAZON, GOOGLE, signed
from migrator.adapters.store_credentials import Keys

NOW = datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC)
KEYS = Keys("an-access-key", "a-secret-key", "a-token")


def of_botocore(method: str, url: str, headers: dict[str, str], data: bytes) -> str:
    request: Any = botocore.awsrequest.AWSRequest(method, url, headers=headers, data=data)
    signer = botocore.auth.S3SigV4Auth(
        botocore.credentials.Credentials("an-access-key", "a-secret-key", "a-token"), "s3", "r-1"
    )
    with patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        signer.add_auth(request)
    return str(request.headers["Authorization"])


@pytest.mark.parametrize("key", ["a/b", "with space/ü", "100%25+~(1)"])
@pytest.mark.parametrize("url", ["https://bucket.oss-r-1.aliyuncs.com/", "http://127.0.0.1:9000/bucket/"])
def test_a_request_is_signed_as_amazon_s_client_signs_it(url: str, key: str) -> None:
    headers = {"x-oss-forbid-overwrite": "true"}
    address = url + quote(key, safe="/-._~")
    ours = signed(AMAZON, "PUT", address, headers, b"data", keys=KEYS, region="r-1", now=NOW)
    assert ours["authorization"] == of_botocore("PUT", address, headers, b"data")
    assert headers == {"x-oss-forbid-overwrite": "true"}


def test_so_is_a_request_for_the_service_itself() -> None:
    ours = signed(AMAZON, "GET", "http://127.0.0.1:9000/", {}, b"", keys=KEYS, region="r-1", now=NOW)
    assert ours["authorization"] == of_botocore("GET", "http://127.0.0.1:9000/", {}, b"")


def test_google_s_signature_is_of_the_same_make_under_its_own_names() -> None:
    headers = {"x-goog-if-generation-match": "0"}
    keys = Keys("an-access-key", "a-secret-key")
    ours = signed(GOOGLE, "PUT", "https://storage.googleapis.com/b/k", headers, b"", keys=keys, region="auto", now=NOW)
    assert ours["authorization"].startswith(
        "GOOG4-HMAC-SHA256 Credential=an-access-key/20260131/auto/storage/goog4_request, "
        "SignedHeaders=host;x-goog-content-sha256;x-goog-date;x-goog-if-generation-match, Signature="
    )
    assert ours["x-goog-date"] == "20260131T235958Z"
    assert "amz" not in str(ours)
