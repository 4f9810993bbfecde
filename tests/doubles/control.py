"""Two more ports: the management of a Milvus (C.3), and the control of the double, which no Milvus has."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.doubles import queries, values
from tests.doubles.adopting import adopt
from tests.doubles.compacting import collect_garbage, compact, compact_l0
from tests.doubles.faults import Fault
from tests.doubles.flushing import leave_orphan
from tests.doubles.state import Refusal, Settings

if TYPE_CHECKING:
    from tests.doubles.faults import Faults
    from tests.doubles.flushing import Flushing
    from tests.doubles.front import Front
    from tests.doubles.jobs import Jobs
    from tests.doubles.rules import Rules
    from tests.doubles.state import Cluster

Plain = dict[str, Any]
Route = Callable[[Plain], Any]


class PlainServer(ThreadingHTTPServer):
    """JSON over HTTP: a path and its parameters or body go in, a value comes out; KeyError is 404."""

    daemon_threads = True

    def __init__(self, routes: dict[str, Route], port: int = 0) -> None:
        """Listen on a port of loopback."""
        self.routes = routes
        super().__init__(("127.0.0.1", port), _Handler)

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlainServer

    def do_GET(self) -> None:
        """Parameters come with the address."""
        parts = urlsplit(self.path)
        self._answer(parts.path, {key: value[-1] for key, value in parse_qs(parts.query).items()})

    def do_POST(self) -> None:
        """Parameters come in the body."""
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(self.path, json.loads(content or b"{}"))

    def _answer(self, path: str, told: Plain) -> None:
        route = self.server.routes.get(path)
        if route is None:
            self._send(404, {"msg": "404 page not found"})
            return
        try:
            self._send(200, route(told))
        except (Refusal, KeyError, TypeError, ValueError) as error:
            self._send(400, {"msg": repr(error)})

    def _send(self, status: int, told: Any) -> None:  # noqa: ANN401 - of any shape
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def management(cluster: Cluster, rules: Rules) -> dict[str, Route]:
    """C.3: the garbage collection is paused for a while; from 2.6.8 on with a ticket."""
    path = "/management/datacoord/garbage_collection"
    tickets: set[str] = set()

    def pause(told: Plain) -> Plain:
        cluster.gc_paused_until = time.time() + int(told["pause_seconds"])
        if not rules.has("gc_ticket"):
            return {"msg": "OK"}
        tickets.add(ticket := str(cluster.clock.next()))
        return {"msg": "OK", "ticket": ticket}

    def resume(told: Plain) -> Plain:
        if rules.has("gc_ticket") and told.get("ticket", "") not in tickets | {""}:
            raise ValueError("ticket not found")
        cluster.gc_paused_until = 0.0
        return {"msg": "OK"}

    return {f"{path}/pause": pause, f"{path}/resume": resume, "/healthz": lambda _: "OK"}


class Control:
    """What a test may ask, and change."""

    def __init__(self, cluster: Cluster, jobs: Jobs, flushing: Flushing, faults: Faults, front: Front) -> None:
        """Take the parts of a double."""
        self._cluster, self._jobs, self._flushing = cluster, jobs, flushing
        self._faults, self._front = faults, front

    def routes(self) -> dict[str, Route]:
        """By path."""
        return {
            "/faults": self._add_fault,
            "/behave": self._behave,
            "/fail_next_job": self._fail_next_job,
            "/forget_jobs": self._forget_jobs,
            "/settings": self._change_settings,
            "/restart": self._restart,
            "/calls": lambda _: self._faults.calls,
            "/sins": lambda _: self._cluster.sins,
            "/jobs": lambda _: [asdict(job) for job in self._cluster.jobs.values()],
            "/rows": self._rows,
            "/segments": self._segments,
            "/orphan": self._orphan,
            "/compact_l0": self._compact_l0,
            "/compact": self._compact,
            "/collect_garbage": lambda _: collect_garbage(self._flushing),
            "/adopt": self._adopt,
            "/paused": lambda _: self._cluster.gc_paused_until > time.time(),
        }

    def _add_fault(self, told: Plain) -> Plain:
        self._faults.add(Fault(**told))
        return {}

    def _behave(self, _: Plain) -> Plain:
        self._faults.clear()
        return {}

    def _fail_next_job(self, told: Plain) -> Plain:
        self._jobs.fail_next.append(told["reason"])
        return {}

    def _forget_jobs(self, told: Plain) -> Plain:
        self._jobs.forget(told.get("job_id"))
        return {}

    def _change_settings(self, told: Plain) -> Plain:
        known = {each.name for each in fields(Settings)}
        for name, value in told.items():
            if name not in known:
                raise KeyError(name)
            setattr(self._cluster.settings, name, value)
        return asdict(self._cluster.settings)

    def _restart(self, told: Plain) -> Plain:
        self._front.restart(float(told.get("down_s", 0.5)))
        return {}

    def _rows(self, told: Plain) -> dict[str, list[Plain]]:
        """Every visible row by partition, loaded or not: JSON as text, vectors in hex; duplicates included."""
        collection = self._cluster.require_collection(told.get("database", ""), told["collection"])
        with self._cluster.lock:
            return {
                partition.name: [
                    {field.name: values.plain(field, place.value(field.fieldID)) for field in collection.schema.fields}
                    | {"RowID": place.value(0), "Timestamp": place.value(1)}
                    for place in queries.visible(collection, {partition.id})
                ]
                for partition in collection.partitions.values()
            }

    def _segments(self, told: Plain) -> list[Plain]:
        collection = self._cluster.require_collection(told.get("database", ""), told["collection"])
        return [
            {name: value for name, value in asdict(segment).items() if name not in {"columns", "deletes", "killed"}}
            | {"rows": segment.rows}
            for segment in collection.segments.values()
        ]

    def _orphan(self, told: Plain) -> str:
        collection = self._cluster.require_collection(told.get("database", ""), told["collection"])
        segment = collection.segments[told["segment_id"]]
        return leave_orphan(self._cluster, self._flushing.bucket, collection, segment, told["field_id"])

    def _compact_l0(self, told: Plain) -> Plain:
        compact_l0(self._flushing, self._cluster.require_collection(told.get("database", ""), told["collection"]))
        return {}

    def _compact(self, told: Plain) -> Plain:
        with self._cluster.lock:
            compact(self._flushing, self._cluster.require_collection(told.get("database", ""), told["collection"]))
        return {}

    def _adopt(self, told: Plain) -> Plain:
        """A collection that another server wrote under the double's root path: see `adopting`."""
        collection = adopt(
            self._cluster,
            self._flushing,
            schema=base64.b64decode(told["schema"]),
            collection_id=told["collection_id"],
            database=told.get("database", "default"),
            partitions=told["partitions"],
            shards=told.get("shards", 1),
            segment_ids=told.get("segment_ids"),
        )
        return {"collection_id": collection.id, "segments": list(collection.segments)}
