"""What a lab consists of, as `lab.json` keeps it and as callers see it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from migrator.lab.process import Process
from migrator.lab.wheel import MILVUS_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

HOST = "127.0.0.1"
BUCKET = "bucket_A"
KEY = "minioadmin"  # both halves of the credentials; moto checks neither
STORE = "moto"

MILVUS_PORTS = (
    "proxy_port",
    "proxy_internal_port",
    "root_coord_port",
    "query_coord_port",
    "query_node_port",
    "index_coord_port",
    "index_node_port",
    "data_coord_port",
    "data_node_port",
    "etcd_port",
    "etcd_peer_port",
    "metrics_port",
)

StorageType = Literal["minio", "local"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabTls(_Value):
    """Certificates of a lab, PEM files all; the server's is for 127.0.0.1. With a client's, a client needs one."""

    ca_cert: Path
    server_cert: Path
    server_key: Path
    client_cert: Path | None = None
    client_key: Path | None = None

    @property
    def is_mutual(self) -> bool:
        """Whether clients prove who they are, too: Milvus's `tlsMode` 2."""
        return self.client_cert is not None

    @property
    def client_arguments(self) -> dict[str, object]:
        """What pymilvus's client takes: beside a `server_pem_path` it would not show its own certificate."""
        if not self.is_mutual:
            return {"secure": True, "server_pem_path": str(self.ca_cert)}
        return {
            "secure": True,
            "ca_pem_path": str(self.ca_cert),
            "client_pem_path": str(self.client_cert),
            "client_key_path": str(self.client_key),
        }

    @property
    def plan_file_block(self) -> dict[str, str]:
        """What stands below `tls` in a plan file."""
        mine = {"client_cert": str(self.client_cert), "client_key": str(self.client_key)} if self.is_mutual else {}
        return {"mode": "mutual" if self.is_mutual else "server", "ca_cert": str(self.ca_cert), **mine}


class Place(_Value):
    """A bucket on loopback that a Milvus server keeps its files in, and the keys it is given."""

    port: int
    bucket: str = BUCKET
    access_key_id: str = KEY
    secret_access_key: str = Field(default=KEY, repr=False)


class Settings(_Value):
    """What a lab was asked to be."""

    instances: int = 2
    authorization: bool = False
    auto_compaction: bool = True
    storage: StorageType = "minio"
    source_version: str = MILVUS_VERSION
    """Of the first server; an older one only with local storage, since its binary crashes with remote storage."""
    tls: LabTls | None = None

    places: tuple[Place | None, ...] = ()
    """One for each server, on S3 servers that are not the lab's; None is a directory. Empty: as `storage` says."""


class Server(_Value):
    """One server process; `process` is None when the lab is down."""

    name: str
    first_port: int
    process: Process | None = None

    @property
    def pid(self) -> int:
        """The process id, 0 when the server was not started."""
        return 0 if self.process is None else self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether exactly the process this lab started still runs."""
        return self.process is not None and self.process.is_alive()

    @property
    def address(self) -> str:
        """The URL it serves at."""
        return f"http://{HOST}:{self.first_port}"


class Instance(Server):
    """A Milvus server."""

    cluster: str
    """Its name in `clusters.yaml`."""

    root_path: str
    """Its prefix in the bucket; with local storage, the absolute path of its directory."""

    version: str = MILVUS_VERSION
    has_tls: bool = False

    @property
    def key_variables(self) -> tuple[str, str]:
        """The variables with its own keys, where its place is not the one of all."""
        letter = self.cluster.upper()
        return f"S3_ACCESS_KEY_ID_{letter}", f"S3_SECRET_ACCESS_KEY_{letter}"

    @property
    def uri(self) -> str:
        """What clients connect to, for gRPC and REST."""
        return self.address.replace("http:", "https:") if self.has_tls else self.address

    @property
    def management_uri(self) -> str:
        """Where `/healthz` and the metrics are."""
        return f"http://{HOST}:{self.ports['metrics_port']}"

    @property
    def ports(self) -> dict[str, int]:
        """Its ports by the names the wheel's template gives them."""
        return {name: self.first_port + offset for offset, name in enumerate(MILVUS_PORTS)}


class LabState(_Value):
    """A lab: its settings, its Milvus servers, and its S3 server, if the storage is there."""

    settings: Settings
    instances: tuple[Instance, ...] = ()
    store: Server | None = None

    @property
    def servers(self) -> tuple[Server, ...]:
        """All servers in the order in which they are started: the store first."""
        return (*(() if self.store is None else (self.store,)), *self.instances)

    @property
    def s3_endpoint(self) -> str:
        """The URL of the S3 server, empty with local storage."""
        return "" if self.store is None else self.store.address

    @property
    def bucket(self) -> str:
        """The bucket all instances share."""
        return BUCKET

    def place_of(self, instance: Instance) -> Place | None:
        """Where a Milvus server keeps its files; None is its own directory."""
        if self.settings.places:
            return self.settings.places[ord(instance.cluster) - ord("a")]
        return None if self.store is None else Place(port=self.store.first_port)

    @property
    def access_key_id(self) -> str:
        """One half of the S3 credentials."""
        return KEY

    @property
    def secret_access_key(self) -> str:
        """The other half; no secret, the S3 server accepts anything."""
        return KEY

    @property
    def token(self) -> str:
        """What a Milvus client logs in with, empty without authorization."""
        return "root:Milvus" if self.settings.authorization else ""

    @property
    def client_arguments(self) -> dict[str, Any]:
        """What pymilvus's client needs besides the address: a login, certificates."""
        tls = self.settings.tls
        return {"token": self.token, **(tls.client_arguments if tls else {})}

    @property
    def environment(self) -> dict[str, str]:
        """The variables that `clusters.yaml` refers to."""
        variables = {"S3_ACCESS_KEY_ID": self.access_key_id, "S3_SECRET_ACCESS_KEY": self.secret_access_key}
        if self.settings.places:
            variables = {name: key for instance in self.instances for name, key in self._own_keys(instance)}
        return variables | ({"MILVUS_PASSWORD": self.token.partition(":")[2]} if self.token else {})

    def _own_keys(self, instance: Instance) -> Iterable[tuple[str, str]]:
        place = self.place_of(instance)
        if place is None:
            return ()
        return zip(instance.key_variables, (place.access_key_id, place.secret_access_key), strict=True)

    def with_server(self, server: Server) -> LabState:
        """Return this state with `server` in the place of the one of its name."""
        if not isinstance(server, Instance):
            return self.model_copy(update={"store": server})
        instances = tuple(server if old.name == server.name else old for old in self.instances)
        return self.model_copy(update={"instances": instances})
