"""Connections to the clusters and stores of a plan; secrets are resolved here, and only here.

The only place that chooses adapters: everything else works on ports.
"""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from migrator.errors import MilvusRefused, StoreRefused
from migrator.running.doors import Doors
from migrator.running.refresh import Readers
from migrator.spec.secrets import resolve_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.adapters.absent import AbsentMilvus
    from migrator.adapters.backup import BackupMilvus
    from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
    from migrator.adapters.milvus_management import ManagementPort
    from migrator.adapters.milvus_rest import RestMilvus
    from migrator.adapters.objects import ObstoreStore
    from migrator.ports.milvus import MilvusSource, MilvusTarget
    from migrator.ports.rows import DumpReader
    from migrator.spec.document import Cluster, SecretRef, Storage
    from migrator.spec.loaded import LoadedPlan

_PREFLIGHT_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The open connections of a plan."""

    source: MilvusSource
    target: MilvusTarget | None
    """None where the plan has no target, and so no `target_store`."""
    source_store: ObstoreStore
    target_store: ObstoreStore | None
    staging: ObstoreStore

    def readers(self) -> Readers:
        """The same, as what only looks."""
        return Readers(
            source=self.source,
            target=self.target,
            source_store=self.source_store,
            target_store=self.target_store,
            staging=self.staging,
        )


@contextmanager
def connect(loaded: LoadedPlan, *, patience_s: float, without_source: bool = False) -> Iterator[Clients]:
    """Open both Milvus and all stores; secrets are resolved here, and only here."""
    with ExitStack() as stack:
        source = None if without_source else stack.enter_context(closing(open_source(loaded, patience_s)))
        target = loaded.target
        yield Clients(
            source=source or cast("MilvusSource", _absent()),
            target=None if target is None else stack.enter_context(closing(open_milvus(target, "target"))),
            source_store=open_source_store(loaded, patience_s),
            target_store=open_target_store(loaded, patience_s),
            staging=open_staging(loaded, patience_s),
        )


@contextmanager
def doors(loaded: LoadedPlan) -> Iterator[Doors]:
    """What a preflight opens part by part; all that was opened is closed at the end."""
    from migrator.adapters.probe import look_at  # noqa: PLC0415 - as the others

    storages = (loaded.source_storage, *([] if loaded.target is None else [loaded.target.storage]))
    with ExitStack() as stack:
        yield Doors(
            open_source=lambda: stack.enter_context(closing(open_source(loaded, _PREFLIGHT_PATIENCE_S))),
            open_target=lambda: stack.enter_context(closing(_open_target(loaded))),
            open_store=lambda storage, field: open_store(storage, field, _PREFLIGHT_PATIENCE_S),
            find_buckets=lambda storage, field: open_store(storage, field, _PREFLIGHT_PATIENCE_S).find_buckets(),
            look_at=look_at,
            endpoints=tuple(storage.endpoint for storage in storages if storage.endpoint is not None),
        )


def _open_target(loaded: LoadedPlan) -> GrpcMilvus:
    if loaded.target is None:
        raise AssertionError("the plan has no target")
    return open_milvus(loaded.target, "target")


def open_source(loaded: LoadedPlan, patience_s: float) -> GrpcMilvus | BackupMilvus:
    """The source's server, or the backup that stands for one."""
    if loaded.source is not None:
        return open_milvus(loaded.source, "source")
    from migrator.adapters.backup import BackupMilvus  # noqa: PLC0415 - as the others: only when used

    return BackupMilvus(open_source_store(loaded, patience_s), loaded.source_prefix)


def open_source_store(loaded: LoadedPlan, patience_s: float) -> ObstoreStore:
    field = "source.storage" if loaded.source_backup is None else "source.backup.storage"
    return open_store(loaded.source_storage, field, patience_s)


def no_target() -> MilvusTarget:
    """What stands for the target in a plan that has none."""
    return cast("MilvusTarget", _absent())


def _absent() -> AbsentMilvus:
    from migrator.adapters.absent import AbsentMilvus  # noqa: PLC0415 - as the others

    return AbsentMilvus()


def open_staging(loaded: LoadedPlan, patience_s: float) -> ObstoreStore:
    return open_store(loaded.staging.storage, loaded.staging_field, patience_s)


def open_target_store(loaded: LoadedPlan, patience_s: float) -> ObstoreStore | None:
    """The store that the target imports from; None without a target."""
    return None if loaded.target is None else open_store(loaded.target.storage, "target.storage", patience_s)


def dump_reader() -> DumpReader:
    from migrator.adapters.dump_rows import BinlogDumps  # noqa: PLC0415 - costs little, and is seldom used

    return BinlogDumps()


def open_milvus(cluster: Cluster, side: str) -> GrpcMilvus:
    from migrator.adapters.milvus import GrpcMilvus  # noqa: PLC0415 - costs a second: only when used

    return GrpcMilvus(_endpoint(cluster, side), _rest_endpoint(cluster, side))


def open_rest(cluster: Cluster, side: str) -> RestMilvus:
    """Its REST interface, at `rest_uri` or else at `uri`; nothing is sent yet."""
    from migrator.adapters.milvus_rest import RestMilvus  # noqa: PLC0415 - as the others

    return RestMilvus(_rest_endpoint(cluster, side))


def open_management(cluster: Cluster, side: str) -> ManagementPort | None:
    """Its management port, None where the plan names none; nothing is sent yet."""
    from migrator.adapters.milvus_management import ManagementPort  # noqa: PLC0415 - as the others

    uri = cluster.milvus.management_uri
    return (
        None if uri is None else ManagementPort(replace(_endpoint(cluster, side), uri=uri, uri_name="management_uri"))
    )


def _rest_endpoint(cluster: Cluster, side: str) -> MilvusEndpoint:
    endpoint, uri = _endpoint(cluster, side), cluster.milvus.rest_uri
    return endpoint if uri is None else replace(endpoint, uri=uri, uri_name="rest_uri")


def _endpoint(cluster: Cluster, side: str) -> MilvusEndpoint:
    from migrator.adapters.milvus import MilvusEndpoint  # noqa: PLC0415 - see above

    milvus, tls = cluster.milvus, cluster.milvus.tls
    field = f"{side}.milvus"

    def secret(ref: SecretRef, name: str) -> str:
        return _secret(ref, f"{field}.{name}", MilvusRefused)

    token = None
    if milvus.token is not None:
        token = secret(milvus.token, "token")
    elif milvus.username is not None and milvus.password is not None:
        token = f"{milvus.username}:{secret(milvus.password, 'password')}"
    return MilvusEndpoint(
        uri=milvus.uri,
        plan_field=field,
        token=token,
        login_fields=("token",) if milvus.token is not None else ("password", "username"),
        ca_cert=tls.ca_cert if tls else None,
        client_cert=tls.client_cert if tls else None,
        client_key=tls.client_key if tls else None,
        server_name=tls.server_name if tls else None,
    )


def open_store(storage: Storage, field: str, patience_s: float) -> ObstoreStore:
    """A store by its settings, which stand at `field` of the plan file."""
    from migrator.adapters.objects import ObstoreStore, StoreEndpoint  # noqa: PLC0415 - see above

    def secret(name: str) -> str | None:
        ref: SecretRef | str | None = getattr(storage.credentials, name, None)
        return None if ref is None else _secret(ref, f"{field}.credentials.{name}", StoreRefused)

    return ObstoreStore(
        StoreEndpoint(
            plan_field=field,
            provider=storage.provider,
            bucket=storage.bucket,
            account=storage.account,
            endpoint=storage.endpoint,
            region=storage.region,
            virtual_host_style=storage.virtual_host_style,
            ca_cert=storage.ca_cert,
            credentials=storage.credentials.type if storage.credentials is not None else "none",
            access_key_id=secret("access_key_id"),
            secret_access_key=secret("secret_access_key"),
            session_token=secret("session_token"),
            account_key=secret("account_key"),
            credentials_file=getattr(storage.credentials, "credentials_file", None),
            iam_endpoint=getattr(storage.credentials, "iam_endpoint", None),
            patience_s=patience_s,
        )
    )


def _secret(ref: SecretRef | str, field: str, error: type[MilvusRefused | StoreRefused]) -> str:
    try:
        text = resolve_secret(ref)
    except LookupError as reason:
        raise error(f"{field} cannot be read: {reason.args[0]}", hint="set it, and run the command again") from None
    if not text.isprintable():
        raise error(f"{field} holds a line break or another control character", hint="put the value alone on one line")
    return text
