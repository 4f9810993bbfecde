"""The double of a Milvus from 2.4 on, as a process: `start_double("2.5.20", ...)`; see `tests/doubles/milvus.py`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from pymilvus import MilvusClient

from tests.support.warm import Command

if TYPE_CHECKING:
    from collections.abc import Iterator


_ROOT = Path(__file__).parents[2]
_SOON_S = 60.0


@dataclass(frozen=True, slots=True)
class Double:
    """A double that serves, and the words of its control port."""

    version: str
    port: int
    management_port: int
    control_port: int
    pid: int
    bucket: str
    root_path: str

    @property
    def uri(self) -> str:
        """For clients of gRPC, and of REST."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def client(self, **options: Any) -> Iterator[Any]:  # noqa: ANN401 - of pymilvus
        """A client of its own connection."""
        client = MilvusClient(self.uri, dedicated=True, **options)
        try:
            yield client
        finally:
            client.close()

    def rest(self, path: str, body: object, **headers: str) -> dict[str, Any]:
        """The answer of `/v2/vectordb/<path>`, whatever its status."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = httpx.post(f"{self.uri}/v2/vectordb/{path}", json=body, headers=names, timeout=_SOON_S)
        found: dict[str, Any] = reply.json() if reply.status_code != 404 else {"code": 404, "message": reply.text}
        return found

    def ask(self, path: str, **told: object) -> Any:  # noqa: ANN401 - of any shape
        """What the control port answers: `calls`, `sins`, `jobs`, `rows`, `segments`, `settings`, `orphan`, …."""
        reply = httpx.post(f"http://127.0.0.1:{self.control_port}/{path}", json=told, timeout=_SOON_S)
        if reply.is_error:
            raise AssertionError(reply.text)
        return reply.json()

    def misbehave(self, on: str, kind: str, **more: object) -> None:
        """Let the next call of that name suffer a fault: see `tests/doubles/faults.py`."""
        self.ask("faults", on=on, kind=kind, **more)

    def rows(self, collection: str, database: str = "default") -> dict[str, list[dict[str, Any]]]:
        """Every row that a query would find were all loaded, by partition; duplicates included."""
        found: dict[str, list[dict[str, Any]]] = self.ask("rows", collection=collection, database=database)
        return found

    def calls(self, name: str) -> list[Any]:
        """The requests of that name that it got, in order; of REST as they came, in text."""
        return [call["request"] for call in self.ask("calls") if call["name"] == name]


@contextmanager
def start_double(
    version: str,
    *,
    endpoint: str,
    bucket: str,
    root_path: str = "files_D",
    login: bool = False,
    state: Path | None = None,
    port: int = 0,
    access_key: str = "key",
    secret_key: str = "secret",  # noqa: S107 - of a store on loopback that checks none
    **settings: object,
) -> Iterator[Double]:
    """A double that is stopped at the end, or when the test's own process is gone.

    Args:
        version: As `2.5.20`; `3.0.x` is the newest of that line.
        endpoint: Of the store.
        bucket: In that store.
        root_path: Of the double in the bucket.
        login: Whether root has to log in with the password Milvus.
        state: A file to begin with and to leave behind.
        port: 0 for a free one.
        access_key: Of the store.
        secret_key: Of the store.
        settings: Of `tests.doubles.state.Settings`, as `flush_interval_s=0`.
    """
    command = ["--version", version, "--until-stdin-closes"]
    command += ["--bucket", bucket, "--root-path", root_path, "--endpoint", endpoint, "--port", str(port)]
    command += ["--access-key", access_key, "--secret-key", secret_key, "--settings", json.dumps(settings)]
    command += (["--login"] if login else []) + (["--state", str(state)] if state else [])
    process = Command("tests.doubles", command, _ROOT, os.environ, is_heard=False)
    try:
        told = json.loads(process.stdout.readline() or "{}")
        assert told, f"the double of {version} did not start"
        yield Double(**told, bucket=bucket, root_path=root_path)
    finally:
        _stop(process)


def _stop(process: Command) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
