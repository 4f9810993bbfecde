"""One Milvus 2.3.5 standalone server: its configuration, its start, and the moment it really serves."""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import re
import shutil
import time
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from migrator.lab.errors import LabError, PortTaken, ServerDied
from migrator.lab.process import spawn
from migrator.lab.state import HOST, MILVUS_PORTS, Instance, LabState, Server
from migrator.lab.wheel import package_data, unpack_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.lab.process import Process

LOG = "log"
_PLACEHOLDER = re.compile(r"\{\{\s*(?P<name>\w+)(?:\(\w+\))?\s*(?::\s*(?P<default>[^}]*?))?\s*\}\}")
_PROBE = "migrator_lab_probe"
_PACE: dict[str, object] = {  # one collection is filled, loaded and read in five seconds instead of thirteen
    "dataCoord.segment.assignmentExpiration": 500,  # a flush waits for the end of what was assigned last
    "indexCoord.scheduler.interval": 100,
    "proxy.timeTickInterval": 100,  # strong reads wait for the next one
    "queryCoord.checkChannelInterval": 100,
    "queryCoord.checkHandoffInterval": 500,
    "queryCoord.checkIndexInterval": 1000,
    "queryCoord.checkInterval": 100,
    "queryCoord.checkSegmentInterval": 100,
    "queryCoord.distPullInterval": 100,
    "queryCoord.leaderViewUpdateInterval": 1,  # seconds, as the next
    "queryCoord.updateNextTargetInterval": 1,
    "queryNode.stats.publishInterval": 200,
}
"""How often a server looks what there is to do, in milliseconds: the defaults suit clusters that idle for months."""
_ROLES = ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")


def start_milvus(instance: Instance, lab: LabState, folder: Path) -> Process:
    """Start the server on its ports, with all it keeps in `folder`; it does not serve yet."""
    binaries = unpack_binaries(instance.version)
    _write_configuration(instance, lab, folder)
    environment = {  # from nothing: any variable named like a configuration key would change the server
        "DEPLOY_MODE": "STANDALONE",
        "ETCD_CONFIG_PATH": str(folder / "configs" / "etcd.yaml"),
        "HOME": str(folder),
        "LD_LIBRARY_PATH": str(binaries),
        "METRICS_PORT": str(instance.ports["metrics_port"]),
        "MILVUSCONF": str(folder / "configs"),
        "PATH": "/usr/bin:/bin",
    }
    command = [str(binaries / "milvus"), "run", "standalone"]
    return spawn(command, folder=folder, environment=environment, log=folder / LOG)


def wait_until_serving(instance: Instance, lab: LabState, folder: Path, *, within_s: float) -> None:
    """Return once rows can be written, loaded and read; health alone comes seconds earlier.

    After a restart, what was loaded before can be read again, too.

    Raises:
        PortTaken: It ended because one of its ports is in use.
        ServerDied: It ended for another reason; the message has the end of its log.
        LabError: It runs, and does not serve within `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    reason = "it does not answer"
    while time.monotonic() < deadline:
        require_alive(instance, folder)
        if is_healthy(instance):
            try:
                _write_and_read(instance.uri, lab)
                _read_what_was_loaded(instance.uri, lab)
            except _client_errors() as error:
                reason = str(error)
            else:
                require_alive(instance, folder)  # or it was another's server on the same port that answered
                return
        time.sleep(0.1)
    raise LabError(
        f"{instance.name} at {instance.uri} does not serve after {within_s:.0f} s: {reason}",
        hint=f"read {folder / LOG}",
    )


def require_alive(server: Server, folder: Path) -> None:
    """Do nothing while the server runs.

    Raises:
        PortTaken: It ended because one of its ports is in use.
        ServerDied: It ended for another reason.
    """
    if server.is_alive:
        return
    tail = log_tail(folder)
    kind = PortTaken if "address already in use" in tail.lower() else ServerDied
    raise kind(f"{server.name} ended at its start; the end of its log:\n{tail}", hint=f"read {folder / LOG}")


def is_healthy(instance: Instance) -> bool:
    """Tell whether the server says so itself."""
    try:
        return b"OK" in ask(instance.ports["metrics_port"], "GET", "/healthz")
    except (OSError, http.client.HTTPException):
        return False


def ask(port: int, method: str, path: str) -> bytes:
    """Return the body of one HTTP answer from a server of the lab; no proxy is ever in between.

    Raises:
        OSError: Nothing answers within five seconds.
        http.client.HTTPException: What answers is no HTTP, or the status says it failed.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status >= http.client.BAD_REQUEST:
        raise http.client.HTTPException(f"{method} {path}: {response.status} {response.reason}")
    return body


def log_tail(folder: Path, *, lines: int = 15) -> str:
    """Return the last lines of a server's log, each cut at 300 characters."""
    try:
        text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(line[:300] for line in text.splitlines()[-lines:])


@contextlib.contextmanager
def quiet_client() -> Iterator[None]:
    """Keep pymilvus from logging a traceback for every call that comes too early."""
    import pymilvus  # noqa: F401, PLC0415 - it sets its log level when imported, and is slow to import

    logger = logging.getLogger("pymilvus")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _write_and_read(uri: str, lab: LabState) -> None:
    with _connected(uri, lab) as client:
        if client.has_collection(_PROBE):  # left by an attempt that failed, or by a server that was killed
            client.drop_collection(_PROBE)
        client.create_collection(_PROBE, dimension=2, metric_type="L2", consistency_level="Strong")  # 2.2 knows it
        client.insert(_PROBE, [{"id": 1, "vector": [0.0, 1.0]}], timeout=10)
        client.query(_PROBE, ids=[1], timeout=10)
        client.drop_collection(_PROBE)


def _read_what_was_loaded(uri: str, lab: LabState) -> None:
    """Read from every collection that was loaded when the server ended: they come back last."""
    with _connected(uri, lab) as client:
        databases = client.list_databases()
    for database in databases:
        with _connected(uri, lab, database) as client:
            for collection in client.list_collections():
                if client.get_load_state(collection)["state"].name in {"Loading", "Loaded"}:
                    client.query(collection, output_fields=["count(*)"], timeout=10)


@contextlib.contextmanager
def _connected(uri: str, lab: LabState, database: str = "default") -> Iterator[Any]:
    from pymilvus import MilvusClient  # noqa: PLC0415 - slow to import

    client = MilvusClient(uri, db_name=database, timeout=10, dedicated=True, **lab.client_arguments)
    try:
        yield client
    finally:
        client.close()


def _client_errors() -> tuple[type[Exception], ...]:
    from grpc import RpcError  # noqa: PLC0415 - comes with pymilvus
    from pymilvus import MilvusException  # noqa: PLC0415 - slow to import

    return (MilvusException, RpcError)


def _write_configuration(instance: Instance, lab: LabState, folder: Path) -> None:
    configs = folder / "configs"
    for part in (configs, folder / "data", folder / "logs"):
        part.mkdir(parents=True, exist_ok=True)
    if (package_data(instance.version) / "glog.conf").exists():
        shutil.copy(package_data(instance.version) / "glog.conf", configs)
    yaml = YAML(typ="safe", pure=True)
    document = yaml.load(_filled_template(instance, folder))
    for key, value in _changes(instance, lab, folder).items():
        *parents, last = key.split(".")
        branch = document
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    yaml.dump(document, configs / "milvus.yaml")
    yaml.dump(_etcd(instance, folder), configs / "etcd.yaml")


def _filled_template(instance: Instance, folder: Path) -> io.StringIO:
    values: dict[str, object] = {
        **{name: instance.ports[name] for name in MILVUS_PORTS},
        "etcd_data_dir": folder / "data" / "etcd.data",
        "etcd_log_level": "warn",
        "etcd_log_path": folder / "logs" / "etcd.log",
        "local_storage_dir": folder / "data",
        "rocketmq_data_dir": folder / "data" / "rocksmq",  # as 2.2 calls it
        "rocksmq_data_dir": folder / "data" / "rocksmq",
        "system_log_path": '""',  # standard output alone, which is the log file
    }
    template = (package_data(instance.version) / "config.yaml.template").read_text(encoding="utf-8")
    return io.StringIO(_PLACEHOLDER.sub(lambda match: str(values.get(match["name"], match["default"])), template))


def _changes(instance: Instance, lab: LabState, folder: Path) -> dict[str, object]:
    place = lab.place_of(instance)
    storage: dict[str, object] = {"common.storageType": "local" if place is None else "minio"}
    if place is not None:
        storage |= {
            "minio.address": HOST,
            "minio.port": place.port,
            "minio.accessKeyID": place.access_key_id,
            "minio.secretAccessKey": place.secret_access_key,
            "minio.bucketName": place.bucket,
            "minio.rootPath": instance.root_path,
        }
    if instance.version.startswith("2.2."):
        storage["dataNode.segment.syncPeriod"] = 15  # how long it keeps deletes of flushed rows to itself, in seconds
    return {
        **storage,
        **_PACE,
        **_tls(lab),
        **{f"{role}.ip": HOST for role in _ROLES},  # what it registers, so that servers do not find each other
        "etcd.endpoints": f"{HOST}:{instance.ports['etcd_port']}",  # localhost may mean ::1
        "localStorage.path": str(folder / "data"),
        "common.security.authorizationEnabled": lab.settings.authorization,
        "common.session.ttl": 5,  # with the default of 30 s, a killed server blocks its successor as long
        "common.gracefulStopTimeout": 1,  # loaded collections otherwise delay the end by up to half an hour
        "dataCoord.compaction.enableAutoCompaction": lab.settings.auto_compaction,
        "rootCoord.importTaskExpiration": 120,  # a task that a killed server took with it hangs for 15 minutes else
        "log.level": "warn",
    }


def _tls(lab: LabState) -> dict[str, object]:
    tls = lab.settings.tls
    if tls is None:
        return {}
    return {
        "common.security.tlsMode": 2 if tls.is_mutual else 1,
        "tls.serverPemPath": str(tls.server_cert),
        "tls.serverKeyPath": str(tls.server_key),
        "tls.caPemPath": str(tls.ca_cert),
    }


def _etcd(instance: Instance, folder: Path) -> dict[str, object]:
    client = f"http://{HOST}:{instance.ports['etcd_port']}"
    peer = f"http://{HOST}:{instance.ports['etcd_peer_port']}"  # the default, 2380, is one for all
    return {
        "name": "default",
        "data-dir": str(folder / "data" / "etcd.data"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
    }
