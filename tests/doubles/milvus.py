"""A Milvus of any version from 2.4 on, as a process: `python -m tests.doubles --version 2.5.20 --bucket …`.

It prints one line of JSON with its ports, and serves until it is told to stop: gRPC and REST on one port, management
and control on two more.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import grpc

from tests.doubles import grpc_access, grpc_meta, grpc_rows, grpc_segments, grpc_snapshots
from tests.doubles.bucket import Bucket
from tests.doubles.calls import Calls, Service
from tests.doubles.control import Control, PlainServer, management
from tests.doubles.faults import Faults
from tests.doubles.flushing import Flushing
from tests.doubles.front import Front
from tests.doubles.jobs import Jobs
from tests.doubles.rest import Rest, RestServer
from tests.doubles.rules import Rules
from tests.doubles.state import Cluster, load_or, save

_SERVICES: tuple[type[Service], ...] = (
    grpc_meta.Databases,
    grpc_meta.Collections,
    grpc_meta.Indexes,
    grpc_rows.Rows,
    grpc_segments.Flushes,
    grpc_segments.Segments,
    grpc_segments.Imports,
    grpc_access.Users,
    grpc_snapshots.Snapshots,
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--root-path", required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--access-key", default="key")
    parser.add_argument("--secret-key", default="secret")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--management-port", type=int, default=0)
    parser.add_argument("--login", action="store_true", help="root, with the password Milvus")
    parser.add_argument("--state", type=Path, help="a file to begin with, written at the end and meanwhile")
    parser.add_argument("--settings", type=json.loads, default={}, help="of state.Settings, as JSON")
    parser.add_argument("--until-stdin-closes", action="store_true")
    return parser.parse_args()


class Double:
    """All parts of one, put together."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Make them; nothing listens yet."""
        version = options.version.replace(".x", ".1")  # the newest of a line; 3.0.0 alone has no exports (G.1)
        self._file: Path | None = options.state
        cluster = Cluster(version, options.bucket, options.root_path)
        if self._file is not None:
            cluster = load_or(self._file, cluster)
        cluster.version = version
        for name, value in options.settings.items():
            setattr(cluster.settings, name, value)
        rules = Rules(version)
        self._bucket = bucket = Bucket(
            options.bucket, options.endpoint, access_key=options.access_key, secret_key=options.secret_key
        )
        faults = Faults()
        self.cluster, self._jobs = cluster, Jobs(cluster, rules, bucket)
        self._flushing = Flushing(cluster, rules, bucket)
        services = [each(cluster, rules, bucket, self._flushing, self._jobs) for each in _SERVICES]
        self._snapshots = services[-1]
        self._grpc = grpc.server(ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", -1)])
        self._grpc.add_generic_rpc_handlers((Calls(services, faults, needs_login=options.login),))
        more = grpc_snapshots.rest_routes(self._snapshots) if rules.has("auto_commit") else {}
        self._rest = RestServer(Rest(cluster, rules, self._jobs, faults, options.login, more))
        grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        http_port = self._rest.server_address[1]
        self.front = Front(grpc_port=grpc_port, http_port=int(http_port), port=options.port)
        self.management = PlainServer(management(cluster, rules), options.management_port)
        control = Control(cluster, self._jobs, self._flushing, faults, self.front)
        self.control = PlainServer(control.routes(), options.control_port)
        self._ends = threading.Event()

    def start(self) -> None:
        """Listen everywhere."""
        threading.Thread(target=self._bucket.open, daemon=True).start()
        self._grpc.start()
        threading.Thread(target=self._rest.serve_forever, daemon=True).start()
        self.management.start()
        self.control.start()
        self.front.start()

    def ports(self) -> dict[str, int | str]:
        """What the first line of output tells."""
        return {
            "version": self.cluster.version,
            "port": self.front.port,
            "management_port": int(self.management.server_address[1]),
            "control_port": int(self.control.server_address[1]),
            "pid": os.getpid(),
        }

    def stop(self, *_: object) -> None:
        """Let `run` come to its end."""
        self._ends.set()

    def run(self) -> None:
        """Move jobs and flushes on until told to stop."""
        saved_at = time.monotonic()
        while not self._ends.wait(0.02):
            for tick in (self._flushing.tick, self._jobs.tick, self._snapshots.tick):
                try:
                    tick()
                except Exception:  # noqa: BLE001 - a bug of the double shall be seen, and not end it
                    traceback.print_exc()
            if self._file is not None and time.monotonic() > saved_at + 1:
                save(self.cluster, self._file)
                saved_at = time.monotonic()
        if self._file is not None:
            save(self.cluster, self._file)


def main() -> None:
    """Serve one double."""
    options = _arguments()
    double = Double(options)
    double.start()
    signal.signal(signal.SIGTERM, double.stop)
    signal.signal(signal.SIGINT, double.stop)
    print(json.dumps(double.ports()), flush=True)  # noqa: T201 - that line is how it is found
    if options.until_stdin_closes:
        threading.Thread(target=_wait_for_stdin, args=(double,), daemon=True).start()
    double.run()
    os._exit(0)  # threads of the servers are no reason to stay


def _wait_for_stdin(double: Double) -> None:
    with suppress(OSError):
        sys.stdin.read()
    double.stop()
