"""REST and management of a Milvus: doubles of both that answer as documented, and the real server's own."""

from __future__ import annotations

import ssl
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.adapters import milvus_http
from migrator.adapters.milvus import MilvusEndpoint
from migrator.adapters.milvus_management import ManagementPort
from migrator.adapters.milvus_rest import RestMilvus
from migrator.errors import MilvusError, MilvusRefused, MilvusUnavailable
from tests.support.listeners import HOST, listening, silent
from tests.support.tls import Certificates, write_certificates
from tests.support.web import PAUSE, RESUME, Web, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bench import Bench

V1 = "/v1/vector/collections"
V2 = "/v2/vectordb/collections/list"
LOGIN = "root:hunter2-of-rest"
OK = {"code": 0, "data": []}


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        yield web


def endpoint(uri: str, name: str = "rest_uri", **fields: Any) -> MilvusEndpoint:  # noqa: ANN401 - its fields
    return MilvusEndpoint(uri=uri, plan_field="target.milvus", uri_name=name, token=LOGIN, **fields)


def ping(where: MilvusEndpoint, version: str = "2.4.0") -> None:
    with closing(RestMilvus(where)) as rest:
        rest.ping(version)


def refused(where: MilvusEndpoint, kind: type[MilvusError] = MilvusRefused) -> MilvusError:
    with pytest.raises(kind) as caught:
        ping(where)
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"
    return caught.value


def test_each_version_is_asked_in_its_own_words(web: Web) -> None:
    web.tell(V1, {"code": 200, "data": []})
    web.tell(V2, OK)
    for version in ("2.3.5", "2.4.0", "2.6.1"):
        ping(endpoint(web.uri), version)
    assert [(each.method, each.path) for each in web.requests] == [("GET", V1), ("POST", V2), ("POST", V2)]
    assert {each.headers["authorization"] for each in web.requests} == {f"Bearer {LOGIN}"}


def test_an_answer_that_says_no_is_told_with_the_field(web: Web) -> None:
    web.tell(V2, {"code": 1800, "message": "user hasn't authenticated"})
    login = refused(endpoint(web.uri))
    web.tell(V2, {"code": 65535, "message": "PrivilegeListDatabases: permission deny to alice"}, status=403)
    privilege = refused(endpoint(web.uri))
    web.tell(V2, {"code": 1100, "message": "something else"})
    other = refused(endpoint(web.uri))
    assert "target.milvus.password" in login.hint
    assert "grant the privilege ListDatabases to alice" in privilege.hint
    assert "something else (code 1100)" in other.message
    assert "target.milvus.rest_uri" in other.hint


def test_what_is_no_milvus_is_told_with_the_field(web: Web) -> None:
    page = refused(endpoint(web.uri))
    web.tell(V2, None, status=503)
    down = refused(endpoint(web.uri), MilvusUnavailable)
    assert "no REST interface of a Milvus (HTTP 404)" in page.message
    assert "target.milvus.rest_uri" in page.hint
    assert "HTTP 503" in down.message


def test_a_login_does_not_follow_to_another_address(web: Web) -> None:
    with serving() as elsewhere:
        elsewhere.tell(V2, OK)
        web.tell(V2, OK, status=307, Location=f"{elsewhere.uri}{V2}")
        error = refused(endpoint(web.uri))
    assert elsewhere.requests == []
    assert "leads elsewhere" in error.message
    assert "target.milvus.rest_uri" in error.hint


def test_a_proxy_of_the_environment_is_not_told_the_login(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.tell(V2, OK)
    with serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.uri)
        ping(endpoint(web.uri))
    assert proxy.requests == []


@pytest.mark.parametrize("password", ["päßwort", "🔑"])
def test_a_login_of_any_characters_travels(web: Web, password: str) -> None:
    web.tell(V2, OK)
    ping(replace(endpoint(web.uri), token=f"root:{password}"))
    assert web.requests[0].headers["authorization"].encode("latin-1").decode() == f"Bearer root:{password}"


def test_a_login_that_no_header_can_hold_is_not_shown(web: Web) -> None:
    error = refused(replace(endpoint(web.uri), token=f"{LOGIN} "))
    assert "hunter2" not in f"{error.__cause__}"
    assert "target.milvus.password" in error.hint


def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus_http, "TIMEOUT_S", 0.3)
    with listening(silent) as port:
        error = refused(endpoint(f"http://{HOST}:{port}"), MilvusUnavailable)
    nobody = refused(endpoint("http://no-such-host.invalid:1"), MilvusUnavailable)
    assert f"no answer came from http://{HOST}:{port}" in error.message
    assert "target.milvus.rest_uri" in nobody.hint


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return write_certificates(tmp_path_factory.mktemp("certificates"))


def server_context(certs: Certificates, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.cert(name), certs.key(name))
    context.load_verify_locations(certs.cert("ca"))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_the_certificates_are_those_of_grpc(certs: Certificates) -> None:
    with serving(server_context(certs, "named")) as web:
        web.tell(V2, OK)
        mine = {"client_cert": certs.cert("client"), "client_key": certs.key("client")}
        where = endpoint(
            web.uri.replace("http:", "https:"), ca_cert=certs.cert("ca"), server_name="milvus.example", **mine
        )
        ping(where)
        wrong_name = refused(replace(where, server_name=None))
        no_client = refused(replace(where, client_cert=None, client_key=None))
        stranger = refused(replace(where, ca_cert=certs.cert("other_ca")))
    assert "target.milvus.tls.server_name" in wrong_name.hint
    assert "target.milvus.tls.client_cert" in no_client.hint
    assert "target.milvus.tls.ca_cert" in stranger.hint


# -- the management port ----------------------------------------------------------------------------------------------


def manage(uri: str) -> ManagementPort:
    return ManagementPort(replace(endpoint(uri, "management_uri"), plan_field="source.milvus"))


def test_a_pause_is_asked_for_without_a_login(web: Web) -> None:
    for path in (PAUSE, RESUME):
        web.tell(path, {"msg": "OK"})
    with closing(manage(web.uri)) as port:
        port.pause(300)
        port.resume()
    assert web.asked == [f"{PAUSE}?pause_seconds=300", RESUME]
    assert all("authorization" not in each.headers for each in web.requests)


def test_a_server_that_gives_tickets_gets_them_back(web: Web) -> None:
    web.tell(RESUME, {"msg": "OK"})
    with closing(manage(web.uri)) as port:
        for ticket in ("one", "two"):
            web.tell(PAUSE, {"msg": "OK", "ticket": ticket})
            port.pause(300)
        port.resume()
    assert web.asked[2:] == [f"{RESUME}?ticket=one", f"{RESUME}?ticket=two"]


def test_a_server_without_the_pause_is_told_with_the_field(web: Web) -> None:
    with closing(manage(web.uri)) as port:
        with pytest.raises(MilvusRefused, match="knows no pause of garbage collection") as caught:
            port.pause(300)
        web.tell(PAUSE, {"msg": "failed to pause garbage collection, service not ready"}, status=500)
        with pytest.raises(MilvusUnavailable, match="service not ready"):
            port.pause(300)
    assert "source.milvus.management_uri" in caught.value.hint


# -- the real server --------------------------------------------------------------------------------------------------


def test_the_real_server_answers_in_version_1_and_knows_no_pause(bench: Bench) -> None:
    ping(MilvusEndpoint(uri=bench.a.uri, plan_field="source.milvus"), "2.3.5")
    error = refused(MilvusEndpoint(uri=bench.a.uri, plan_field="source.milvus"))
    assert "no REST interface of a Milvus (HTTP 404)" in error.message  # of version 2
    with closing(manage(bench.a.management_uri)) as port, pytest.raises(MilvusRefused, match="HTTP 404"):
        port.pause(300)
