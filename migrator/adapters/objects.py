"""Object stores through obstore: S3-compatible services and the local file system.

A store is bound to a bucket's root, and keys count from there; a local one is bound to `/`, so that its keys are
absolute paths without the leading slash.
"""

from __future__ import annotations

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore import exceptions as foreign
from obstore.store import LocalStore, S3Store

from migrator.adapters.neighbours import copier_of, has_neighbours
from migrator.errors import ObjectMissing, StoreError, StoreRefused, StoreUnavailable
from migrator.model.segment import StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from obstore.store import ClientConfig, RetryConfig

_LIST_CHUNK = 1000
_SILENCE_S = 30
"""How long a small request may hear nothing: a connection that nobody closed must not hold a heartbeat for long."""
_BODY_SILENCE_S = 300
"""The same for requests that move bodies: the service copies big ones without a word, and slow lines send for long."""
_MOST_COPIED_BYTES = 5 * 1024**3
"""S3 copies no larger object by one request."""
_STATUS = re.compile(r"status code: (\d{3})")
_S3_CODE = re.compile(r"<Code>(\w+)</Code>")
_PASSING = {"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict"}
"""S3's own codes that are worth another try whatever their status is: 400, 409."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEndpoint:
    """How to reach one bucket, secrets in clear: made when connecting, kept nowhere.

    `bucket` is None for the local file system. `plan_field` is the dotted path of the storage in the plan file, for
    hints. `patience_s` bounds the store client's own retries of one request.
    """

    plan_field: str
    bucket: str | None = None
    endpoint: str | None = None
    region: str | None = None
    virtual_host_style: bool = False
    ca_cert: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    anonymous: bool = False
    ambient: bool = False
    """Whether credentials come from where the AWS tools look: environment, web identity, instance metadata."""
    patience_s: float = 10.0


def _client_options(endpoint: StoreEndpoint, silence_s: int) -> ClientConfig:
    # A big object may take long; silence is what tells a dead connection.
    options: ClientConfig = {"connect_timeout": "5s", "read_timeout": f"{silence_s}s", "timeout": "6h"}
    if endpoint.endpoint and endpoint.endpoint.startswith("http://"):
        options["allow_http"] = True
    if endpoint.ca_cert:
        try:
            options["root_certificate"] = Path(endpoint.ca_cert).read_bytes()
        except OSError as error:
            raise StoreRefused(
                f"the certificate file {endpoint.ca_cert} cannot be read: {error.strerror}",
                hint=f"correct {endpoint.plan_field}.ca_cert",
            ) from error
    return options


def _retry(endpoint: StoreEndpoint) -> RetryConfig:
    return {
        "max_retries": 8,
        "retry_timeout": timedelta(seconds=endpoint.patience_s),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=5),
            "base": 2,
        },
    }


def _open(endpoint: StoreEndpoint, silence_s: int) -> S3Store | LocalStore:
    if endpoint.bucket is None:
        return LocalStore("/")
    wanted: dict[str, Any] = {
        "endpoint": endpoint.endpoint,
        "region": endpoint.region or "us-east-1",
        "virtual_hosted_style_request": endpoint.virtual_host_style,
        "access_key_id": endpoint.access_key_id,
        "secret_access_key": endpoint.secret_access_key,
        "session_token": endpoint.session_token,
        "skip_signature": endpoint.anonymous or None,
    }
    config = {name: value for name, value in wanted.items() if value is not None}
    with nullcontext() if endpoint.ambient else _without_ambient_settings():
        options = _client_options(endpoint, silence_s)
        return S3Store(endpoint.bucket, client_options=options, retry_config=_retry(endpoint), **config)


@contextmanager
def _without_ambient_settings() -> Iterator[None]:
    """Hide `AWS_…` variables, which obstore adds to what it is given: another side's token shall not come along."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.upper().startswith("AWS_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _sentence(error: BaseException) -> str:
    """The cause in a few words: the service's own code where it gave one, else the first line, cleared of noise."""
    text = str(error)
    code, status = _S3_CODE.search(text), _STATUS.search(text)
    if code or status:
        return " ".join(part for part in (code and code[1], status and f"(HTTP {status[1]})") if part)
    if "error sending request" in text or "Connect" in text:
        return "no connection"
    return text.split("\n", maxsplit=1)[0].split(" Debug source", maxsplit=1)[0][:200]


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except FileExistsError:
        if not target.samefile(source):
            target.unlink()
            target.hardlink_to(source)


class ObstoreStore:
    """One bucket, or the local file system: reader and writer in one."""

    def __init__(self, endpoint: StoreEndpoint) -> None:
        self._endpoint = endpoint
        self._guard = threading.Lock()
        self._neighbours: dict[str, ObstoreStore] = {}
        self._copiers: dict[str, S3Store | LocalStore] = {}
        try:
            self._store = _open(endpoint, _SILENCE_S)
            self._bodies = _open(endpoint, _BODY_SILENCE_S)
        except (ValueError, foreign.BaseError) as error:
            raise StoreRefused(
                f"the store {self.place} cannot be opened: {_sentence(error)}",
                hint=f"correct {endpoint.plan_field}.endpoint or {endpoint.plan_field}.ca_cert",
            ) from error

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        if self._endpoint.bucket is None:
            return "the local file system"
        return f"{self._endpoint.endpoint or 's3:/'}/{self._endpoint.bucket}"

    def server_path(self, key: str) -> str:
        """The key as a Milvus that uses this store names it."""
        return f"/{key}" if self._endpoint.bucket is None else key

    @property
    def most_copied_bytes(self) -> int | None:
        """What S3 copies by one request; a link has no bound."""
        return None if self._endpoint.bucket is None else _MOST_COPIED_BYTES

    # -- errors -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn foreign errors into ours; the only place that does."""
        try:
            yield
        except FileNotFoundError as error:
            raise self._missing(what, error) from error
        except (foreign.PermissionDeniedError, foreign.UnauthenticatedError, PermissionError) as error:
            raise self._refused(what, error) from error
        except foreign.GenericError as error:
            raise self._from_generic(what, error) from error
        except (foreign.BaseError, OSError, ValueError) as error:
            raise StoreRefused(f"{what} failed in {self.place}: {_sentence(error)}") from error

    def _missing(self, what: str, error: BaseException) -> StoreError:
        if "NoSuchBucket" in str(error):
            return self._no_bucket()
        return ObjectMissing(f"{what} failed in {self.place}: there is no such object")

    def _no_bucket(self) -> StoreRefused:
        return StoreRefused(
            f"the bucket {self._endpoint.bucket!r} does not exist at {self._endpoint.endpoint or 'AWS'}",
            hint=f"correct {self._endpoint.plan_field}.bucket or {self._endpoint.plan_field}.endpoint",
        )

    def _refused(self, what: str, error: BaseException) -> StoreRefused:
        return StoreRefused(
            f"{what} was refused by {self.place}: {_sentence(error)}",
            hint=f"see that {self._endpoint.plan_field}.credentials are right and may do this",
        )

    def _from_generic(self, what: str, error: BaseException) -> StoreError:
        """Obstore gives one class for most faults of a listing, so the status in the text has to tell."""
        text = str(error)
        if self._endpoint.bucket is None:
            return StoreRefused(f"{what} failed in {self.place}: {_sentence(error)}")
        status = _STATUS.search(text)
        number = int(status[1]) if status else 0
        if "NoSuchBucket" in text:
            return self._no_bucket()
        if number in {401, 403}:
            return self._refused(what, error)
        code = _S3_CODE.search(text)
        passes = number in {408, 429} or (code is not None and code[1] in _PASSING)
        if number and number < 500 and not passes:
            return StoreRefused(
                f"{what} failed in {self.place}: {_sentence(error)}",
                hint=f"see that {self._endpoint.plan_field}.endpoint is the address of an S3 service",
            )
        return StoreUnavailable(
            f"{what} got no answer from {self.place}: {_sentence(error)}",
            hint=f"correct {self._endpoint.plan_field}.endpoint, or start the service",
        )

    # -- reading ----------------------------------------------------------------------------------------------------

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below the folder `prefix`, as a stream of listing pages."""
        with self._translated(f"listing {prefix}/"):
            for page in obstore.list(self._store, prefix, chunk_size=_LIST_CHUNK):
                for entry in page:
                    yield StoredObject(entry["path"], entry["size"], entry["e_tag"])

    def list_folders(self, prefix: str) -> tuple[str, ...]:
        """The names of folders one level below `prefix`."""
        with self._translated(f"listing {prefix or 'the bucket'}"):
            found = obstore.list_with_delimiter(self._store, prefix)["common_prefixes"]
        return tuple(sorted(path.rsplit("/", maxsplit=1)[-1] for path in found))

    def find_object(self, key: str) -> StoredObject | None:
        """The object as a head request tells it, or None."""
        try:
            with self._translated(f"reading the head of {key}"):
                entry = obstore.head(self._store, key)
        except ObjectMissing:
            return None
        return StoredObject(entry["path"], entry["size"], entry["e_tag"])

    def find_beside(self, bucket: str, key: str) -> StoredObject | None:
        """The object in another bucket of the same service, or None; asked with this store's own credentials."""
        beside = self._beside(bucket)
        return None if beside is None else beside.find_object(key)

    def _beside(self, bucket: str) -> ObstoreStore | None:
        """The other bucket, as long as this one is of a service that has several."""
        if self._endpoint.bucket in {None, bucket} or not has_neighbours(self._endpoint):
            return None
        with self._guard:
            if bucket not in self._neighbours:
                self._neighbours[bucket] = ObstoreStore(replace(self._endpoint, bucket=bucket))
            return self._neighbours[bucket]

    def read(self, key: str) -> bytes:
        """A small object's bytes."""
        with self._translated(f"reading {key}"):
            return bytes(obstore.get(self._store, key).bytes())

    def stream(self, key: str, *, part_size: int) -> Iterator[bytes]:
        """The object's bytes in parts."""
        with self._translated(f"reading {key}"):
            for part in obstore.get(self._bodies, key).stream(min_chunk_size=part_size):
                yield bytes(part)

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> bool:
        """Put a small object; with `create_only` False comes back where the key is taken already."""
        with self._translated(f"writing {key}"):
            try:
                obstore.put(self._store, key, data, mode="create" if create_only else "overwrite")
            except foreign.AlreadyExistsError:
                return False
        return True

    def write_stream(self, key: str, parts: Iterable[bytes], *, multipart: bool, part_size: int) -> None:
        """Put an object of any size, part by part.

        obstore asks for the parts from inside its event loop, where a call of obstore panics; and parts that come from
        another store are such calls. So a thread of their own fetches them.
        """
        source = iter(parts)
        with self._translated(f"writing {key}"), ThreadPoolExecutor(1) as reader:
            fetched = iter(lambda: reader.submit(next, source, None).result(), None)
            obstore.put(self._bodies, key, fetched, use_multipart=multipart, chunk_size=part_size, max_concurrency=1)

    def copy_inside(self, source_key: str, key: str) -> None:
        """Let the service copy the object; on the local file system that is a hard link.

        The link is made by hand: obstore's copy leaves `key#0` beside a key that is a link to the source already, hides
        it from its listings, and Milvus would read it.
        """
        with self._translated(f"copying {source_key}"):
            if self._endpoint.bucket is None:
                _link(Path("/", source_key), Path("/", key))
            else:
                obstore.copy(self._bodies, source_key, key)

    def copy_from(self, bucket: str, source_key: str, key: str) -> None:
        """Let the service copy an object out of another of its buckets."""
        with self._guard:
            if bucket not in self._copiers:
                self._copiers[bucket] = _open(copier_of(self._endpoint, bucket), _BODY_SILENCE_S)
            copier = self._copiers[bucket]
        with self._translated(f"copying {source_key} out of the bucket {bucket}"):
            obstore.copy(copier, source_key, key)

    def sweep(self, prefix: str) -> None:
        """Remove what writes that were killed left below the folder: on the local file system `name#<number>`."""
        if self._endpoint.bucket is None:
            for path in Path("/", prefix).rglob("*#*"):
                if path.name.rpartition("#")[2].isdigit() and path.is_file():
                    path.unlink()

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; one that is not there counts as removed."""
        for key in keys:
            try:
                with self._translated(f"deleting {key}"):
                    obstore.delete(self._store, key)
            except ObjectMissing:
                continue

    def drop_empty_folders(self, prefix: str) -> None:
        """Remove directories without a file; a bucket has none."""
        if self._endpoint.bucket is None:
            for folder, _, _ in os.walk(Path("/", prefix), topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
