"""What boto3 does beside obstore: copies in parts, unfinished uploads; and what there is without it."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from moto.server import ThreadedMotoServer
from obstore.exceptions import GenericError

from migrator.adapters.objects import ObstoreStore, StoreEndpoint
from migrator.adapters.s3_service import S3Service, find_service
from migrator.errors import ObjectMissing, StoreRefused
from migrator.model.segment import StoredObject
from tests.contract.test_store import MEBIBYTE
from tests.contract.test_store_wire import ROLES
from tests.support.recorder import Reply, recording
from tests.support.services.kinds import depot_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_UPLOADS = b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of a server that is nobody else's."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def an_endpoint(**settings: Any) -> StoreEndpoint:  # noqa: ANN401 - any member
    keys: dict[str, Any] = {"access_key_id": "a-key", "secret_access_key": "a-secret"}
    return StoreEndpoint(**{"plan_field": "staging.storage", "region": "us-east-1", **keys, **settings})


def a_bucket(service: str) -> StoreEndpoint:
    name = f"bucket-{secrets.token_hex(4)}"
    httpx.put(f"{service}/{name}").raise_for_status()
    return an_endpoint(endpoint=service, bucket=name)


def unfinished(endpoint: StoreEndpoint) -> list[str]:
    listing = httpx.get(f"{endpoint.endpoint}/{endpoint.bucket}?uploads").text
    return [part.partition("</Key>")[0] for part in listing.split("<Key>")[1:]]


def begun(endpoint: StoreEndpoint, key: str) -> None:
    """Begin an upload, as a process that is killed then leaves it."""
    answer = httpx.post(f"{endpoint.endpoint}/{endpoint.bucket}/{key}?uploads").raise_for_status()
    upload = answer.text.partition("<UploadId>")[2].partition("</UploadId>")[0]
    address = f"{endpoint.endpoint}/{endpoint.bucket}/{key}"
    httpx.put(f"{address}?partNumber=1&uploadId={upload}", content=b"x" * 100).raise_for_status()


@pytest.mark.parametrize("key", ["a/b", "with space/ü+~"])
def test_an_object_is_copied_in_parts_out_of_another_bucket(service: str, key: str) -> None:
    here, there = a_bucket(service), a_bucket(service)
    data = secrets.token_bytes(12 * MEBIBYTE + 7)
    ObstoreStore(there).write(key, data)
    source = ObstoreStore(there).find_object(key)
    assert source is not None
    assert there.bucket is not None
    S3Service(here).copy_in_parts(there.bucket, source, f"to/{key}", part_bytes=5 * MEBIBYTE)
    assert ObstoreStore(here).read(f"to/{key}") == data
    assert unfinished(here) == []


def test_what_vanished_is_not_copied_and_leaves_no_parts(service: str) -> None:
    here = a_bucket(service)
    with pytest.raises(ObjectMissing):
        S3Service(here).copy_in_parts(str(here.bucket), StoredObject("gone", MEBIBYTE, '"e"'), "to")
    assert unfinished(here) == []


def test_what_is_too_large_for_one_request_is_copied_in_parts(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise GenericError("status code: 400 <Code>InvalidRequest</Code>")

    monkeypatch.setattr("obstore.copy", refuse)
    endpoint = a_bucket(service)
    store = ObstoreStore(endpoint)
    assert store.most_copied_bytes is None
    store.write("a", b"small enough")
    with pytest.raises(StoreRefused):
        store.copy_inside("a", "b")
    monkeypatch.setattr("migrator.adapters.objects._MOST_COPIED_BYTES", 5)
    store.copy_inside("a", "b")
    assert store.read("b") == b"small enough"
    other = ObstoreStore(a_bucket(service))
    other.copy_from(str(endpoint.bucket), "a", "c")
    assert other.read("c") == b"small enough"


def test_a_sweep_ends_the_uploads_below_its_folder_alone(service: str) -> None:
    endpoint = a_bucket(service)
    for key in ("dump/a/1", "dump/a/2", "dump/ab/1", "other"):
        begun(endpoint, key)
    ObstoreStore(endpoint).sweep("dump/a")
    assert sorted(unfinished(endpoint)) == ["dump/ab/1", "other"]


def test_a_sweep_that_is_not_allowed_stops_nobody() -> None:
    with recording(lambda _: Reply(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")) as wire:
        ObstoreStore(an_endpoint(endpoint=wire.url, bucket="bucket")).sweep("dump")
    assert wire.requests[0].path.startswith("/bucket?uploads")


def test_the_service_is_asked_where_the_store_is_and_as_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "ambient")
    with recording(lambda _: Reply(body=NO_UPLOADS)) as wire:
        monkeypatch.setenv("HTTP_PROXY", wire.url)
        monkeypatch.setenv("NO_PROXY", "")
        ObstoreStore(an_endpoint(endpoint="http://store.example:9000", bucket="b-1", virtual_host_style=True)).sweep(
            "d"
        )
        ObstoreStore(an_endpoint(endpoint=wire.url, bucket="b-1", session_token="a-token", region="r-1")).sweep("d")  # noqa: S106 - no secret
    virtual, own = wire.requests
    assert virtual.host == "b-1.store.example:9000"
    assert "x-amz-security-token" not in virtual.headers
    assert own.path.removeprefix(wire.url).startswith("/b-1?uploads")
    assert "Credential=a-key/" in own.authorization
    assert "/r-1/s3/" in own.authorization
    assert own.headers["x-amz-security-token"] == "a-token"


def test_a_role_is_asked_for_as_the_store_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ambient")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient")
    settings: dict[str, Any] = {"bucket": "bucket", "credentials": "iam", "access_key_id": None}
    with recording(lambda request: Reply(body=ROLES.get(request.path.partition("?")[0], NO_UPLOADS))) as wire:
        store = ObstoreStore(an_endpoint(endpoint=wire.url, iam_endpoint=wire.url, secret_access_key=None, **settings))
        assert store.find_buckets() == ()
        assert "X-Amz-Credential=role-key%2F" in wire.requests[-1].path
        store.sweep("d")
    assert "Credential=role-key/" in wire.requests[-1].authorization
    assert wire.requests[-1].headers["x-amz-security-token"] == "role-token"
    assert "ambient" not in wire.everything()


@pytest.mark.parametrize(
    "settings",
    [
        {"provider": "azure", "account": "account1", "credentials": "none"},
        {"provider": "gcp", "credentials": "none"},
        {"credentials": "none"},
        {"bucket": None},
    ],
)
def test_a_store_that_is_no_s3_or_nobody_s_has_no_such_service(settings: dict[str, Any]) -> None:
    assert find_service(an_endpoint(**{"bucket": "bucket", "endpoint": "http://127.0.0.1:1", **settings})) is None


def test_without_boto3_large_objects_are_left_to_streams(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    endpoint = a_bucket(service)
    begun(endpoint, "dump/a")
    store = ObstoreStore(endpoint)
    assert store.most_copied_bytes == 5 * 1024**3
    store.sweep("dump")
    assert unfinished(endpoint) == ["dump/a"]
    assert endpoint.bucket in (store.find_buckets() or ())


def test_the_buckets_of_a_service_are_told_to_who_may_know_them(service: str) -> None:
    here, there = a_bucket(service), a_bucket(service)
    assert {here.bucket, there.bucket} <= set(ObstoreStore(here).find_buckets() or ())
    with recording(lambda _: Reply(status=403)) as wire:
        assert ObstoreStore(an_endpoint(endpoint=wire.url, bucket="b")).find_buckets() is None
        assert "a-secret" not in wire.everything()
    assert ObstoreStore(an_endpoint(endpoint="http://127.0.0.1:1", bucket="b")).find_buckets() is None
    assert ObstoreStore(StoreEndpoint(plan_field="staging.storage")).find_buckets() is None


@pytest.fixture(scope="module", params=["s3", pytest.param("rgw", marks=pytest.mark.rgw)])
def strict(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObstoreStore]:
    """A bucket of a service that checks every signature."""
    with depot_of(request.param, tmp_path_factory.mktemp(request.param)) as depot:
        yield depot.open()


def test_a_service_that_checks_signatures_takes_all_of_them(strict: ObstoreStore) -> None:
    data, bucket = secrets.token_bytes(12 * MEBIBYTE + 7), strict.place.rpartition("/")[2]
    strict.write("a/b", data)
    source = strict.find_object("a/b")
    assert source is not None
    assert strict._service is not None
    strict._service.copy_in_parts(bucket, source, "to", part_bytes=5 * MEBIBYTE)
    assert strict.read("to") == data
    client = strict._service._client()
    for key in ("dump/a", "other"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    strict.sweep("dump")
    assert [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["other"]
    assert bucket in (strict.find_buckets() or ())
