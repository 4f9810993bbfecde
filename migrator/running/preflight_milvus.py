"""One Milvus of a plan, looked at by itself: whether it answers, lets us in, and is of a version that is supported."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from migrator.errors import MilvusError, PlanError
from migrator.model.finding import Part
from migrator.planning.compatibility import unsupported_source, unsupported_target
from migrator.running.causes import takes_connections
from migrator.running.findings import named_field

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.ports.milvus import MilvusReader
    from migrator.running.doors import Doors
    from migrator.running.findings import Findings
    from migrator.spec.document import Milvus

_PORT = 19530
SELDOM_NEEDED = frozenset({"milvus.management_uri", "milvus.rest_uri"})
"""Checks of addresses that not every run asks."""
_M = TypeVar("_M", bound="MilvusReader")


def look_at_milvus(
    part: Part, milvus: Milvus, open_it: Callable[[], _M], findings: Findings, doors: Doors
) -> _M | None:
    """The connection, for the caller to close; None where it is of no use, and then why is a finding."""
    field = f"{part}.milvus"
    _look_at_other_ports(milvus, field, findings, doors)
    try:
        client = open_it()
    except MilvusError as error:
        _tell_unreachable(milvus, field, error, findings, doors)
        return None
    findings.ok("milvus.connect", f"Milvus {client.version()} answers at {milvus.uri}", f"{field}.uri")
    return client if _is_supported(part, client, findings) and _can_list(field, client, findings) else None


def _tell_unreachable(milvus: Milvus, field: str, error: MilvusError, findings: Findings, doors: Doors) -> None:
    """The field that the error names; where that is the address, what is there, and where gRPC does answer."""
    named, message, hint = named_field(error, f"{field}.uri"), error.message, error.hint
    value = milvus.uri if named == f"{field}.uri" else None
    if value is not None:
        seen = doors.look_at(milvus.uri, default_port=_PORT)
        message = message if takes_connections(seen) else f"no Milvus answers at {milvus.uri}: {seen}"
        hint = "" if seen.is_grpc else _instead(milvus.uri, doors)
        hint = hint or error.hint
    findings.fail("milvus.connect", named, message, hint, exit_code=error.exit_code, value=value)


def _instead(uri: str, doors: Doors) -> str:
    """Another address where gRPC answers: the usual port of the host, or what is written as a store's."""
    address = urlsplit(uri)
    usual = f"{address.scheme}://{address.hostname}:{_PORT}"
    for other in (usual, *doors.endpoints):
        if other != uri and (seen := doors.look_at(other, default_port=_PORT)).is_grpc:
            return f"{seen}: is it {other}?"
    return ""


def _is_supported(part: Part, client: MilvusReader, findings: Findings) -> bool:
    unsupported = unsupported_source if part is Part.SOURCE else unsupported_target
    if reason := unsupported(client.version()):
        hint = "see the versions that the README lists"
        findings.fail("milvus.version", f"{part}.milvus.uri", reason, hint, exit_code=PlanError.exit_code)
    return not reason


def _can_list(field: str, client: MilvusReader, findings: Findings) -> bool:
    """Names are the least that a login has to be shown."""
    try:
        databases = client.list_databases()
        number = sum(len(client.list_collections(database)) for database in databases)
    except MilvusError as error:
        findings.error("milvus.list", f"{field}.username", error)
        return False
    findings.ok("milvus.list", f"it shows {_count(number, 'collection')} in {_count(len(databases), 'database')}")
    return True


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _look_at_other_ports(milvus: Milvus, field: str, findings: Findings, doors: Doors) -> None:
    """Addresses that are asked only now and then: what is there, whoever would ask."""
    for name, uri, wanted in (
        ("management_uri", milvus.management_uri, "the management port of a Milvus"),
        ("rest_uri", milvus.rest_uri, "the REST interface of a Milvus"),
    ):
        if uri is None:
            continue
        seen = doors.look_at(uri)
        if seen.service == wanted and (seen.tls is not None) == uri.startswith("https"):
            findings.ok(f"milvus.{name}", f"{seen}", f"{field}.{name}")
            continue
        what = f"{wanted} is not found at {uri}: {seen}"
        hint = "write its address, or remove it"
        if takes_connections(seen) and seen.service == wanted:
            hint = "write the other scheme: http, or https"
        findings.fail(f"milvus.{name}", f"{field}.{name}", what, hint, exit_code=MilvusError.exit_code, value=uri)
