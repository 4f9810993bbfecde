"""Why a store fails: from what it said, and from what answers at its address, to the field of the plan file."""

from __future__ import annotations

import re
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from migrator.errors import StoreError
from migrator.running.causes import Cause, cause_of_secret, is_named, other_scheme, takes_connections
from migrator.running.findings import named_field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.ports.probe import Sighting
    from migrator.running.doors import Doors, StorePlace
    from migrator.spec.document import Credentials, Storage

_BY_CODE = {
    "InvalidAccessKeyId": "credentials.access_key_id",
    "SignatureDoesNotMatch": "credentials.secret_access_key",
    "InvalidToken": "credentials.session_token",
    "ExpiredToken": "credentials.session_token",
    "AuthorizationHeaderMalformed": "region",
    "PermanentRedirect": "region",
    "IllegalLocationConstraintException": "region",
}
"""Which setting a service's own code is about."""
_VAGUE = {"endpoint", "credentials", "ca_cert"}
"""Settings that an error names for want of a better one: what answers at the address may tell more."""
_EXPECTED_REGION = re.compile(r"expecting '([\w-]+)'|<Region>([\w-]+)</Region>")
_DENIED = re.compile(r"AccessDenied|HTTP 40[13]|denied|unauthori[sz]ed|forbidden", re.IGNORECASE)


def store_cause(place: StorePlace, error: StoreError, doors: Doors, *, call: str) -> Cause:
    """The cause of an error of a `call` (list, head, get, put, copy, delete) on the store."""
    told = cause_of_secret(error, place.field) or _of_file(place, error)
    return told or _of_words(place, error, doors, call) or _of_address(place, error, doors, call)


def _of_file(place: StorePlace, error: StoreError) -> Cause | None:
    is_unread = "certificate file" in error.message or (place.storage.ca_cert and "cannot be opened" in error.message)
    return _of_ca_cert(place, error.message) if is_unread else None


def _of_words(place: StorePlace, error: StoreError, doors: Doors, call: str) -> Cause | None:
    """What the service answered, in the words of its protocol."""
    text = f"{error.message} {error.__cause__ or ''}"
    for code, setting in _BY_CODE.items():
        if code in text:
            return _of_setting(place, setting, error, text)
    if "does not exist at" in error.message:
        return _of_bucket(place, error, doors)
    named = named_field(error, "")
    if named.startswith(f"{place.field}.") and named.removeprefix(f"{place.field}.") not in _VAGUE:
        return Cause(field=named, message=error.message, hint=error.hint)
    return _of_credentials(place, error, call) if _DENIED.search(error.message) else None


# -- what the service says --------------------------------------------------------------------------------------------


def _of_setting(place: StorePlace, setting: str, error: StoreError, text: str) -> Cause:
    keys = place.storage.credentials
    if setting.startswith("credentials.") and (keys is None or keys.type != "static"):
        setting = "credentials"
    field = f"{place.field}.{setting}"
    if setting != "region":
        return Cause(field=field, message=error.message, hint=_see_secret(keys, setting.rpartition(".")[2]))
    found = _EXPECTED_REGION.search(text)
    hint = f"set it to {found[1] or found[2]}" if found else "set it to the region of the bucket"
    return Cause(field=field, message=error.message, hint=hint, value=place.storage.region)


def _see_secret(keys: Credentials | None, name: str) -> str:
    ref = getattr(keys, name, None)
    if ref is None:
        return "see whose keys these are"
    return f"see that {ref} holds it" if not isinstance(ref, str) else f"see that {ref} is right"


def _of_credentials(place: StorePlace, error: StoreError, call: str) -> Cause:
    keys = place.storage.credentials
    if keys is None or keys.type == "none":
        hint = "the service wants to know who asks: set type: static, with keys"
        return Cause(field=f"{place.field}.credentials", message=error.message, hint=hint)
    if keys.type == "static" and "AccessDenied" not in error.message:
        hint = f"the keys are wrong, or may not {call} in {place.place}"
    else:
        hint = f"let these credentials {call} in {place.place}, or use others"
    return Cause(field=f"{place.field}.credentials", message=error.message, hint=hint)


def _of_bucket(place: StorePlace, error: StoreError, doors: Doors) -> Cause:
    if place.storage.virtual_host_style and (style := _of_style(place, error, doors)).field.endswith("_style"):
        return style
    name = place.storage.bucket or ""
    there = find_buckets(place.storage, place.field, doors)
    close = get_close_matches(name, there, n=1)
    hint = "see minio.bucketName in the milvus.yaml"
    if close or len(there) == 1:
        hint = f"set it to {close[0] if close else there[0]}, which is there"
    elif there:
        hint = f"the buckets there: {', '.join(there[:8])}"
    return Cause(field=f"{place.field}.bucket", message=error.message, hint=hint, value=name)


def find_buckets(storage: Storage, field: str, doors: Doors) -> tuple[str, ...]:
    """The buckets that the credentials may see; none where they may not see which there are."""
    with suppress(StoreError):
        return doors.find_buckets(storage, field) or ()
    return ()


# -- what answers at its address --------------------------------------------------------------------------------------


def _of_ca_cert(place: StorePlace, message: str) -> Cause:
    hint = "name the PEM file of the authority that signed the service's certificate"
    return Cause(field=f"{place.field}.ca_cert", message=message, hint=hint, value=str(place.storage.ca_cert))


def _of_address(place: StorePlace, error: StoreError, doors: Doors, call: str) -> Cause:
    endpoint = place.storage.endpoint
    if endpoint is None:
        return Cause(field=named_field(error, place.field), message=error.message, hint=error.hint)
    seen = doors.look_at(endpoint)
    wrong = next(_wrong_address(endpoint, seen, doors), None)
    if wrong is not None:
        return Cause(field=f"{place.field}.endpoint", message=wrong[0], hint=wrong[1], value=endpoint)
    if endpoint.startswith("https") and "no connection" in error.message:
        return _of_certificate(place, error, seen)
    keys = place.storage.credentials
    if keys is not None and keys.type == "none":
        return _of_credentials(place, error, call)
    return _of_style(place, error, doors)


def _wrong_address(endpoint: str, seen: Sighting, doors: Doors) -> Iterator[tuple[str, str]]:
    """What is there, and what to write instead; nothing where a store may well be what answers."""
    is_https = endpoint.startswith("https")
    if not takes_connections(seen) or seen.is_grpc or (seen.service or "").endswith("Milvus"):
        yield f"no store answers at {endpoint}: {seen}", _instead(endpoint, doors)
    elif is_https and seen.tls is None:
        yield f"https is written, and the service speaks in the clear: {seen}", f"write {other_scheme(endpoint)}"
    elif not is_https and seen.tls is not None:
        yield f"http is written, and the service speaks TLS: {seen}", f"write {other_scheme(endpoint)}"
    elif seen.service is None:
        yield f"what answers at {endpoint} is no store that is known: {seen}", _instead(endpoint, doors)


def _instead(endpoint: str, doors: Doors) -> str:
    """Another address where a store does answer: that of another part of the plan, or the usual port of the host."""
    host = urlsplit(endpoint).hostname
    for address in (*doors.endpoints, f"http://{host}:9000"):
        if address != endpoint:
            seen = doors.look_at(address)
            if seen.answer == "http1" and seen.service is not None and not seen.service.endswith("Milvus"):
                return f"{seen}: is it {address}?"
    return "write the address of the object store, or start it"


def _of_certificate(place: StorePlace, error: StoreError, seen: Sighting) -> Cause:
    endpoint, tls = place.storage.endpoint or "", seen.tls
    if tls is not None and tls.is_expired:
        hint = "the service needs a new certificate"
        return Cause(field=f"{place.field}.endpoint", message=f"{endpoint} is not trusted: {seen}", hint=hint)
    host = urlsplit(endpoint).hostname or ""
    if tls is not None and tls.names and not is_named(host, tls.names):
        hint = f"write a name that its certificate holds: {', '.join(tls.names[:4])}"
        message = f"the certificate is not for {host}: {seen}"
        return Cause(field=f"{place.field}.endpoint", message=message, hint=hint, value=endpoint)
    trust = (
        "the file in ca_cert does not vouch for it" if place.storage.ca_cert else "no known authority vouches for it"
    )
    return _of_ca_cert(place, f"{endpoint} is not trusted, {trust}: {seen} ({error.message})")


def _of_style(place: StorePlace, error: StoreError, doors: Doors) -> Cause:
    """The address is right; whether the bucket's name goes into the host's can be tried."""
    storage = place.storage
    other = storage.model_copy(update={"virtual_host_style": not storage.virtual_host_style})
    with suppress(StoreError):
        if next(iter(doors.open_store(other, place.field).list_objects("")), None) is None:
            raise error
        hint = f"set it to {'true' if other.virtual_host_style else 'false'}: that works"
        field = f"{place.field}.virtual_host_style"
        return Cause(field=field, message=error.message, hint=hint, value=str(bool(storage.virtual_host_style)).lower())
    return Cause(field=named_field(error, f"{place.field}.endpoint"), message=error.message, hint=error.hint)
