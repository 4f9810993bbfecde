"""Connections to a Milvus that go wrong: each names the field of the plan file, and each ends in time.

What answers is gRPC's own server with the one call of the handshake, so that every kind of it costs nothing.
"""

from __future__ import annotations

import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus.grpc_gen import milvus_pb2

from migrator.adapters import milvus as adapter
from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.errors import MilvusError, MilvusRefused, MilvusUnavailable
from tests.support.listeners import HOST, listening, over_http, silent
from tests.support.milvus_calls import CALLS
from tests.support.tls import ELSEWHERE, Certificates, write_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOGIN = "root:Milvus"
TLS = "target.milvus.tls"


class Handshake(grpc.GenericRpcHandler):
    """A Milvus that greets, and leaves all other calls without an answer until it ends."""

    def __init__(self) -> None:
        self.has_ended = threading.Event()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Answer `Connect` alone."""

        def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
            if not (details.method or "").endswith("/Connect"):
                while context.is_active() and not self.has_ended.wait(0.01):
                    pass
            return bytes(milvus_pb2.ConnectResponse(server_info={"build_tags": "v2.3.5"}).SerializeToString())

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def a_milvus(credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
    """Its port."""
    handshake = Handshake()
    server = grpc.server(ThreadPoolExecutor(40), handlers=[handshake])
    address = f"{HOST}:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    yield port
    handshake.has_ended.set()
    server.stop(0).wait()


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return write_certificates(tmp_path_factory.mktemp("certificates"))


def credentials(certs: Certificates, name: str = "server", *, mutual: bool = False) -> grpc.ServerCredentials:
    def read(path: str) -> bytes:
        with open(path, "rb") as file:  # noqa: PTH123 - the paths are strings, as in a plan file
            return file.read()

    pair = (read(certs.key(name)), read(certs.cert(name)))
    return grpc.ssl_server_credentials([pair], read(certs.cert("ca")) if mutual else None, mutual)


def connect(port: int, scheme: str = "https", **fields: Any) -> None:  # noqa: ANN401 - fields of `MilvusEndpoint`
    endpoint = MilvusEndpoint(uri=f"{scheme}://{HOST}:{port}", plan_field="target.milvus", token=LOGIN, **fields)
    with closing(GrpcMilvus(endpoint)) as milvus:
        assert milvus.version() == "2.3.5"


def refused(port: int, scheme: str = "https", **fields: Any) -> MilvusError:  # noqa: ANN401 - see above
    with pytest.raises(MilvusError) as caught:
        connect(port, scheme, **fields)
    assert LOGIN not in f"{caught.value.message}{caught.value.hint}"
    assert isinstance(caught.value, MilvusRefused), "nothing that another try would mend"
    return caught.value


def test_tls_of_one_side(certs: Certificates) -> None:
    with a_milvus(credentials(certs)) as port:
        connect(port, ca_cert=certs.cert("ca"))
        connect(port, ca_cert=certs.cert("server"))  # pinned
    with a_milvus(credentials(certs, "named")) as port:
        connect(port, ca_cert=certs.cert("ca"), server_name=ELSEWHERE)


def test_tls_of_both_sides(certs: Certificates) -> None:
    with a_milvus(credentials(certs, mutual=True)) as port:
        connect(port, ca_cert=certs.cert("ca"), client_cert=certs.cert("client"), client_key=certs.key("client"))


def test_an_authority_that_the_system_trusts_needs_no_field(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certs.cert("ca"))
    with a_milvus(credentials(certs)) as port:
        connect(port)


def test_an_authority_that_did_not_sign(certs: Certificates) -> None:
    with a_milvus(credentials(certs)) as port:
        error, system = refused(port, ca_cert=certs.cert("other_ca")), refused(port)
    assert "a certificate for 127.0.0.1, localhost issued by Books and Sons" in error.message
    assert f"{TLS}.ca_cert does not vouch" in error.message
    assert "no authority of this system vouches" in system.message
    assert f"set {TLS}.ca_cert" in system.hint


def test_a_certificate_for_another_name(certs: Certificates) -> None:
    with a_milvus(credentials(certs, "named")) as port:
        error = refused(port, ca_cert=certs.cert("ca"))
        other = refused(port, ca_cert=certs.cert("ca"), server_name="other.example")
    assert f"for {ELSEWHERE}" in error.message
    assert "not for 127.0.0.1" in error.message
    assert f"{TLS}.server_name" in error.hint
    assert "not for other.example" in other.message


def test_a_certificate_that_has_expired(certs: Certificates) -> None:
    with a_milvus(credentials(certs, "expired")) as port:
        error = refused(port, ca_cert=certs.cert("ca"))
    assert "that has expired" in error.message
    assert "target.milvus.uri" in error.hint


def test_a_client_that_the_server_does_not_want(certs: Certificates) -> None:
    with a_milvus(credentials(certs, mutual=True)) as port:
        none = refused(port, ca_cert=certs.cert("ca"))
        foreign = refused(
            port, ca_cert=certs.cert("ca"), client_cert=certs.cert("foreign"), client_key=certs.key("foreign")
        )
    assert f"wants a client certificate, and {TLS} names none" in none.message
    assert f"{TLS}.client_cert" in none.hint
    assert f"refuses the certificate of {TLS}.client_cert" in foreign.message


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"ca_cert": "/gone.pem"}, "ca_cert", "cannot be read: No such file"),
        ({"ca_cert": "empty.pem"}, "ca_cert", "holds no certificate"),
        ({"ca_cert": "client.key"}, "ca_cert", "holds no certificate"),
        ({"client_cert": "/gone.pem", "client_key": "client.key"}, "client_cert", "cannot be read"),
        ({"client_cert": "client.pem", "client_key": "/gone.key"}, "client_key", "cannot be read"),
        ({"client_cert": "client.key", "client_key": "client.key"}, "client_cert", "holds no certificate"),
        ({"client_cert": "client.pem", "client_key": "client.pem"}, "client_key", "holds no private key"),
        ({"client_cert": "client.pem", "client_key": "locked.key"}, "client_key", "is encrypted"),
        ({"client_cert": "client.pem", "client_key": "server.key"}, "client_key", "is not the key of"),
    ],
)
def test_files_that_are_not_what_they_should_be(
    certs: Certificates, fields: dict[str, str], field: str, words: str
) -> None:
    paths = {name: str(certs.folder / file) for name, file in fields.items()}  # an absolute one stays as it is
    with listening(silent) as port:
        error = refused(port, **{"ca_cert": certs.cert("ca"), **paths})
    assert error.message.startswith(f"{TLS}.{field}")
    assert words in error.message


def test_an_address_of_the_wrong_kind(certs: Certificates) -> None:
    with a_milvus() as port:
        plain = refused(port)
    with a_milvus(credentials(certs)) as port:
        secure = refused(port, "http")
    with a_milvus(credentials(certs, mutual=True)) as port:
        mutual = refused(port, "http")
    with listening(over_http("403 Forbidden", {"Server": "MinIO"})) as port:
        store = refused(port, "http")
    assert "a gRPC server answers at" in plain.message
    assert "target.milvus.uri says https" in plain.message
    assert "target.milvus.uri says http" in secure.message
    assert "(mode server)" in secure.hint
    assert "(mode mutual)" in mutual.hint
    assert "an S3 service (MinIO) answers at" in store.message
    assert "target.milvus.uri" in store.hint


@pytest.mark.parametrize("host", ["no-such-host.invalid", "no..host"])
def test_a_name_that_nobody_knows(host: str) -> None:
    with pytest.raises(MilvusUnavailable, match=f"no Milvus answers at http://{host}:19530") as caught:
        GrpcMilvus(MilvusEndpoint(uri=f"http://{host}:19530", plan_field="source.milvus"))
    assert "source.milvus.uri" in caught.value.hint


def test_a_server_that_takes_connections_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "HANDSHAKE_TIMEOUT_S", 0.5)
    monkeypatch.setattr("migrator.adapters.probe._ANSWER_S", 0.2)
    began = time.monotonic()
    with listening(silent) as port, pytest.raises(MilvusUnavailable) as caught:
        connect(port, "http")
    assert time.monotonic() - began < 5
    assert "does not answer as a Milvus" in caught.value.message
    assert "target.milvus.uri" in caught.value.hint


# Asked of newer servers only: the one that greets here is of 2.3.5.
OF_NEWER = {
    *("describe_segments", "commit_import", "abort_import"),
    *("is_encrypted", "takes_snapshots", "restores_elsewhere"),
}


def public_methods() -> set[str]:
    found = inspect.getmembers(GrpcMilvus, inspect.isfunction)
    return {name for name, _ in found if not name.startswith("_")} - {"close", "version", "told_bucket"} - OF_NEWER


def test_the_calls_are_all_there_are() -> None:
    assert set(CALLS) == public_methods()


def test_a_server_that_stops_answering_is_given_up_by_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real deadlines, each a hundredth of itself: a call without one would never come back."""
    with a_milvus() as port:
        milvus = GrpcMilvus(MilvusEndpoint(uri=f"http://{HOST}:{port}", plan_field="target.milvus"))
        with closing(milvus), ThreadPoolExecutor(len(CALLS)) as pool:
            monkeypatch.setattr(milvus, "_stub", _Hurried(milvus._stub))
            results = list(pool.map(lambda call: _error_of(call, milvus), CALLS.values()))
            assert milvus.told_bucket() == ""  # which is only asked in passing
    assert dict(zip(CALLS, results, strict=True)) == dict.fromkeys(CALLS, MilvusUnavailable)


class _Hurried:
    """A stub whose deadlines come a hundred times as soon; a call without one fails the test."""

    def __init__(self, stub: object) -> None:
        self._stub = stub

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(request: object, *, timeout: float, metadata: object) -> object:
            return getattr(self._stub, method)(request, timeout=timeout / 100, metadata=metadata)

        return call


def _error_of(call: Callable[[GrpcMilvus], object], milvus: GrpcMilvus) -> type[Exception] | None:
    try:
        call(milvus)
    except MilvusError as error:
        return type(error)
    return None
