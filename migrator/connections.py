"""Connections to the clusters and stores of a plan; secrets are resolved here, and only here.

The only place that chooses adapters: everything else works on ports.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.errors import MilvusRefused, StoreRefused
from migrator.running.refresh import Readers
from migrator.spec.secrets import resolve_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.adapters.milvus import GrpcMilvus
    from migrator.adapters.objects import ObstoreStore
    from migrator.ports.rows import DumpReader
    from migrator.spec.document import Cluster, SecretRef, Storage
    from migrator.spec.loaded import LoadedPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The open connections of a plan."""

    source: GrpcMilvus
    target: GrpcMilvus
    source_store: ObstoreStore
    target_store: ObstoreStore
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
def connect(loaded: LoadedPlan, *, patience_s: float) -> Iterator[Clients]:
    """Open both Milvus and all stores; secrets are resolved here, and only here."""
    target = loaded.target or loaded.source
    with ExitStack() as stack:
        milvus = [open_milvus(cluster, side) for cluster, side in ((loaded.source, "source"), (target, "target"))]
        for client in milvus:
            stack.callback(client.close)
        yield Clients(
            source=milvus[0],
            target=milvus[1],
            source_store=_open_store(loaded.source.storage, "source.storage", patience_s),
            target_store=_open_store(target.storage, "target.storage", patience_s),
            staging=open_staging(loaded, patience_s),
        )


def open_staging(loaded: LoadedPlan, patience_s: float) -> ObstoreStore:
    return _open_store(loaded.staging.storage, _staging_field(loaded), patience_s)


def _staging_field(loaded: LoadedPlan) -> str:
    written = loaded.positions and any(path.startswith("staging.storage") for path in loaded.positions)
    return "staging.storage" if written else "target.storage"


def dump_reader() -> DumpReader:
    from migrator.adapters.dump_rows import BinlogDumps  # noqa: PLC0415 - costs little, and is seldom used

    return BinlogDumps()


def open_milvus(cluster: Cluster, side: str) -> GrpcMilvus:
    from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint  # noqa: PLC0415 - costs a second: only when used

    milvus, tls = cluster.milvus, cluster.milvus.tls
    field = f"{side}.milvus"

    def secret(ref: SecretRef, name: str) -> str:
        return _secret(ref, f"{field}.{name}", MilvusRefused)

    token = None
    if milvus.token is not None:
        token = secret(milvus.token, "token")
    elif milvus.username is not None and milvus.password is not None:
        token = f"{milvus.username}:{secret(milvus.password, 'password')}"
    return GrpcMilvus(
        MilvusEndpoint(
            uri=milvus.uri,
            plan_field=field,
            token=token,
            ca_cert=tls.ca_cert if tls else None,
            client_cert=tls.client_cert if tls else None,
            client_key=tls.client_key if tls else None,
            server_name=tls.server_name if tls else None,
        )
    )


def _open_store(storage: Storage, field: str, patience_s: float) -> ObstoreStore:
    from migrator.adapters.objects import ObstoreStore, StoreEndpoint  # noqa: PLC0415 - see above

    keys = storage.credentials
    static = keys if keys is not None and keys.type == "static" else None

    def secret(ref: SecretRef | str | None, name: str) -> str | None:
        return None if ref is None else _secret(ref, f"{field}.credentials.{name}", StoreRefused)

    return ObstoreStore(
        StoreEndpoint(
            plan_field=field,
            bucket=storage.bucket,
            endpoint=storage.endpoint,
            region=storage.region,
            virtual_host_style=bool(storage.virtual_host_style),
            ca_cert=storage.ca_cert,
            access_key_id=secret(static.access_key_id, "access_key_id") if static else None,
            secret_access_key=secret(static.secret_access_key, "secret_access_key") if static else None,
            session_token=secret(static.session_token, "session_token") if static else None,
            anonymous=keys is not None and keys.type == "none",
            ambient=keys is None or keys.type == "default",
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
