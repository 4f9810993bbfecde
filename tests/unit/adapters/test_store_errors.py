"""What each provider's answers say of the plan: the field that has to change stands in the hint."""

from __future__ import annotations

from dataclasses import replace

import pytest
from obstore import exceptions as foreign

from migrator.adapters.objects import StoreEndpoint
from migrator.adapters.store_errors import cannot_be_opened, translated
from migrator.errors import StoreError, StoreRefused, StoreUnavailable

S3 = StoreEndpoint(
    plan_field="p",
    bucket="bucket",
    endpoint="https://store.example",
    access_key_id="key",
    secret_access_key="hunter2",  # noqa: S106 - no secret
)
TEMPORARY = replace(S3, session_token="token")  # noqa: S106 - no secret
ROLE = replace(S3, credentials="iam", access_key_id=None, secret_access_key=None)
AZURE = StoreEndpoint(
    plan_field="p", provider="azure", bucket="box", account="account1", credentials="shared_key", account_key="aGk="
)
GOOGLE = StoreEndpoint(plan_field="p", provider="gcp", bucket="box", credentials="none")
AWS = replace(S3, provider="aws", endpoint=None, region="us-est-1")
DNS = 'ConnectError("dns error", "failed to lookup address information")'


def answer(status: int, code: str) -> str:
    return f"Server returned non-2xx status code: {status} x: <Error><Code>{code}</Code></Error>"


@pytest.mark.parametrize(
    ("endpoint", "text", "field", "said"),
    [
        (S3, answer(403, "InvalidAccessKeyId"), "p.credentials.access_key_id", "InvalidAccessKeyId"),
        (S3, answer(403, "SignatureDoesNotMatch"), "p.credentials.secret_access_key", "SignatureDoesNotMatch"),
        (TEMPORARY, answer(400, "ExpiredToken"), "p.credentials.session_token", "ExpiredToken"),
        (S3, answer(403, "InvalidToken"), "p.credentials", "InvalidToken"),
        (ROLE, answer(403, "InvalidAccessKeyId"), "p.credentials", "InvalidAccessKeyId"),
        (S3, answer(403, "AccessDenied"), "p.credentials", "AccessDenied"),
        (S3, answer(400, "InvalidBucketName"), "p.bucket", "InvalidBucketName"),
        (S3, answer(400, "AuthorizationHeaderMalformed"), "p.region", "AuthorizationHeaderMalformed"),
        (S3, answer(301, "PermanentRedirect"), "p.region", "PermanentRedirect"),
        (S3, "Received redirect without LOCATION, this normally indicates", "p.region", "another region"),
        (S3, answer(403, "SecondLevelDomainForbidden"), "p.virtual_host_style", "SecondLevelDomainForbidden"),
        (S3, "error: InvalidCertificate(\n   UnknownIssuer,", "p.ca_cert", "is not trusted (UnknownIssuer)"),
        (S3, "error: InvalidCertificate(\n  NotValidForNameContext {", "p.endpoint", "is for another name"),
        (S3, "error: InvalidMessage(\n InvalidContentType", "p.endpoint", "does not speak TLS"),
        (S3, DNS, "p.endpoint", "no host of that name"),
        (AWS, DNS, "p.region", "no host of that name"),
        (AZURE, DNS, "p.account", "no host of that name"),
        (AZURE, answer(404, "ContainerNotFound"), "p.bucket", "the container 'box' does not exist"),
        (AZURE, answer(404, "ResourceNotFound"), "p.account", "ResourceNotFound"),
        (AZURE, answer(403, "AuthenticationFailed"), "p.credentials.account_key", "AuthenticationFailed"),
        (AZURE, answer(403, "AuthorizationPermissionMismatch"), "p.credentials", "AuthorizationPermissionMismatch"),
        (AZURE, answer(400, "InvalidResourceName"), "p.bucket", "InvalidResourceName"),
        (AZURE, answer(400, "OutOfRangeInput"), "p.endpoint", "OutOfRangeInput"),
        (GOOGLE, answer(404, "NoSuchBucket"), "p.bucket", "the bucket 'box' does not exist"),
        (
            ROLE,
            "Error performing PUT http://h/latest/api/token - error sending request",
            "p.credentials.type",
            "no keys",
        ),
        (
            replace(ROLE, iam_endpoint="http://h"),
            "Error performing GET http://h/latest/meta-data/iam/x status code: 404",
            "p.credentials.iam_endpoint",
            "the role gives no keys: (HTTP 404)",
        ),
        (
            replace(GOOGLE, credentials="iam"),
            "valid credentials for path External GCP credential provider: StoreRefused: why it is so\n\nDebug",
            "p.credentials.type",
            "why it is so",
        ),
    ],
)
@pytest.mark.parametrize("kind", [foreign.GenericError, None])
def test_the_field_that_has_to_change_is_named(
    endpoint: StoreEndpoint, text: str, field: str, said: str, kind: type[Exception] | None
) -> None:
    """Of one answer obstore makes a `GenericError` for a listing, and an error of its status's own elsewhere."""
    by_status = {"403": foreign.PermissionDeniedError, "404": FileNotFoundError}
    own = next((error for status, error in by_status.items() if f"code: {status}" in text), foreign.GenericError)
    with pytest.raises(StoreError) as caught, translated(endpoint, "reading a"):
        raise (kind or own)(text)
    assert said in caught.value.message
    assert field in caught.value.hint.replace(",", "").split()


def test_a_service_that_is_not_reached_may_be_reached_later() -> None:
    with pytest.raises(StoreUnavailable), translated(AZURE, "reading a"):
        raise foreign.GenericError(DNS)
    with pytest.raises(StoreUnavailable), translated(ROLE, "reading a"):
        raise foreign.GenericError("Error performing PUT http://h/latest/api/token: error sending request")
    with pytest.raises(StoreRefused), translated(S3, "reading a"):
        raise foreign.GenericError("error: InvalidCertificate(Expired)")


@pytest.mark.parametrize(
    ("endpoint", "text", "field"),
    [
        (AZURE, "Invalid Access Key: Invalid symbol 33, offset 0.", "p.credentials.account_key"),
        (replace(GOOGLE, credentials="service_account"), "Unable to open file", "p.credentials.credentials_file"),
        (S3, "No certificates found in `root_certificate` input", "p.ca_cert"),
        (S3, "Unable to parse URL", "p.endpoint"),
    ],
)
def test_settings_that_are_not_taken_are_named(endpoint: StoreEndpoint, text: str, field: str) -> None:
    error = cannot_be_opened(endpoint, ValueError(text))
    assert field in error.hint.split()
    assert "symbol 33" not in error.message
