"""Programs without the seconds of their imports: each is forked from a process that has done them already.

In all else they are what a shell starts: a process of its own, with its own folder, variables, pipes and end. Half of
what most commands cost a test is imports.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REPOSITORY = Path(__file__).parents[2]
_MIGRATOR = (
    "migrator.cli",
    "migrator.cli.watching",
    "migrator.workflow",
    "migrator.adapters.milvus",
    "migrator.adapters.objects",
)
_IMPORTED = {
    "migrator": _MIGRATOR,
    "tests.support.deaths": _MIGRATOR,
    "tests.doubles": ("tests.doubles.bare", "tests.doubles.milvus"),
}
WARM = frozenset(_IMPORTED)
"""The programs that can be forked."""


class Command:
    """A program under way, with what tests use of a `subprocess.Popen`; its input is open until it is closed."""

    def __init__(
        self,
        program: str,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        is_heard: bool = True,
    ) -> None:
        """Start it; if nobody is to hear its errors, they go where those of this process go."""
        (in_end, into), (out, out_end) = os.pipe(), os.pipe()
        err, err_end = os.pipe() if is_heard else (os.open(os.devnull, os.O_RDONLY), os.dup(2))
        self.stdin = os.fdopen(into, "w", encoding="utf-8")
        self.stdout, self.stderr = os.fdopen(out, encoding="utf-8"), os.fdopen(err, encoding="utf-8")
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.connect(_address(_IMPORTED[program]))
        told = {"program": program, "arguments": arguments, "folder": str(folder), "environment": dict(environment)}
        request = json.dumps(told)
        socket.send_fds(self._connection, [b"c"], [in_end, out_end, err_end])
        for end in (in_end, out_end, err_end):
            os.close(end)
        self._connection.sendall(request.encode() + b"\n")
        self._answers = self._connection.makefile("r", encoding="ascii")
        self.pid = int(self._answers.readline())
        self._is_over = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        with self._connection, self._answers:
            self.returncode = int(self._answers.readline())
        self._is_over.set()

    def poll(self) -> int | None:
        """Its exit code, if it has ended; that of a signal is negative."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended."""
        if not self._is_over.wait(timeout):
            raise subprocess.TimeoutExpired("migrator", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens if it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """The same with SIGKILL."""
        self.send_signal(signal.SIGKILL)


# -- the process that they are forked from ----------------------------------------------------------------------------


@cache
def _address(imported: tuple[str, ...]) -> str:
    """Start it, once for this process; where it takes requests."""
    address = f"\0migrator-{os.getpid()}-{time.monotonic_ns()}"
    server = subprocess.Popen(  # noqa: S603 - this program
        [sys.executable, "-m", "tests.support.warm", address[1:], *imported],
        cwd=_REPOSITORY,
        env={**os.environ, "PYTHONUTF8": "1", "GRPC_VERBOSITY": "NONE", "PYDANTIC_DISABLE_PLUGINS": "__all__"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(server.kill)
    assert server.stdout is not None
    assert server.stdout.readline()
    return address


def main(address: str, imported: Sequence[str]) -> None:
    """Import, and take requests until whoever started this is gone; this returns in none but commands that ended."""
    for name in imported:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                break
            connection.close()
        else:
            return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _keep(connection)


def _keep(connection: socket.socket) -> None:
    """Fork the command of one request, and tell of its end."""
    _, ends, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("r", encoding="utf-8") as lines:
        request = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        connection.close()
        _run(request, ends)
    for end in ends:
        os.close(end)
    connection.sendall(f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(f"{code}\n".encode())
    os._exit(0)


def _run(request: dict[str, Any], ends: list[int]) -> None:
    """Be the command, and end as it does."""
    for standard, end in enumerate(ends):
        os.dup2(end, standard)
        os.close(end)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv = [request["program"], *request["arguments"]]
    runpy.run_module(request["program"], run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    main(f"\0{sys.argv[1]}", sys.argv[2:])
