"""What is seen of ports that say different things; the servers are small, and the probe is the real one."""

from __future__ import annotations

import socket
import ssl
import time

import pytest
import trustme

from migrator.adapters.probe import Answer, Service, look_at, look_at_port
from tests.support.listeners import HOST, Behaviour, answering, listening, over_http, silent, speaking_http2

NO_SUCH_BUCKET = b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code></Error>"
SERVICES: dict[str, tuple[Behaviour, Service | None, str]] = {
    "S3": (over_http("404 Not Found", {"Server": "X"}, NO_SUCH_BUCKET), Service.S3, "an S3 service (X) answers at"),
    "MinIO": (over_http("403 Forbidden", {"Server": "MinIO"}), Service.S3, "an S3 service (MinIO) answers at"),
    "a gateway": (over_http("403 Forbidden", {"x-amz-request-id": "1"}), Service.S3, "an S3 service answers at"),
    "Azure": (over_http("400 Bad", {"x-ms-request-id": "1"}), Service.AZURE, "an Azure blob service answers at"),
    "GCS": (over_http("404 No", {"X-GUploader-UploadID": "1"}), Service.GCS, "a Google Cloud storage service answers"),
    "management": (
        over_http("200 OK", {}, b"OK"),
        Service.MILVUS_MANAGEMENT,
        "the management port of a Milvus",
    ),
    "REST": (over_http("200 OK", {}, b'{"code":1800}'), Service.MILVUS_REST, "the REST interface of a Milvus answers"),
    "a web site": (over_http("200 OK", {"Server": "nginx"}, b"<html>"), None, "a web server (nginx) answers at"),
}


@pytest.mark.parametrize("what", SERVICES)
def test_a_service_is_known_by_what_it_says(what: str) -> None:
    behaviour, service, words = SERVICES[what]
    with listening(behaviour) as port:
        seen = look_at(f"http://{HOST}:{port}")
    assert (seen.answer, seen.service, seen.tls, seen.is_grpc) == (Answer.HTTP1, service, None, False)
    assert str(seen).startswith(words)
    assert str(seen).endswith(f"{HOST}:{port}, without TLS")


def test_a_grpc_port_is_known_by_its_greeting() -> None:
    with listening(speaking_http2) as port:
        seen = look_at_port(HOST, port)
    assert seen.is_grpc
    assert str(seen) == f"a gRPC server answers at {HOST}:{port}, without TLS"


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
    assert str(look_at_port(HOST, port)) == f"nothing listens at {HOST}:{port}"


def test_a_name_that_nobody_knows() -> None:
    seen = look_at("http://no-such-host.invalid:19530")
    assert seen.answer is Answer.UNRESOLVED
    assert str(seen) == "the name no-such-host.invalid is not known here"


@pytest.mark.parametrize("behaviour", [silent, answering(b"220 mail.example ESMTP\r\n")])
def test_what_speaks_another_language_is_given_up_in_time(behaviour: Behaviour) -> None:
    began = time.monotonic()
    with listening(behaviour) as port:
        seen = look_at_port(HOST, port, deadline_s=1.0)
    assert time.monotonic() - began < 2.5
    assert str(seen) == f"something listens at {HOST}:{port}, and speaks neither HTTP nor TLS"


def a_server_context(*, mutual: bool = False) -> ssl.SSLContext:
    authority = trustme.CA(organization_name="Books and Sons")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("milvus.example").configure_cert(context)
    if mutual:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_a_certificate_is_read_and_not_trusted() -> None:
    with listening(speaking_http2, a_server_context()) as port:
        seen = look_at_port(HOST, port)
    assert seen.is_grpc
    assert seen.tls is not None
    assert (seen.tls.names, seen.tls.wants_client_cert) == (("milvus.example",), False)
    assert "Books and Sons" in seen.tls.issuer
    assert str(seen).startswith(
        f"a gRPC server answers at {HOST}:{port} over TLS, shows a certificate for milvus.example issued by Books"
    )


def test_a_service_inside_tls_is_known_too() -> None:
    with listening(over_http("403 Forbidden", {"Server": "MinIO"}), a_server_context()) as port:
        seen = look_at_port(HOST, port)
    assert (seen.service, seen.tls and seen.tls.names) == (Service.S3, ("milvus.example",))


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_our_certificate(newest: ssl.TLSVersion) -> None:
    context = a_server_context(mutual=True)
    context.maximum_version = newest
    with listening(speaking_http2, context) as port:
        seen = look_at_port(HOST, port)
    assert seen.tls is not None
    assert seen.tls.wants_client_cert
    assert str(seen).endswith("and wants a client certificate")
