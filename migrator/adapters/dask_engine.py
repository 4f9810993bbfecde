"""Texts brought to the workers of a Dask cluster.

What is sent is the name of a function and one text, so workers need this package, of the same version, and nothing else
of this machine. A text whose worker is lost is given to another one by the scheduler.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from migrator.errors import EngineRefused, EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONNECT_S = 10.0
_FIELD = "--scheduler"
_WIDTH_HOLDS_S = 1.0


class DaskTransport:
    """The workers of the scheduler at `address`; `work` is what they do with a text, `version` what they have to say.

    Connections over TLS (`tls://`) take their certificates from Dask's own configuration.
    """

    def __init__(self, address: str, work: Callable[[str], str], version: Callable[[], str]) -> None:
        self._address = address
        self._work = work
        self._version = version
        self._guard = threading.Lock()
        self._client: Any = None
        self._width = 0
        self._looked_at = 0.0
        with _translated(address):
            self._connect()

    @property
    def place(self) -> str:
        """The scheduler's address."""
        return self._address

    @property
    def width(self) -> int:
        """Threads of all workers that are there now; 0 too while nobody answers."""
        if time.monotonic() - self._looked_at >= _WIDTH_HOLDS_S:
            try:
                self._width = sum(self._client.nthreads().values())
            except Exception:  # noqa: BLE001 - of many kinds; what is lost with it is told by the futures
                self._width = 0
            self._looked_at = time.monotonic()
        return self._width

    def send(self, text: str) -> Future[str]:
        """Have a worker work at it; it comes as `EngineUnavailable` where scheduler or workers are lost."""
        with self._guard, _translated(self._address):
            if self._client.status not in {"running", "connecting"}:
                self._connect()
            sent = self._client.submit(self._work, text, key=f"migrator-{uuid4().hex}", pure=False)
        answered: Future[str] = Future()
        answered.add_done_callback(lambda done: sent.cancel() if done.cancelled() else None)
        sent.add_done_callback(lambda done: self._receive(done, answered))
        return answered

    def close(self) -> None:
        """Let go; what is under way is forgotten, and whoever does not answer any more too."""
        with suppress(OSError, TimeoutError):
            self._client.close(timeout=_CONNECT_S)

    def _receive(self, done: Any, answered: Future[str]) -> None:  # noqa: ANN401 - Dask's future
        if not answered.set_running_or_notify_cancel():
            return
        try:
            with _translated(self._address):
                answered.set_result(done.result())
        except Exception as error:  # noqa: BLE001 - to be raised where the answer is taken
            answered.set_exception(error)

    def _connect(self) -> None:
        from distributed import Client  # noqa: PLC0415 - costs a second: only when used

        _quieten()
        _require_scheduler(self._address)
        self._client = Client(self._address, timeout=_CONNECT_S, set_as_default=False, name="migrator")
        try:
            self._require_version()
        except BaseException:
            self._client.close()
            raise

    def _require_version(self) -> None:
        """See that all who are there have the same migrator; who comes later is asked with each text."""
        ours = self._version()
        try:
            found = self._client.run_on_scheduler(self._version)
            said = {"the scheduler": found, **self._client.run(self._version)}
        except ModuleNotFoundError as error:
            raise _not_the_same(self._address, f"has no {error.name}") from None
        for who, theirs in said.items():
            if theirs != ours:
                raise _not_the_same(self._address, f"has migrator {theirs} at {who}, and this is {ours}")


def _require_scheduler(address: str) -> None:
    """See that somebody there greets as Dask does: a client that fails of it tries to say goodbye for half a minute."""
    from distributed.comm import connect  # noqa: PLC0415 - see above
    from distributed.security import Security  # noqa: PLC0415 - see above

    async def greet() -> None:
        shown = Security().get_connection_args("client")
        await (await connect(address, timeout=_CONNECT_S, **shown)).close()

    try:
        asyncio.run(greet())
    except (OSError, ValueError):
        raise
    except TypeError as error:  # no certificates where the address asks for some
        raise EngineRefused(
            f"{address} ({_FIELD}) cannot be reached: {_first_line(error)}",
            hint="name the certificates in Dask's configuration (distributed.comm.tls)",
        ) from None
    except Exception:  # noqa: BLE001 - whatever comes of taking another's greeting for Dask's
        raise EngineRefused(
            f"what answers at {address} ({_FIELD}) is no Dask scheduler",
            hint="give the port of the scheduler itself, mostly 8786: its dashboard has another",
        ) from None


def _quieten() -> None:
    """Dask writes its own log onto the terminal; what matters of it comes as an error."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "distributed" and isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
    top = logging.getLogger("distributed")
    top.propagate = False
    top.addHandler(logging.NullHandler())


def _not_the_same(address: str, what: str) -> EngineRefused:
    return EngineRefused(
        f"the Dask cluster at {address} ({_FIELD}) {what}",
        hint="install migrator[dask] of this version for its scheduler and all its workers",
    )


@contextmanager
def _translated(address: str) -> Iterator[None]:
    """Dask's errors as ours."""
    try:
        from distributed.client import FutureCancelledError  # noqa: PLC0415 - see above
        from distributed.scheduler import KilledWorker  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        raise EngineRefused(
            f"{error.name} is missing, which reaches the Dask cluster at {address} ({_FIELD})",
            hint="pip install 'migrator[dask]'",
        ) from None
    try:
        yield
    except KilledWorker as error:
        raise EngineRefused(
            f"{error.allowed_failures + 1} workers of {address} were lost, one after the other, over one shard",
            hint="look at the workers' memory and logs, then run migrator apply --resume",
        ) from None
    except FutureCancelledError:
        raise EngineUnavailable(f"the scheduler at {address} has lost what was sent to it") from None
    except (OSError, TimeoutError) as error:
        raise EngineUnavailable(
            f"no Dask scheduler answers at {address} ({_FIELD}): {_first_line(error)}",
            hint="start it (dask scheduler), correct the address, or leave --engine out",
        ) from None
    except ValueError as error:  # an address of an unknown kind
        raise EngineRefused(
            f"{address} ({_FIELD}) is no address of a scheduler: {_first_line(error)}",
            hint="write it as tcp://host:8786",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
