"""Errors of obstore as errors of ours, each with the field of the plan file that most likely has to change.

obstore tells little by the class and much in the text: the service's answer, with a code of its own, or what broke on
the way to it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from obstore import exceptions as foreign

from migrator.errors import ObjectMissing, StoreError, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.adapters.store_endpoint import StoreEndpoint

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_PASSING = {"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict", "ServerBusy"}
"""Codes that are worth another try whatever their status is: 400, 409."""
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"}
_NO_BUCKETS_NAME = {"InvalidBucketName", "InvalidResourceName"}
_FIELD_OF = {
    "InvalidAccessKeyId": "credentials.access_key_id",
    "InvalidSecurity": "credentials.access_key_id",
    "SignatureDoesNotMatch": "credentials.secret_access_key",
    "ExpiredToken": "credentials.session_token",
    "InvalidToken": "credentials.session_token",
    "AuthenticationFailed": "credentials",
    "AuthorizationFailure": "credentials",
    "InvalidAuthenticationInfo": "credentials",
    "NoAuthenticationInformation": "credentials",
    "AccountIsDisabled": "account",
    "ResourceNotFound": "account",
    "AuthorizationHeaderMalformed": "region",
    "IllegalLocationConstraintException": "region",
    "PermanentRedirect": "region",
    "TemporaryRedirect": "region",
    "SecondLevelDomainForbidden": "virtual_host_style",
    "PathStyleDomainForbidden": "virtual_host_style",
}
"""What a service's code says of the plan: the field below the storage's own."""
_BROKEN = (
    (re.compile(r"InvalidCertificate\(\s*NotValidForName"), "the server's certificate is for another name", "endpoint"),
    (re.compile(r"InvalidCertificate\(\s*(\w+)"), "the server's certificate is not trusted", "ca_cert"),
    (re.compile(r"CERTIFICATE_VERIFY_FAILED"), "the server's certificate is not trusted", "ca_cert"),
    (re.compile(r"InvalidContentType|WRONG_VERSION_NUMBER"), "the server does not speak TLS", "endpoint"),
    (re.compile(r"missing region|without LOCATION"), "the bucket is in another region", "region"),
)
"""What breaks before or beside the service's answer, and no second try mends: a pattern, the words, the field."""
_OWN_PROVIDER = re.compile(r"External \w+ credential provider: (\w+): ([^\n]*)")
_ROLE = re.compile(
    r"/latest/(?:api/token|meta-data)|[Tt]oken re(?:quest|sponse)|oauth2/token|/computeMetadata/|REDACTED"
)
"""A request for a role's keys went wrong, and not one to the store; obstore shows the address of none to an STS."""


@contextmanager
def translated(endpoint: StoreEndpoint, what: str) -> Iterator[None]:
    """Turn foreign errors into ours; `what` was being done ("reading a/b"). The only place that does."""
    try:
        yield
    except (foreign.BaseError, OSError, ValueError) as error:
        raise _ours(endpoint, what, error) from error


def _ours(endpoint: StoreEndpoint, what: str, error: Exception) -> StoreError:
    without_keys = _without_keys(endpoint, what, error)
    if without_keys is not None:
        return without_keys
    match error:
        case FileNotFoundError():
            return _missing(endpoint, what, error)
        case foreign.PermissionDeniedError() | foreign.UnauthenticatedError() | PermissionError():
            return _refused(endpoint, what, error)
        case foreign.GenericError():
            return _from_generic(endpoint, what, error)
        case _:
            return StoreRefused(f"{what} failed in {endpoint.place}: {sentence(error)}")


def _without_keys(endpoint: StoreEndpoint, what: str, error: Exception) -> StoreError | None:
    """The error of a role that gave no keys; None where that is not what went wrong."""
    text = str(error)
    own, field = _OWN_PROVIDER.search(text), "iam_endpoint" if endpoint.iam_endpoint else "type"
    hint = f"correct {endpoint.plan_field}.credentials.{field}, or run where the role is given"
    if own:
        kind = StoreUnavailable if own[1] == StoreUnavailable.__name__ else StoreRefused
        return kind(f"{what} failed in {endpoint.place}: {own[2]}", hint=hint)
    if not _ROLE.search(text) or endpoint.credentials not in {"iam", "default", "service_account"}:
        return None
    if "builder error" in text:
        return StoreRefused(f"{what} failed in {endpoint.place}: a pod's token is not sent over http", hint=hint)
    status = _STATUS.search(text)
    kind = StoreRefused if status and int(status[1]) < 500 else StoreUnavailable
    return kind(f"{what} failed in {endpoint.place}: the role gives no keys: {sentence(error)}", hint=hint)


def cannot_be_opened(endpoint: StoreEndpoint, error: BaseException) -> StoreRefused:
    """The error for settings that obstore did not take."""
    fields = (f"{endpoint.plan_field}.{name}" for name in _fields_of_settings(endpoint, str(error)))
    is_bad_key = "Invalid Access Key" in str(error)  # the rest of that text tells a piece of the key
    reason = "the account's key is not Base64" if is_bad_key else sentence(error)
    return StoreRefused(f"the store {endpoint.place} cannot be opened: {reason}", hint=f"correct {' or '.join(fields)}")


def sentence(error: BaseException) -> str:
    """The cause in a few words: the service's own code where it gave one, else the first line, cleared of noise."""
    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    if code or status:
        return " ".join(part for part in (code and code[1], status and f"(HTTP {status[1]})") if part)
    if "dns error" in text:
        return "there is no host of that name"
    if "error sending request" in text or "Connect" in text:
        return "no connection"
    return text.split("\n", maxsplit=1)[0].split(" Debug source", maxsplit=1)[0][:200]


def _fields_of_settings(endpoint: StoreEndpoint, text: str) -> tuple[str, ...]:
    if "certificate" in text.lower():
        return ("ca_cert",)
    if endpoint.credentials == "service_account":
        return ("credentials.credentials_file",)
    if endpoint.credentials == "shared_key" and "key" in text.lower():
        return ("credentials.account_key",)
    return ("credentials",) if endpoint.credentials == "default" else ("endpoint", "ca_cert")


def _missing(endpoint: StoreEndpoint, what: str, error: BaseException) -> StoreError:
    code = _CODE.search(str(error))
    if code and code[1] in _NO_BUCKET:
        return _no_bucket(endpoint)
    if code and _FIELD_OF.get(code[1]) == "account":
        return _refused(endpoint, what, error)
    return ObjectMissing(f"{what} failed in {endpoint.place}: there is no such object")


def _no_bucket(endpoint: StoreEndpoint) -> StoreRefused:
    kind, place = ("container", "account") if endpoint.provider == "azure" else ("bucket", "endpoint")
    return StoreRefused(
        f"the {kind} {endpoint.bucket!r} does not exist at {endpoint.service_url}",
        hint=f"correct {endpoint.plan_field}.bucket or {endpoint.plan_field}.{place}",
    )


def _refused(endpoint: StoreEndpoint, what: str, error: BaseException) -> StoreRefused:
    code = _CODE.search(str(error))
    field = _FIELD_OF.get(code[1]) if code else None
    hint = f"see that {endpoint.plan_field}.credentials are right and may do this"
    if field is not None:
        hint = _correct(endpoint, field)
    return StoreRefused(f"{what} was refused by {endpoint.place}: {sentence(error)}", hint=hint)


def _correct(endpoint: StoreEndpoint, field: str) -> str:
    """The hint that names the field; keys are named only as far as this type of credentials has them."""
    whole, _, key = field.partition(".")
    is_given = not key or (endpoint.credentials == "static" and getattr(endpoint, key) is not None)
    if whole == "credentials" and not is_given:
        field = whole
    elif field == "credentials" and endpoint.credentials == "shared_key":
        return f"correct {endpoint.plan_field}.credentials.account_key, or {endpoint.plan_field}.account"
    return f"correct {endpoint.plan_field}.{field}"


def _from_generic(endpoint: StoreEndpoint, what: str, error: BaseException) -> StoreError:
    """Obstore gives one class for most faults of a listing, so the status in the text has to tell."""
    text = str(error)
    if endpoint.bucket is None:
        return StoreRefused(f"{what} failed in {endpoint.place}: {sentence(error)}")
    code, status = _CODE.search(text), _STATUS.search(text)
    name, number = code[1] if code else "", int(status[1]) if status else 0
    if name in _NO_BUCKET:
        return _no_bucket(endpoint)
    if name in _NO_BUCKETS_NAME:
        return _failed(endpoint, what, error, _correct(endpoint, "bucket"))
    if number in {401, 403} or name in _FIELD_OF:
        return _refused(endpoint, what, error)
    if number and number < 500 and number not in {408, 429} and name not in _PASSING:
        service = {"azure": "an Azure", "gcp": "a Google"}.get(endpoint.provider, "an S3")
        hint = f"see that {endpoint.plan_field}.endpoint is the address of {service} service"
        return _failed(endpoint, what, error, hint)
    return _broken(endpoint, what, text) or _unavailable(endpoint, what, error)


def _failed(endpoint: StoreEndpoint, what: str, error: BaseException, hint: str) -> StoreRefused:
    return StoreRefused(f"{what} failed in {endpoint.place}: {sentence(error)}", hint=hint)


def _broken(endpoint: StoreEndpoint, what: str, text: str) -> StoreRefused | None:
    for pattern, words, field in _BROKEN:
        found = pattern.search(text)
        if found:
            detail = f" ({found[1]})" if pattern.groups and found.lastindex and field == "ca_cert" else ""
            return StoreRefused(
                f"{what} failed in {endpoint.place}: {words}{detail}", hint=f"correct {endpoint.plan_field}.{field}"
            )
    return None


def _unavailable(endpoint: StoreEndpoint, what: str, error: BaseException) -> StoreUnavailable:
    is_unknown_host = "dns error" in str(error)
    field = "endpoint"
    if endpoint.provider == "azure" and is_unknown_host:
        field = "account"
    elif endpoint.endpoint is None and is_unknown_host:
        field = "region"
    return StoreUnavailable(
        f"{what} got no answer from {endpoint.place}: {sentence(error)}",
        hint=f"correct {endpoint.plan_field}.{field}, or "
        + ("start the service" if endpoint.endpoint else "see that this machine may reach it"),
    )
