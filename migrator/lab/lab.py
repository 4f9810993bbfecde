"""A folder with real servers: started, looked at, broken and stopped."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import string
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML

from migrator.lab.errors import LabError, PortTaken
from migrator.lab.milvus_server import (
    LOG,
    ask,
    is_healthy,
    quiet_client,
    require_alive,
    start_milvus,
    wait_until_serving,
)
from migrator.lab.ports import free_block
from migrator.lab.process import Process, spawn, stop_all
from migrator.lab.state import BUCKET, HOST, MILVUS_PORTS, STORE, Instance, LabState, Server, Settings
from migrator.lab.wheel import MILVUS_VERSION, cache_folder, require_lab, unpack_binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migrator.lab.state import LabTls, Place, StorageType

_START_WITHIN_S = 180.0  # a few seconds on an idle machine; this is for one that is busy
_ATTEMPTS = 5
_S = TypeVar("_S", bound=Server)


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server as it is now: `serving`, `not answering` (alive), or `stopped`."""

    name: str
    pid: int
    address: str
    state: str


class Lab:
    """Milvus servers and one S3 server on loopback, with all they write in one folder.

    The servers outlive the process that started them. The S3 server keeps objects in memory, so nothing
    survives `down`: the next `up` starts from nothing.
    """

    def __init__(self, folder: Path | str, *, say: Callable[[str], None] = lambda _: None) -> None:
        """Address the lab in `folder`, which need not exist; `say` is told in sentences what happens."""
        self.folder = Path(folder).absolute()
        self._say = say
        self._writing = threading.Lock()

    @property
    def clusters_file(self) -> Path:
        """Named clusters for `--clusters`, written by `up`."""
        return self.folder / "clusters.yaml"

    @property
    def environment_file(self) -> Path:
        """Exports the clusters file refers to, for `source`, written by `up`."""
        return self.folder / "env.sh"

    def up(
        self,
        *,
        instances: int = 2,
        authorization: bool = False,
        auto_compaction: bool = True,
        storage: StorageType = "minio",
        source_version: str = MILVUS_VERSION,
        tls: LabTls | None = None,
        places: tuple[Place | None, ...] = (),
    ) -> LabState:
        """Start the lab, or find it running.

        Args:
            instances: Milvus servers, 1 to 26: `milvus_A`, `milvus_B`, …; clusters `a`, `b`, ….
            authorization: Clients have to log in, as root with password Milvus.
            auto_compaction: As in production; off, segments stay as they were flushed.
            storage: `minio` puts all into one bucket of an S3 server; `local` gives each its directory.
            source_version: Of the first server; the others are of the lab's own.
            tls: Certificates of all servers, and of the clients that `clusters.yaml` speaks of.
            places: One for each server, in the place of `storage`: a bucket of an S3 server that is not the lab's, or
                None for a directory of its own.

        Returns:
            The lab, every server of it serving.

        Raises:
            LabUnavailable: This machine cannot run it.
            LabError: It runs with other settings, some of its servers are dead, or a server did not start;
                then everything this call started is stopped again.
        """
        require_lab()
        if not 1 <= instances <= len(string.ascii_uppercase):
            raise LabError(f"a lab has 1 to {len(string.ascii_uppercase)} Milvus servers, not {instances}")
        if places and len(places) != instances:
            raise LabError(f"{instances} Milvus servers need a place each, and {len(places)} are given")
        wanted = Settings(
            instances=instances,
            authorization=authorization,
            auto_compaction=auto_compaction,
            storage=storage,
            source_version=source_version,
            tls=tls,
            places=places,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            state = self._find_state()
            if state is not None and any(server.is_alive for server in state.servers):
                return self._reuse(state, wanted)
            with quiet_client():
                return self._start_afresh(wanted)

    @property
    def exists(self) -> bool:
        """Whether a lab was made in the folder, running or not."""
        return self._state_file.is_file()

    def down(self) -> tuple[str, ...]:
        """Stop the processes this lab started, and no others; return the names of those that were alive.

        Raises:
            LabError: There is no lab in the folder.
        """
        self._get_state()
        with self._alone():
            state = self._get_state()
            alive = tuple(server.name for server in state.servers if server.is_alive)
            _stop(state)
            for server in state.servers:
                state = state.with_server(server.model_copy(update={"process": None}))
            self._write_state(state)
        self._say(f"stopped {', '.join(alive)}" if alive else "nothing was running")
        return alive

    def state(self) -> LabState:
        """Return what `lab.json` says.

        Raises:
            LabError: There is no lab in the folder.
        """
        return self._get_state()

    def status(self) -> tuple[ServerStatus, ...]:
        """Return every server as it is now.

        Raises:
            LabError: There is no lab in the folder.
        """
        servers = self._get_state().servers
        return tuple(ServerStatus(each.name, each.pid, each.address, _state_of(each)) for each in servers)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a server a signal, and wait for its end if that signal ends it.

        Args:
            name: `milvus_A`, …, or `moto`.
            number: SIGSTOP hangs a server without ending it, SIGCONT wakes it.

        Raises:
            LabError: No such server, it was dead already, or it ignored the signal for 30 s.
        """
        server = self._get_server(name)
        if server.process is None or not server.is_alive:
            raise LabError(f"{name} is not running", hint="migrator lab status")
        server.process.signal(number)
        ending = number in {signal.SIGKILL, signal.SIGTERM, signal.SIGINT}
        if ending and not server.process.has_ended(within_s=30):
            raise LabError(f"{name} goes on 30 s after {number.name}")

    def start(self, name: str) -> Server:
        """Start a server that ended, on its own ports; return it serving.

        A Milvus server has its data again; moto comes back with an empty bucket.

        Raises:
            LabError: No such server, or it runs.
            ServerDied: It ended again; the message has the end of its log.
        """
        self._get_state()
        with self._alone():
            server = self._get_server(name)
            if server.is_alive:
                raise LabError(f"{name} is running already, as pid {server.pid}")
            with quiet_client():
                return self._bring_up(server, self._get_state())

    # -- up

    def _reuse(self, state: LabState, wanted: Settings) -> LabState:
        dead = [server.name for server in state.servers if not server.is_alive]
        if dead:
            raise LabError(
                f"the lab in {self.folder} is partly dead: {', '.join(dead)}",
                hint=f"migrator lab down --folder {self.folder}, then migrator lab up",
            )
        if state.settings != wanted:
            raise LabError(
                f"the lab in {self.folder} runs with other settings: {_difference(state.settings, wanted)}",
                hint=f"migrator lab down --folder {self.folder}, then migrator lab up",
            )
        self._say(f"the lab in {self.folder} is up already")
        return state

    def _start_afresh(self, settings: Settings) -> LabState:
        self._wipe()
        state = LabState(settings=settings)
        if settings.storage == "minio" and not settings.places:
            state = state.model_copy(update={"store": Server(name=STORE, first_port=0)})
        state = state.model_copy(
            update={"instances": tuple(self._instance(letter, settings) for letter in _letters(settings))}
        )
        self._write_state(state)
        try:
            self._start_all()
        except BaseException:
            self._stop_what_started()
            raise
        state = self._get_state()
        self._write_clusters(state)
        return state

    def _start_all(self) -> None:
        state = self._get_state()
        for version in sorted({instance.version for instance in state.instances}):
            if not cache_folder(version).is_dir():
                self._say(f"unpacking the server into {cache_folder(version)}, once")
            unpack_binaries(version)
        for server in state.servers[: len(state.servers) - len(state.instances)]:
            self._bring_up(server, state)
        state = self._get_state()
        with ThreadPoolExecutor(max_workers=len(state.instances)) as pool:
            try:
                list(pool.map(lambda instance: self._bring_up(instance, state), state.instances))
            except BaseException:
                self._stop_what_started()  # so that the threads that still wait find their servers dead
                raise

    def _instance(self, letter: str, settings: Settings) -> Instance:
        name = f"milvus_{letter}"
        local = str(self._folder_of(name) / "data")
        has_bucket = settings.storage == "minio"
        if settings.places:
            has_bucket = settings.places[string.ascii_uppercase.index(letter)] is not None
        root_path = f"files_{letter}" if has_bucket else local
        version = settings.source_version if letter == string.ascii_uppercase[0] else MILVUS_VERSION
        return Instance(
            name=name,
            first_port=0,
            cluster=letter.lower(),
            root_path=root_path,
            version=version,
            has_tls=settings.tls is not None,
        )

    def _bring_up(self, server: Server, lab: LabState) -> Server:
        """Start a server until it serves; a new one gets ports, and others where those were taken."""
        is_new = server.first_port == 0
        for attempt in range(1, _ATTEMPTS + 1):
            started_at = time.monotonic()
            if is_new:
                server = server.model_copy(update={"first_port": free_block(len(MILVUS_PORTS))})
            try:
                server = self._start_once(server, lab)
            except PortTaken:
                if not is_new or attempt == _ATTEMPTS:
                    raise
                shutil.rmtree(self._folder_of(server.name))
            else:
                self._say(f"{server.name} serves at {server.address} after {time.monotonic() - started_at:.1f} s")
                break
        return server

    def _start_once(self, server: Server, lab: LabState) -> Server:
        folder = self._folder_of(server.name)
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(server, Instance):
            server = self._record(server, start_milvus(server, lab, folder))
            wait_until_serving(server, lab, folder, within_s=_START_WITHIN_S)
        else:
            server = self._record(server, _start_moto(server, folder))
            _wait_for_bucket(server, folder, within_s=_START_WITHIN_S)
        return server

    def _record(self, server: _S, process: Process) -> _S:
        server = server.model_copy(update={"process": process})
        with self._writing:
            self._write_state(self._get_state().with_server(server))
        return server

    def _stop_what_started(self) -> None:
        with self._writing:
            _stop(self._get_state())

    def _wipe(self) -> None:
        servers = self.folder / "servers"
        if not servers.exists():
            return
        if self._find_state() is None:
            raise LabError(
                f"{servers} is there, and no lab.json beside it: it is not a lab's",
                hint="choose another --folder",
            )
        self._say("data of the last time is wiped: its objects were in memory, and ended with the S3 server")
        shutil.rmtree(servers)

    # -- files

    def _folder_of(self, name: str) -> Path:
        return self.folder / "servers" / name

    @property
    def _state_file(self) -> Path:
        return self.folder / "lab.json"

    def _find_state(self) -> LabState | None:
        try:
            return LabState.model_validate_json(self._state_file.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise LabError(
                f"{self._state_file} is not readable as a lab: {error.error_count()} errors",
                hint="it may be of another version: stop its servers, and remove the folder",
            ) from error

    def _get_state(self) -> LabState:
        state = self._find_state()
        if state is None:
            raise LabError(f"there is no lab in {self.folder}", hint="migrator lab up")
        return state

    def _get_server(self, name: str) -> Server:
        servers = {server.name: server for server in self._get_state().servers}
        if name not in servers:
            raise LabError(f"the lab has no server {name}", hint=f"it has {', '.join(servers)}")
        return servers[name]

    def _write_state(self, state: LabState) -> None:
        _replace(self._state_file, state.model_dump_json(indent=2) + "\n")

    def _write_clusters(self, state: LabState) -> None:
        yaml = YAML()
        yaml.default_flow_style = False
        with self.clusters_file.open("w", encoding="utf-8") as file:
            yaml.dump({each.cluster: _cluster(each, state) for each in state.instances}, file)
        lines = [f"export {name}={value}\n" for name, value in state.environment.items()]
        _replace(self.environment_file, "# for loopback servers only: these open nothing else\n" + "".join(lines))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from changing this lab; its folder is there."""
        import fcntl  # noqa: PLC0415 - not there on Windows, where `up` says so before it comes here

        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("another command works on this lab; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _stop(lab: LabState) -> None:
    for servers in (lab.instances, lab.servers):  # Milvus cannot end well without its store
        processes = [server.process for server in servers if server.process is not None]
        stop_all(processes, patience_s=3.0)  # and its data is of no more use: no reason to wait long


def _letters(settings: Settings) -> str:
    return string.ascii_uppercase[: settings.instances]


def _difference(running: Settings, wanted: Settings) -> str:
    pairs = zip(running, wanted, strict=True)
    return ", ".join(f"{name} is {is_}, not {asked}" for (name, is_), (_, asked) in pairs if is_ != asked)


def _cluster(instance: Instance, lab: LabState) -> dict[str, object]:
    milvus: dict[str, object] = {"uri": instance.uri}
    if lab.settings.authorization:
        milvus |= {"username": lab.token.partition(":")[0], "password": {"env": "MILVUS_PASSWORD"}}
    if lab.settings.tls is not None:
        milvus |= {"tls": lab.settings.tls.plan_file_block}
    place = lab.place_of(instance)
    if place is None:
        return {"milvus": milvus, "storage": {"provider": "local", "root_path": instance.root_path}}
    key_id, secret = instance.key_variables if lab.settings.places else ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
    credentials = {"type": "static", "access_key_id": {"env": key_id}, "secret_access_key": {"env": secret}}
    storage = {
        "provider": "minio",
        "endpoint": f"http://{HOST}:{place.port}",
        "bucket": place.bucket,
        "root_path": instance.root_path,
        "credentials": credentials,
    }
    return {"milvus": milvus, "storage": storage}


def _start_moto(server: Server, folder: Path) -> Process:
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(("AWS_", "MOTO_"))}
    program = Path(__file__).with_name("s3_server.py")
    # -P: or this package's own modules would hide others of the same names
    command = [sys.executable, "-P", str(program), HOST, str(server.first_port)]
    return spawn(command, folder=folder, environment=environment, log=folder / LOG)


def _wait_for_bucket(server: Server, folder: Path, *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        require_alive(server, folder)
        try:
            ask(server.first_port, "PUT", f"/{BUCKET}")
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        else:
            require_alive(server, folder)
            return
    raise LabError(f"{server.name} does not answer at {server.address}", hint=f"read {folder / LOG}")


def _state_of(server: Server) -> str:
    if not server.is_alive:
        return "stopped"
    if isinstance(server, Instance):
        return "serving" if is_healthy(server) else "not answering"
    try:
        ask(server.first_port, "HEAD", f"/{BUCKET}")
    except (OSError, http.client.HTTPException):
        return "not answering"
    return "serving"


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(path.name + ".new")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
