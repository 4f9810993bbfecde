"""Ceph's RADOS gateway, an S3 service as people run it: one monitor, one disk in memory, one gateway, on loopback."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from migrator.lab.ports import free_block
from migrator.lab.process import spawn, stop_all
from tests.support.services.depot import HOST, NotStarted
from tests.support.services.s3 import Keys, S3Service, new_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migrator.lab.process import Process

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "ceph", "radosgw-admin", "monmaptool")
_SIZE_BYTES = 2 * 1024**3
_WITHIN_S = 90.0
_PORTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cluster:
    """A cluster that is not started yet."""

    folder: Path
    """Short: paths of Unix sockets end at 107 bytes."""
    first_port: int
    cluster_id: str
    size_bytes: int
    """Of its disk."""

    @property
    def gateway_port(self) -> int:
        return self.first_port

    @property
    def monitor(self) -> str:
        """Both addresses of the monitor, of its protocol's second version and of the first."""
        return f"[v2:{HOST}:{self.first_port + 1},v1:{HOST}:{self.first_port + 2}]"

    @property
    def configuration(self) -> Path:
        return self.folder / "ceph.conf"

    def run(self, program: str, *arguments: str) -> str:
        """Run one of Ceph's commands to its end."""
        command = [program, "--conf", str(self.configuration), *arguments]
        done = subprocess.run(  # noqa: S603 - a fixed program, no shell
            command, capture_output=True, text=True, timeout=120, check=False, env=_environment(self.folder)
        )
        if done.returncode:
            raise NotStarted(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self, program: str, *arguments: str) -> Process:
        """Start one of Ceph's servers."""
        return spawn(
            [program, "--conf", str(self.configuration), "--foreground", *arguments],
            folder=self.folder,
            environment=_environment(self.folder),
            log=self.folder / f"{program}.out",
        )


@contextmanager
def rados_gateway(name: str, *, size_bytes: int = _SIZE_BYTES) -> Iterator[S3Service]:
    """A gateway over an empty store; both pairs of keys are one user's."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: make ceph installs them, as root on Debian")
    folder = Path(tempfile.mkdtemp(prefix="rgw-", dir="/tmp"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        cluster = _Cluster(
            folder=folder, first_port=free_block(_PORTS), cluster_id=str(uuid.uuid4()), size_bytes=size_bytes
        )
        cluster.configuration.write_text(_configuration(cluster), encoding="utf-8")
        processes: list[Process] = []
        stack.callback(lambda: stop_all(processes, patience_s=0.1))  # nothing in it is of use
        keys = new_keys(), new_keys()
        _start(cluster, processes, keys)
        yield S3Service(name=name, port=cluster.gateway_port, lasting=keys[0], passing=keys[1])


def _start(cluster: _Cluster, processes: list[Process], keys: tuple[Keys, Keys]) -> None:
    for each in ("osd", "rgw"):  # the monitor makes its own
        (cluster.folder / each).mkdir()
    monitor_map = str(cluster.folder / "monmap")
    cluster.run("monmaptool", "--create", "--fsid", cluster.cluster_id, "--addv", "a", cluster.monitor, monitor_map)
    cluster.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monitor_map)
    processes.append(cluster.start("ceph-mon", "-i", "a"))
    _wait("the monitor", lambda: bool(cluster.run("ceph", "--connect-timeout", "2", "quorum_status")))
    disk = str(uuid.uuid4())
    cluster.run("ceph", "osd", "new", disk, "0")
    cluster.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
    processes.append(cluster.start("ceph-osd", "-i", "0"))
    _wait("the disk", lambda: "1 up" in cluster.run("ceph", "osd", "stat"))
    cluster.run("radosgw-admin", "user", "create", "--uid", "owner", "--display-name", "owner", *_options(keys[0]))
    cluster.run("radosgw-admin", "key", "create", "--uid", "owner", "--key-type", "s3", *_options(keys[1]))
    processes.append(cluster.start("radosgw", "-n", "client.gateway"))
    _wait("the gateway", lambda: _answers(cluster.gateway_port))


def _options(keys: Keys) -> tuple[str, ...]:
    return ("--access-key", keys.access_key_id, "--secret-key", keys.secret_access_key)


def _wait(what: str, is_there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WITHIN_S
    reason = ""
    while time.monotonic() < deadline:
        try:
            if is_there():
                return
        except (NotStarted, OSError, http.client.HTTPException, subprocess.TimeoutExpired) as error:
            reason = str(error)
        time.sleep(0.05)
    raise NotStarted(f"{what} of the cluster does not come up: {reason}")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=3)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.HTTPStatus.OK
    finally:
        connection.close()


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(folder)}


def _configuration(cluster: _Cluster) -> str:
    folder, osd_port = cluster.folder, cluster.first_port + 3
    sections: dict[str, dict[str, object]] = {
        "global": {
            "fsid": cluster.cluster_id,
            "mon_host": cluster.monitor,
            "mon_initial_members": "a",
            "public_addr": HOST,
            "cluster_addr": HOST,
            "ms_bind_ipv6": "false",
            "ms_bind_port_min": osd_port,
            "ms_bind_port_max": cluster.first_port + _PORTS - 1,
            **{f"auth_{side}_required": "none" for side in ("cluster", "service", "client")},
            # Without keys there is no secure mode, which the gateway would ask for by itself, and be refused for ever.
            **{f"ms_{side}_mode": "crc" for side in ("cluster", "service", "client")},
            **{f"ms_mon_{side}_mode": "crc" for side in ("cluster", "service", "client")},
            "run_dir": folder,
            "admin_socket": f"{folder}/$name.sock",
            "crash_dir": folder,
            "log_file": f"{folder}/$name.log",
            "mon_cluster_log_file": f"{folder}/cluster.log",
            "osd_pool_default_size": 1,
            "osd_pool_default_min_size": 1,
            "osd_pool_default_pg_num": 8,
            "osd_pool_default_pgp_num": 8,
            "osd_pool_default_pg_autoscale_mode": "off",
            "osd_crush_chooseleaf_type": 0,
        },
        "mon": {
            "mon_data": folder / "mon",
            "mon_allow_pool_size_one": "true",
            "mon_max_pg_per_osd": 1000,
            "mon_data_avail_crit": 1,
            "mon_data_avail_warn": 2,
            "paxos_propose_interval": 0.05,  # or every change of the map waits a second
            "paxos_min_wait": 0.01,
        },
        "osd": {
            "osd_data": folder / "osd",
            "osd_objectstore": "memstore",
            "memstore_device_bytes": cluster.size_bytes,
            "osd_max_object_name_len": 1024,
            "osd_class_load_list": "*",
            "osd_class_default_list": "*",
        },
        "client": {
            "rgw_data": folder / "rgw",
            "rgw_frontends": f"beast endpoint={HOST}:{cluster.gateway_port} tcp_nodelay=1",
            "rgw_enable_apis": "s3, admin",
            "rgw_thread_pool_size": 64,
            "rgw_dynamic_resharding": "false",
            **dict.fromkeys(
                ("rgw_gc_obj_min_wait", "rgw_gc_processor_period"), 10
            ),  # what is deleted frees memory soon
            "rgw_gc_processor_max_time": 10,
            "rgw_override_bucket_index_max_shards": 1,
        },
    }
    return "".join(
        f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
        for section, values in sections.items()
    )
