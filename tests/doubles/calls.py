"""What every gRPC call goes through: version, login, faults; and how a refusal becomes a status."""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from pymilvus.grpc_gen import milvus_pb2

from tests.doubles.state import Access, Cluster, Collection, Message, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.doubles.bucket import Bucket
    from tests.doubles.faults import Faults
    from tests.doubles.flushing import Flushing
    from tests.doubles.jobs import Jobs
    from tests.doubles.rules import Rules

_METHODS = milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods_by_name
# what the privilege of a call is called, where one is needed
PRIVILEGES = {
    "Import": "Import",
    "GetImportState": "Import",
    "ListImportTasks": "Import",
    "Flush": "Flush",
    "FlushAll": "FlushAll",
    "Insert": "Insert",
    "Delete": "Delete",
    "Upsert": "Upsert",
    "Query": "Query",
    "Search": "Search",
    "CreateCollection": "CreateCollection",
    "DropCollection": "DropCollection",
    "RenameCollection": "RenameCollection",
    "CreateIndex": "CreateIndex",
    "DropIndex": "DropIndex",
    "LoadCollection": "Load",
    "LoadPartitions": "Load",
    "ReleaseCollection": "Release",
    "CreateDatabase": "CreateDatabase",
    "DropDatabase": "DropDatabase",
    "CreatePartition": "CreatePartition",
    "BackupRBAC": "BackupRBAC",
    "RestoreRBAC": "RestoreRBAC",
    "CreateSnapshot": "CreateSnapshot",
    "DropSnapshot": "DropSnapshot",
    "ExportSnapshot": "ExportSnapshot",
    "RestoreExternalSnapshot": "RestoreExternalSnapshot",
}


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and the database of the connection."""

    user: str
    metadata_database: str

    def database(self, request: Message) -> str:
        """The database a request means: its own field, else the connection's."""
        own = getattr(request, "db_name", "") or getattr(request, "dbName", "")
        return own or self.metadata_database or "default"


@dataclass
class Service:
    """Some of the calls: every method named like one takes its request and the `Call`, and returns its reply."""

    cluster: Cluster
    rules: Rules
    bucket: Bucket
    flushing: Flushing
    jobs: Jobs

    def tick(self) -> None:
        """What goes on by itself."""

    def collection(self, request: Message, call: Call) -> Collection:
        """The collection that a request names."""
        name = getattr(request, "collection_name", "") or getattr(request, "collectionName", "")
        return self.cluster.require_collection(call.database(request), name)


def hashed(password: str) -> str:
    """As H has it, the hash is what is stored and carried; one that is a hash already stays."""
    if password.startswith("$2a$"):
        return password
    return "$2a$10$" + hashlib.sha256(password.encode()).hexdigest()[:53]


def user_of(access: Access, authorization: str) -> str | None:
    """Who a `user:password` is; None if nobody."""
    user, _, password = authorization.partition(":")
    known = access.passwords.get(user)
    return user if known is not None and hashed(known) == hashed(password) else None


def may(access: Access, user: str, privilege: str, database: str, collection: str) -> bool:
    """Whether one of the user's roles was granted it."""
    if user == "root" or user in access.roles.get("admin", ()):
        return True
    roles = {role for role, users in access.roles.items() if user in users}
    return any(
        role in roles and granted in {"*", privilege} and (name in {"*", collection}) and of in {"*", database}
        for role, _, name, granted, of in access.grants
    )


class Calls(grpc.GenericRpcHandler):
    """The service `MilvusService` of one version: what it does not have is UNIMPLEMENTED."""

    def __init__(self, services: Iterable[Service], faults: Faults, *, needs_login: bool) -> None:
        """Take the methods of `services` for calls."""
        self._services = list(services)
        self._faults, self._needs_login = faults, needs_login
        self._cluster, self._rules = self._services[0].cluster, self._services[0].rules

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:  # type: ignore[type-arg]
        """Find what answers a call; None is UNIMPLEMENTED."""
        name = handler_call_details.method.rpartition("/")[2]
        method = next((getattr(each, name) for each in self._services if hasattr(each, name)), None)
        if method is None or name not in _METHODS or not self._rules.has_call(name):
            return None
        descriptor = _METHODS[name]
        reply = GetMessageClass(descriptor.output_type)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._answer(name, method, reply, request, context),
            request_deserializer=GetMessageClass(descriptor.input_type).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _answer(
        self,
        name: str,
        method: Callable[[Message, Call], Message],
        reply: Callable[[], Message],
        request: Message,
        context: grpc.ServicerContext,
    ) -> Message:
        metadata = {pair[0]: pair[1] for pair in context.invocation_metadata()}
        self._faults.note(name, MessageToDict(request, preserving_proto_field_name=True), metadata)
        call = Call(self._user(name, metadata, request, context), str(metadata.get("dbname", "")))
        self._before(name, context)
        try:
            if fault := self._faults.take(name, "error"):
                raise Refusal(fault.reason, code=fault.code)  # noqa: TRY301 - as a method would
            with self._cluster.lock:
                made = method(request, call)
        except Refusal as refusal:
            made = _refused(reply(), refusal)
        if self._faults.take(name, "lose_reply"):
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return made

    def _before(self, name: str, context: grpc.ServicerContext) -> None:
        self._faults.wait_if_slow(name)
        if fault := self._faults.take(name, "deny"):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, fault.reason or f"Privilege{name}: permission deny")
        if self._faults.take(name, "limit"):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rate limit exceeded")
        if self._faults.take(name, "unavailable"):
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection refused")
        if fault := self._faults.take(name, "unimplemented"):
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"unknown method {name}")

    def _user(
        self, name: str, metadata: dict[str, str | bytes], request: Message, context: grpc.ServicerContext
    ) -> str:
        if not self._needs_login:
            return ""
        try:
            told = base64.b64decode(str(metadata.get("authorization", ""))).decode()
        except ValueError:
            told = ""
        user = user_of(self._cluster.access, told)
        if user is None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure, please check api key is correct")
        privilege = PRIVILEGES.get(name)
        database = getattr(request, "db_name", "") or str(metadata.get("dbname", "")) or "default"
        target = getattr(request, "collection_name", "")
        if privilege and not may(self._cluster.access, user, privilege, database, target):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, f"Privilege{privilege}: permission deny to {user}")
        return user


def _refused(reply: Message, refusal: Refusal) -> Message:
    status = reply if "error_code" in reply.DESCRIPTOR.fields_by_name else reply.status
    status.code, status.error_code, status.reason = refusal.code, refusal.legacy, refusal.reason
    return reply


def seconds_ago(started_at: float) -> int:
    """Whole milliseconds since, as replies tell costs."""
    return int((time.time() - started_at) * 1000)
