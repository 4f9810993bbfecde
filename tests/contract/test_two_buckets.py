"""Two buckets of one S3 service: what one shows of the other, copies between them, and what broken streams leave."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from moto.server import ThreadedMotoServer

from migrator.adapters.neighbours import copier_of
from migrator.adapters.objects import ObstoreStore, StoreEndpoint
from migrator.errors import Interrupted, ObjectMissing
from tests.contract.test_store import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Iterator


def an_endpoint(**settings: Any) -> StoreEndpoint:  # noqa: ANN401 - any member
    keys: dict[str, Any] = {"access_key_id": "testing", "secret_access_key": "testing"}
    return StoreEndpoint(plan_field="staging.storage", **keys, **settings)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of a server that is nobody else's."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def a_bucket(service: str, prefix: str = "bucket") -> ObstoreStore:
    name = f"{prefix}-{secrets.token_hex(4)}"
    httpx.put(f"{service}/{name}").raise_for_status()
    return ObstoreStore(an_endpoint(endpoint=service, bucket=name))


def name_of(store: ObstoreStore) -> str:
    return store.place.rpartition("/")[2]


@pytest.fixture
def here(service: str) -> ObstoreStore:
    """The bucket that is copied into."""
    return a_bucket(service)


@pytest.fixture
def there(service: str) -> ObstoreStore:
    """The one that is copied out of; with a name that only a lenient server accepts."""
    return a_bucket(service, "Bucket_A")


def test_a_bucket_beside_shows_its_objects(here: ObstoreStore, there: ObstoreStore) -> None:
    there.write("a/b", b"hello")
    assert here.find_beside(name_of(there), "a/b") == there.find_object("a/b")
    assert here.find_beside(name_of(there), "a/c") is None
    assert here.find_beside("no-such-bucket", "a/b") is None
    assert here.find_beside(name_of(here), "a/b") is None


@pytest.mark.parametrize(
    "name", ["plain/1/2", "with space", "ünï/ç", "100%25", "a+b", "x=1&y", "(1);&=1", "q?r#s", "~tilde'quote"]
)
def test_a_copy_comes_out_of_the_bucket_beside(here: ObstoreStore, there: ObstoreStore, name: str) -> None:
    there.write(f"a/{name}", name.encode())
    here.write(f"a/{name}", b"what this bucket has under the same key")
    here.copy_from(name_of(there), f"a/{name}", f"to/{name}")
    assert here.read(f"to/{name}") == name.encode()
    assert list(there.list_objects("to")) == []
    assert there.read(f"a/{name}") == name.encode()


def test_what_is_not_beside_cannot_be_copied(here: ObstoreStore, there: ObstoreStore) -> None:
    here.write("a", b"this bucket's own")
    with pytest.raises(ObjectMissing):
        here.copy_from(name_of(there), "a", "b")
    assert here.find_object("b") is None


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"endpoint": "http://h:9000"}, "http://h:9000/mine"),
        ({"endpoint": "https://h/"}, "https://h/mine"),
        ({"endpoint": "https://h", "virtual_host_style": True}, "https://mine.h"),
        ({"region": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com/mine"),
        ({"virtual_host_style": True}, "https://mine.s3.us-east-1.amazonaws.com"),
    ],
)
def test_a_copy_is_sent_to_the_bucket_that_gets_it(settings: dict[str, str], address: str) -> None:
    mine = an_endpoint(bucket="mine", **settings)
    copier = copier_of(mine, "theirs")
    assert (copier.bucket_url, copier.bucket, copier.has_bucket_in_address) == (address, "theirs", True)
    assert (copier.access_key_id, copier.secret_access_key) == ("testing", "testing")


def test_a_local_directory_has_no_bucket_beside() -> None:
    assert ObstoreStore(StoreEndpoint(plan_field="staging.storage")).find_beside("any", "a") is None


def test_a_stream_that_breaks_leaves_no_parts(service: str, here: ObstoreStore) -> None:
    def broken() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * 6 * MEBIBYTE
        raise Interrupted("the run was stopped")

    with pytest.raises(Interrupted):
        here.write_stream("a", broken(), multipart=True, part_size=5 * MEBIBYTE)
    assert here.find_object("a") is None
    assert "<Upload>" not in httpx.get(f"{service}/{name_of(here)}?uploads").text
