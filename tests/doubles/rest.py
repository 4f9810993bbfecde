"""REST v2 (E.3, C.2): paths, envelopes, and types as strict as the server's own decoder."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.doubles.calls import may, user_of
from tests.doubles.jobs import Jobs, Request
from tests.doubles.reading import text_of
from tests.doubles.state import Collection, Job, Refusal, Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doubles.faults import Faults
    from tests.doubles.rules import Rules
    from tests.doubles.state import Cluster

_PREFIX = "/v2/vectordb/"
_WRONG_FORMAT, _MISSING, _NO_LOGIN, _TIMEOUT = 1801, 1802, 1800, 10_001
Plain = dict[str, Any]


@dataclass
class Rest:
    """The routes of one version."""

    cluster: Cluster
    rules: Rules
    jobs: Jobs
    faults: Faults
    needs_login: bool
    more: dict[str, Callable[[Plain, str], Plain]] = field(default_factory=dict)  # 3.0's snapshots

    def routes(self) -> dict[str, Callable[[Plain, str], Plain]]:
        """What the version serves; anything else is HTTP 404."""
        found: dict[str, Callable[[Plain, str], Plain]] = {
            "jobs/import/create": self._create,
            "jobs/import/get_progress": self._describe,
            "jobs/import/list": self._list,
        }
        if self.rules.has("describe_job"):
            found["jobs/import/describe"] = self._describe
        if self.rules.has("auto_commit"):
            found |= {"jobs/import/commit": self._commit, "jobs/import/abort": self._abort}
        if self.rules.has("segments_describe"):
            found["segments/describe"] = self._segments
        return found | self.more

    def user(self, authorization: str) -> str:
        """Who calls: E.3, `Bearer user:password`.

        Raises:
            Refusal: Nobody that is known.
        """
        if not self.needs_login:
            return "root"
        user = user_of(self.cluster.access, authorization.removeprefix("Bearer "))
        if user is None or not authorization.startswith("Bearer "):
            raise Refusal("user hasn't authenticated", code=_NO_LOGIN)
        return user

    def _require(self, user: str, database: str, collection: str) -> None:
        """E.6: the privilege Import of that collection."""
        if not may(self.cluster.access, user, "Import", database, collection):
            raise Denied(f"PrivilegeImport: permission deny to {user}")

    # -- import jobs

    def _create(self, body: Plain, user: str) -> Plain:
        database = _text(body, "dbName") or "default"
        name = _required(body, "collectionName")
        self._require(user, database, name)
        files = _get(body, "files")
        if files is None:
            raise _missing("files")
        if not isinstance(files, list) or not all(isinstance(entry, list | None) for entry in files):
            raise _wrong("files", "[][]string", files)
        options = _get(body, "options") or {}
        if not isinstance(options, dict):
            raise _wrong("options", "map[string]string", options)
        for value in [path for entry in files for path in entry or []]:
            if not isinstance(value, str):
                raise _wrong("files", "string", value)
        for value in options.values():
            if not isinstance(value, str):  # option values are strings
                raise _wrong("options", "string", value)
        asked = Request(database, name, _text(body, "partitionName"), [list(entry or []) for entry in files], options)
        job = self.jobs.create(asked, exists_in_s=self.cluster.settings.wal_delay_s)
        return {"jobId": str(job.id)}

    def _describe(self, body: Plain, user: str) -> Plain:
        job = self._job(body, user)
        ended = _moment(job.completed_at)
        told: Plain = {
            "jobId": str(job.id),
            "collectionName": job.collection_name,
            "state": self.jobs.shown(job),
            "progress": job.progress,
            "completeTime": ended,
            "importedRows": sum(entry.imported for entry in job.files),
            "totalRows": sum(entry.rows for entry in job.files),
            "fileSize": sum(entry.size_bytes for entry in job.files),
            "details": self._details(job, ended),
        }
        if self.rules.has("create_time"):
            told["createTime"] = _moment(job.created_at)
        if job.reason:
            told["reason"] = job.reason
        return told

    def _details(self, job: Job, ended: str) -> list[Plain]:
        """Empty until there are tasks; options are not echoed."""
        if not job.has_details:
            return []
        why = {"reason": job.reason} if job.reason else {}
        return [
            {
                "fileName": text_of(entry),
                "fileSize": entry.size_bytes,
                "progress": job.progress,
                "completeTime": ended,
                "state": self.jobs.shown(job),
                "importedRows": entry.imported,
                "totalRows": entry.rows,
                **why,
            }
            for entry in job.files
        ]

    def _list(self, body: Plain, user: str) -> Plain:
        database = _text(body, "dbName") or "default"
        found = self.jobs.all(database, _text(body, "collectionName"))
        return {
            "records": [
                {
                    "jobId": str(job.id),
                    "collectionName": job.collection_name,
                    "state": self.jobs.shown(job),
                    "progress": job.progress,
                    **({"reason": job.reason} if job.reason else {}),
                }
                for job in found
                if may(self.cluster.access, user, "Import", database, job.collection_name)  # left out silently
            ]
        }

    def _commit(self, body: Plain, user: str) -> Plain:
        self.jobs.commit(self._job(body, user).id)
        return {}

    def _abort(self, body: Plain, user: str) -> Plain:
        self.jobs.abort(self._job(body, user).id)
        return {}

    def _job(self, body: Plain, user: str) -> Job:
        text = _required(body, "jobId")
        if not text.isdigit():
            raise Refusal(f'parse job id {text} failed: strconv.ParseInt: parsing "{text}": invalid syntax', code=2100)
        job = self.jobs.get(int(text))
        self._require(user, job.database, job.collection_name)
        return job

    # -- segments

    def _segments(self, body: Plain, _: str) -> Plain:
        """C.2: no collection privilege is checked."""
        collection_id = _get(body, "collectionID")
        ids = _get(body, "segmentIDs")
        if not _is_int(collection_id):
            raise _wrong("collectionID", "int64", collection_id)
        if not isinstance(ids, list) or not all(map(_is_int, ids)):
            raise _wrong("segmentIDs", "[]int64", ids)
        collection = self.cluster.collection_by_id(int(collection_id))
        if collection is None:
            raise Refusal(f"collection not found[collection={collection_id}]", code=100)
        for number in ids:
            if number not in collection.segments:
                raise Refusal(f"segment not found[segment={number}]", code=600)
        return {"segmentInfos": [_segment(collection, collection.segments[number]) for number in ids]}


class Denied(Refusal):
    """A privilege is missing: HTTP 403."""


def _segment(collection: Collection, segment: Segment) -> Plain:
    return {
        "segmentID": segment.id,
        "collectionID": collection.id,
        "partitionID": segment.partition_id,
        "vChannel": segment.vchannel,
        "numRows": segment.rows,
        "state": segment.state,
        "level": segment.level,
        "isSorted": segment.is_sorted,
        "insertLogs": [{"fieldID": number, "logIDs": list(ids)} for number, ids in segment.insert_logs.items()],
        "deltaLogs": [{"fieldID": 0, "logIDs": list(segment.delta_logs)}],
        "statsLogs": [],
    }


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _get(body: Plain, name: str) -> Any:  # noqa: ANN401 - of any shape
    """A member whatever the case of its letters, as Go's decoder finds it."""
    return next((value for key, value in body.items() if key.lower() == name.lower()), None)


def _text(body: Plain, name: str) -> str:
    value = _get(body, name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(name, "string", value)
    return value


def _required(body: Plain, name: str) -> str:
    value = _text(body, name)
    if not value:
        raise _missing(name)
    return value


def _missing(name: str) -> Refusal:
    return Refusal(f"missing required parameters, error: Key: '{name}' Error: required", code=_MISSING)


def _wrong(name: str, kind: str, value: object) -> Refusal:
    told = f"cannot unmarshal {json.dumps(value)} into Go struct field .{name} of type {kind}"
    return Refusal(f"can only accept json format request, error: json: {told}", code=_WRONG_FORMAT)


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) if at else ""


# -- HTTP -------------------------------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RestServer

    def do_POST(self) -> None:
        """Answer one call."""
        rest = self.server.rest
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = self.path.removeprefix(_PREFIX)
        route = rest.routes().get(name) if self.path.startswith(_PREFIX) else None
        rest.faults.note(name, content.decode("utf-8", "replace"), dict(self.headers))
        if route is None:
            self._send(404, b"404 page not found", "text/plain")
        elif not self._misbehaves(name):
            self._take_time(name, lambda: self._carried_out(route, content))

    def do_GET(self) -> None:
        """Everything here is a POST."""
        self._send(404, b"404 page not found", "text/plain")

    def _misbehaves(self, name: str) -> bool:
        faults = self.server.rest.faults
        if faults.take(name, "429"):
            self._send(429, b'{"code": 8, "message": "rate limit exceeded"}')
        elif faults.take(name, "limit"):
            self._reply(8, message="request is rejected by RateLimiter middleware: rate limit exceeded")
        elif fault := faults.take(name, "deny"):
            self._reply(65535, message=fault.reason or "PrivilegeImport: permission deny to user", status=403)
        elif faults.take(name, "unimplemented"):
            self._send(404, b"404 page not found", "text/plain")
        elif faults.take(name, "unavailable"):
            self._cut()
        elif fault := faults.take(name, "error"):
            self._reply(fault.code, message=fault.reason)
        else:
            return False
        return True

    def _take_time(self, name: str, work: Callable[[], tuple[int, Plain | str, int]]) -> None:
        """Carry it out, slowly if a fault says so; the reply may be a timeout all the same (E.3)."""
        faults = self.server.rest.faults
        if fault := faults.take(name, "timeout"):
            self._later(fault.delay_s, work)
            self._reply(_TIMEOUT, message="request timeout", status=408)
            return
        if fault := faults.take(name, "slow"):
            patience_s = self._patience_s()
            if fault.delay_s > patience_s:
                self._later(fault.delay_s, work)
                time.sleep(patience_s)
                self._reply(_TIMEOUT, message="request timeout", status=408)
                return
            time.sleep(fault.delay_s)
        code, told, status = work()
        if faults.take(name, "lose_reply"):
            self._cut()
        elif isinstance(told, str):
            self._reply(code, message=told, status=status)
        else:
            self._reply(code, data=told, status=status)

    def _patience_s(self) -> float:
        if not self.server.rest.rules.has("request_timeout"):
            return float("inf")
        return float(self.headers.get("Request-Timeout") or self.server.rest.cluster.settings.request_timeout_s)

    @staticmethod
    def _later(delay_s: float, work: Callable[[], object]) -> None:
        timer = threading.Timer(delay_s, work)
        timer.daemon = True
        timer.start()

    def _carried_out(self, route: Callable[[Plain, str], Plain], content: bytes) -> tuple[int, Plain | str, int]:
        rest = self.server.rest
        try:
            user = rest.user(self.headers.get("Authorization", ""))
            body = json.loads(content or b"{}")
            if not isinstance(body, dict):
                raise _wrong("", "object", body)
            data = route(body, user)
        except json.JSONDecodeError as error:
            return _WRONG_FORMAT, f"can only accept json format request, error: {error}", 200
        except Denied as refusal:
            return refusal.code, refusal.reason, 403
        except Refusal as refusal:
            return refusal.code, refusal.reason, 401 if refusal.code == _NO_LOGIN else 200
        return (200 if rest.rules.has("answers_200") else 0), data, 200

    def _reply(self, code: int, *, data: Plain | None = None, message: str = "", status: int = 200) -> None:
        told: Plain = {"code": code, "message": message} if data is None else {"code": code, "data": data}
        self._send(status, json.dumps(told).encode())

    def _send(self, status: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(2)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class RestServer(ThreadingHTTPServer):
    """HTTP/1.1 on a port of loopback."""

    daemon_threads = True

    def __init__(self, rest: Rest) -> None:
        """Listen on a free port."""
        self.rest = rest
        super().__init__(("127.0.0.1", 0), _Handler)
