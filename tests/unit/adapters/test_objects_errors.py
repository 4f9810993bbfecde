"""Every way a store can say no, as an error of ours; obstore's functions are fakes, nothing is connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from obstore import exceptions as foreign

from migrator.adapters.objects import ObstoreStore, StoreEndpoint
from migrator.errors import ObjectMissing, StoreError, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

ENDPOINT = StoreEndpoint(
    plan_field="source.storage",
    bucket="bucket_A",
    endpoint="http://127.0.0.1:9",
    access_key_id="key",
    secret_access_key="hunter2",  # noqa: S106 - no secret
)
FOREIGN = [kind for kind in vars(foreign).values() if isinstance(kind, type) and issubclass(kind, Exception)]
BUILTIN = [FileNotFoundError, PermissionError, OSError, ValueError, ConnectionResetError, TimeoutError]
CALLS: dict[str, Callable[[ObstoreStore], object]] = {
    "list_objects": lambda s: list(s.list_objects("a")),
    "list_folders": lambda s: s.list_folders(""),
    "find_object": lambda s: s.find_object("a"),
    "read": lambda s: s.read("a"),
    "stream": lambda s: list(s.stream("a", part_size=1)),
    "write": lambda s: s.write("a", b""),
    "write_stream": lambda s: s.write_stream("a", [b""], multipart=False, part_size=1),
    "copy_inside": lambda s: s.copy_inside("a", "b"),
    "delete": lambda s: s.delete(["a"]),
}


@pytest.fixture
def store() -> ObstoreStore:
    return ObstoreStore(ENDPOINT)


def let_fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:  # noqa: ANN401 - whatever it is called with
        raise error

    for name in ("list", "list_with_delimiter", "head", "get", "put", "copy", "delete"):
        monkeypatch.setattr(f"obstore.{name}", fail)


@pytest.mark.parametrize("kind", [*FOREIGN, *BUILTIN], ids=lambda kind: kind.__name__)
def test_every_error_of_obstore_becomes_one_of_ours(
    monkeypatch: pytest.MonkeyPatch, store: ObstoreStore, kind: type[Exception]
) -> None:
    let_fail(monkeypatch, kind("something"))
    with pytest.raises(StoreError) as caught:
        store.read("a/b")
    assert "reading a/b" in caught.value.message
    assert "127.0.0.1:9/bucket_A" in caught.value.message


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", [foreign.GenericError, foreign.PermissionDeniedError, OSError])
def test_every_call_translates_what_it_meets(
    monkeypatch: pytest.MonkeyPatch, store: ObstoreStore, name: str, kind: type[Exception]
) -> None:
    let_fail(monkeypatch, kind("something"))
    with pytest.raises(StoreError):
        CALLS[name](store)


@pytest.mark.parametrize(
    ("error", "wanted", "said"),
    [
        (FileNotFoundError("Object at location a not found"), ObjectMissing, "there is no such object"),
        (FileNotFoundError("<Code>NoSuchBucket</Code>"), StoreRefused, "the bucket 'bucket_A' does not exist"),
        (foreign.GenericError("... <Code>NoSuchBucket</Code>"), StoreRefused, "does not exist"),
        (foreign.PermissionDeniedError("status code: 403, <Code>AccessDenied</Code>"), StoreRefused, "AccessDenied"),
        (foreign.UnauthenticatedError("status code: 401"), StoreRefused, "HTTP 401"),
        (PermissionError("denied"), StoreRefused, "refused"),
        (foreign.GenericError("status code: 403 <Code>InvalidAccessKeyId</Code>"), StoreRefused, "InvalidAccessKeyId"),
        (foreign.GenericError("status code: 400 Bad Request"), StoreRefused, "HTTP 400"),
        (foreign.GenericError("status code: 404"), StoreRefused, "HTTP 404"),
        (foreign.GenericError("status code: 429 <Code>SlowDown</Code>"), StoreUnavailable, "SlowDown"),
        (foreign.GenericError("status code: 408"), StoreUnavailable, "HTTP 408"),
        (foreign.GenericError("status code: 400 <Code>RequestTimeout</Code>"), StoreUnavailable, "RequestTimeout"),
        (foreign.GenericError("status code: 409 <Code>OperationAborted</Code>"), StoreUnavailable, "OperationAborted"),
        (foreign.GenericError("status code: 400 <Code>InvalidRequest</Code>"), StoreRefused, "InvalidRequest"),
        (foreign.GenericError("error decoding response body"), StoreUnavailable, "error decoding response body"),
        (foreign.GenericError("status code: 503"), StoreUnavailable, "HTTP 503"),
        (foreign.GenericError("error sending request for url (http://h)"), StoreUnavailable, "no connection"),
        (foreign.GenericError("operation timed out"), StoreUnavailable, "operation timed out"),
    ],
    ids=str,
)
def test_what_passes_is_told_from_what_does_not(
    monkeypatch: pytest.MonkeyPatch, store: ObstoreStore, error: Exception, wanted: type[StoreError], said: str
) -> None:
    let_fail(monkeypatch, error)
    with pytest.raises(StoreError) as caught:
        store.read("a")
    assert type(caught.value) is wanted
    assert said in caught.value.message
    assert caught.value.retryable == (wanted is StoreUnavailable)
    if wanted is not ObjectMissing:
        assert "source.storage" in caught.value.hint


def test_an_object_that_is_not_there_is_none_and_is_deleted_already(
    monkeypatch: pytest.MonkeyPatch, store: ObstoreStore
) -> None:
    let_fail(monkeypatch, FileNotFoundError("Object at location a not found"))
    assert store.find_object("a") is None
    store.delete(["a", "b"])


def test_a_key_that_is_taken_is_no_error_for_a_create(monkeypatch: pytest.MonkeyPatch, store: ObstoreStore) -> None:
    let_fail(monkeypatch, foreign.AlreadyExistsError("Object at location a already exists"))
    assert store.write("a", b"x", create_only=True) is False


def test_a_secret_shows_nowhere(monkeypatch: pytest.MonkeyPatch, store: ObstoreStore) -> None:
    let_fail(monkeypatch, foreign.GenericError("status code: 403"))
    with pytest.raises(StoreError) as caught:
        store.read("a")
    assert "hunter2" not in f"{ENDPOINT!r} {caught.value} {caught.value.hint}"


def test_a_certificate_that_cannot_be_read_is_told_with_the_field() -> None:
    endpoint = StoreEndpoint(plan_field="source.storage", bucket="b", endpoint="https://h", ca_cert="/gone.pem")
    with pytest.raises(StoreRefused, match=r"/gone.pem cannot be read") as caught:
        ObstoreStore(endpoint)
    assert caught.value.hint == "correct source.storage.ca_cert"


def test_a_store_says_where_it_is_and_how_its_milvus_names_a_key(store: ObstoreStore) -> None:
    assert (store.place, store.server_path("a/b")) == ("http://127.0.0.1:9/bucket_A", "a/b")
    local = ObstoreStore(StoreEndpoint(plan_field="source.storage"))
    assert (local.place, local.server_path("var/b")) == ("the local file system", "/var/b")
