"""What each provider and type of credentials sends over the wire, and to whom."""

from __future__ import annotations

import base64
import json
import re
import ssl
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from migrator.adapters.objects import ObstoreStore, StoreEndpoint
from migrator.errors import StoreError, StoreRefused
from tests.support.recorder import Recorder, Reply, Request, recording
from tests.support.tls import write_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY, SECRET, TOKEN = "an-access-key", "a-secret-key-0123456789", "a-session-token"
ACCOUNT_KEY = base64.b64encode(b"an account's key").decode()
AMBIENT = {
    "AWS_ACCESS_KEY_ID": "ambient-key",
    "AWS_SECRET_ACCESS_KEY": "ambient-secret",
    "AWS_SESSION_TOKEN": "ambient-token",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    "AWS_REGION": "ambient-region",
    "AWS_PROXY_URL": "http://127.0.0.1:1",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_ALLOW_INVALID_CERTIFICATES": "true",
    "AZURE_STORAGE_ACCOUNT_NAME": "ambient",
    "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"ambient").decode(),
    "AZURE_STORAGE_TOKEN": "ambient-token",
    "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:1",
    "GOOGLE_BEARER_TOKEN": "ambient-token",
    "GOOGLE_BASE_URL": "http://127.0.0.1:1",
}
ROLES = {
    "/latest/api/token": b"imds",
    "/latest/meta-data/iam/security-credentials/": b"role",
    "/latest/meta-data/iam/security-credentials/role": json.dumps(
        {
            "Code": "Success",
            "AccessKeyId": "role-key",
            "SecretAccessKey": "role-secret",
            "Token": "role-token",
            "Expiration": "2099-01-01T00:00:00Z",
            "LastUpdated": "2020-01-01T00:00:00Z",
            "Type": "AWS-HMAC",
        }
    ).encode(),
    "/metadata/identity/oauth2/token": json.dumps(
        {"access_token": "role-token", "expires_on": "4070908800", "resource": "r", "token_type": "Bearer"}
    ).encode(),
    "/computeMetadata/v1/instance/service-accounts/default/token": b'{"access_token": "role-token", "expires_in": 99}',
}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home without profiles, and an environment full of what is somebody else's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def wire() -> Iterator[Recorder]:
    with recording(lambda request: Reply(body=ROLES.get(request.path.partition("?")[0], b""))) as recorder:
        yield recorder


@pytest.fixture
def proxied(wire: Recorder, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """The same between us and every host."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, wire.url)
    monkeypatch.setenv("NO_PROXY", "")
    return wire


def endpoint(provider: Any, **more: Any) -> StoreEndpoint:  # noqa: ANN401 - keys of the endpoint
    keys = {"access_key_id": KEY, "secret_access_key": SECRET} if more.get("credentials", "static") == "static" else {}
    settings: dict[str, Any] = {"bucket": "bucket-a", "plan_field": "source.storage", "patience_s": 0.05}
    settings |= keys | more
    return StoreEndpoint(provider=provider, **settings)


def put(store: StoreEndpoint) -> None:
    ObstoreStore(store).write("a/b", b"x")


def asked_hosts(recorder: Recorder) -> set[str]:
    return {request.path for request in recorder.asked("CONNECT")}


def key_of(request: Request) -> str:
    found = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d+/([^/]+)/s3/aws4_request", request.authorization)
    assert found, request.authorization
    return found[1]


@pytest.mark.parametrize("provider", ["minio", "s3", "aws", "gcp", "aliyun", "tencent"])
def test_static_keys_sign_and_the_token_goes_along(wire: Recorder, provider: str) -> None:
    put(endpoint(provider, endpoint=wire.url, virtual_host_style=False, session_token=TOKEN, region="r-1"))
    (request,) = wire.requests
    assert (request.method, request.path) == ("PUT", "/bucket-a/a/b")
    assert key_of(request) == KEY
    assert "/r-1/s3/" in request.authorization
    assert request.headers["x-amz-security-token"] == TOKEN
    assert SECRET not in wire.everything()
    assert "ambient" not in wire.everything()


@pytest.mark.parametrize("provider", ["minio", "aws", "gcp", "azure"])
def test_anonymous_requests_carry_nothing(wire: Recorder, provider: str) -> None:
    store = ObstoreStore(endpoint(provider, endpoint=wire.url, credentials="none", account="account1"))
    store.write("a", b"x")
    store.copy_inside("a", "b")
    assert [request.method for request in wire.requests] == ["PUT", "PUT"]
    assert all(request.authorization in {"", "Bearer "} for request in wire.requests)
    assert "ambient" not in wire.everything()


def test_the_environment_s_keys_go_to_the_plan_s_endpoint_where_they_are_asked_for(wire: Recorder) -> None:
    put(endpoint("s3", endpoint=wire.url, credentials="default", region="r-1"))
    (request,) = wire.requests
    assert key_of(request) == "ambient-key"
    assert "/r-1/s3/" in request.authorization
    assert request.headers["x-amz-security-token"] == "ambient-token"


def test_a_profile_is_found_where_the_environment_has_no_keys(
    wire: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text("[p]\naws_access_key_id = profile-key\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_PROFILE", "p")
    put(endpoint("s3", endpoint=wire.url, credentials="default"))
    assert key_of(wire.requests[-1]) == "profile-key"


def test_a_profile_that_is_not_there_is_told(wire: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreRefused, match="ProfileNotFound") as caught:
        put(endpoint("s3", endpoint=wire.url, credentials="default"))
    assert "source.storage.credentials" in caught.value.hint


def test_a_profile_without_keys_is_told(wire: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreRefused, match="find no credentials") as caught:
        put(endpoint("s3", endpoint=wire.url, credentials="default"))
    assert "source.storage.credentials" in caught.value.hint


def test_a_role_s_keys_are_asked_for_at_its_endpoint_and_never_found_in_the_environment(wire: Recorder) -> None:
    put(endpoint("s3", endpoint=wire.url, credentials="iam", iam_endpoint=wire.url))
    *before, last = wire.requests
    assert [request.path for request in before] == [path for path in ROLES if path.startswith("/latest")]
    assert (key_of(last), last.headers["x-amz-security-token"]) == ("role-key", "role-token")
    assert "ambient" not in wire.everything()


def test_a_pod_s_token_is_traded_for_keys_at_the_plan_s_endpoint_and_over_tls_alone(
    proxied: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("pod-token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
    with pytest.raises(StoreError):
        put(endpoint("s3", endpoint=proxied.url, credentials="iam", iam_endpoint="https://sts.example"))
    assert asked_hosts(proxied) == {"sts.example:443"}
    with pytest.raises(StoreRefused, match="not sent over http") as caught:
        put(endpoint("s3", endpoint=proxied.url, credentials="iam", iam_endpoint="http://sts.example"))
    assert "source.storage.credentials.iam_endpoint" in caught.value.hint
    assert "pod-token" not in proxied.everything()


@pytest.mark.parametrize(("provider", "path"), [("gcp", "/bucket-a/a/b"), ("azure", "/account1/bucket-a/a/b")])
def test_the_other_clouds_roles_give_bearer_tokens(wire: Recorder, provider: str, path: str) -> None:
    put(endpoint(provider, endpoint=wire.url, account="account1", credentials="iam", iam_endpoint=wire.url))
    asking, request = wire.requests
    assert asking.headers.get("metadata") == "true" or asking.headers.get("metadata-flavor") == "Google"
    assert (unquote(request.path), request.authorization) == (path, "Bearer role-token")
    assert "ambient" not in wire.everything()


def test_azure_s_account_key_signs_with_the_account_s_name(wire: Recorder) -> None:
    store = endpoint("azure", endpoint=wire.url, account="account1", credentials="shared_key", account_key=ACCOUNT_KEY)
    put(store)
    (request,) = wire.requests
    assert request.path == "/account1/bucket-a/a/b"
    assert request.authorization.startswith("SharedKey account1:")
    assert ACCOUNT_KEY not in wire.everything()


def test_azure_s_environment_is_another_account_s_unless_it_says_otherwise(
    wire: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = endpoint("azure", endpoint=wire.url, account="account1", credentials="default")
    monkeypatch.delenv("AZURE_STORAGE_TOKEN")
    monkeypatch.setenv("AZURE_MSI_ENDPOINT", f"{wire.url}/metadata/identity/oauth2/token")
    put(store)
    assert wire.requests[-1].authorization == "Bearer role-token"
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account1")
    put(store)
    assert wire.requests[-1].authorization.startswith("SharedKey account1:")


@pytest.mark.parametrize("credentials", ["service_account", "default"])
def test_a_service_account_s_file_signs_its_own_token(
    wire: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, credentials: str
) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    pem = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    file = tmp_path / "key.json"
    account = {"client_email": "reader@example", "private_key": pem, "private_key_id": "1", "type": "service_account"}
    file.write_text(json.dumps(account))
    monkeypatch.delenv("GOOGLE_BEARER_TOKEN")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file) if credentials == "default" else "/gone")
    where = str(file) if credentials == "service_account" else None
    put(endpoint("gcp", endpoint=wire.url, credentials=credentials, credentials_file=where))
    (request,) = wire.requests
    assert unquote(request.path) == "/bucket-a/a/b"
    kind, _, token = request.authorization.partition(" ")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert (kind, claims["iss"]) == ("Bearer", "reader@example")
    assert pem not in wire.everything()


def test_a_pod_s_token_is_traded_for_azure_s(
    proxied: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("pod-token")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
    monkeypatch.setenv("AZURE_CLIENT_ID", "client")
    monkeypatch.setenv("AZURE_TENANT_ID", "tenant")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.example")
    with pytest.raises(StoreError) as caught:
        put(endpoint("azure", endpoint=proxied.url, account="account1", credentials="iam"))
    assert asked_hosts(proxied) == {"login.example:443"}
    assert "source.storage.credentials" in caught.value.hint


@pytest.mark.parametrize(
    ("store", "host"),
    [
        (endpoint("aws", region="eu-west-1"), "s3.eu-west-1.amazonaws.com:443"),
        (endpoint("aws", region="cn-north-1"), "s3.cn-north-1.amazonaws.com.cn:443"),
        (endpoint("aws", region="eu-west-1", virtual_host_style=True), "bucket-a.s3.eu-west-1.amazonaws.com:443"),
        (endpoint("gcp"), "storage.googleapis.com:443"),
        (endpoint("gcp", credentials="none"), "storage.googleapis.com:443"),
        (endpoint("aliyun", region="cn-hangzhou"), "bucket-a.oss-cn-hangzhou.aliyuncs.com:443"),
        (endpoint("tencent", region="ap-beijing"), "bucket-a.cos.ap-beijing.myqcloud.com:443"),
        (endpoint("azure", credentials="none", account="account1"), "account1.blob.core.windows.net:443"),
        (
            endpoint("azure", credentials="none", account="account1", endpoint="https://core.chinacloudapi.cn"),
            "account1.blob.core.chinacloudapi.cn:443",
        ),
        (
            endpoint("azure", credentials="none", account="account1", endpoint="https://account1.blob.example.com"),
            "account1.blob.example.com:443",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_store_without_an_endpoint_is_at_its_provider_s(proxied: Recorder, store: StoreEndpoint, host: str) -> None:
    proxied.answer = lambda _: Reply(status=502)
    with pytest.raises(StoreError):
        put(store)
    assert asked_hosts(proxied) == {host}


def test_a_bucket_stands_in_the_host_of_an_own_endpoint_too(proxied: Recorder) -> None:
    put(endpoint("minio", endpoint="http://store.example:9000", virtual_host_style=True))
    (request,) = proxied.requests
    assert (request.host, request.path) == ("bucket-a.store.example:9000", "http://bucket-a.store.example:9000/a/b")


@pytest.mark.parametrize(
    ("style", "host", "path"),
    [(True, "bucket-a.store.example", "/to"), (False, "store.example", "/bucket-a/to")],
)
def test_a_copy_out_of_another_bucket_is_asked_of_the_one_that_gets_it(
    proxied: Recorder, *, style: bool, host: str, path: str
) -> None:
    store = ObstoreStore(endpoint("minio", endpoint="http://store.example", virtual_host_style=style))
    store.copy_from("bucket_B", "a b", "to")
    (request,) = proxied.requests
    assert (request.host, request.path) == (host, f"http://{host}{path}")
    assert request.headers["x-amz-copy-source"] == "bucket_B/a%20b"


def test_a_stream_that_ends_within_its_first_part_is_one_put(wire: Recorder) -> None:
    store = ObstoreStore(endpoint("minio", endpoint=wire.url))
    store.write_stream("a/b", iter([b"one ", b"object"]), multipart=True, part_size=5 * 1024**2)
    assert [(each.method, each.path, each.body) for each in wire.requests] == [("PUT", "/bucket-a/a/b", b"one object")]


@pytest.mark.parametrize(
    ("provider", "header", "value"),
    [
        ("aliyun", "x-oss-forbid-overwrite", "true"),
        ("tencent", "x-cos-forbid-overwrite", "true"),
        ("gcp", "x-goog-if-generation-match", "0"),
    ],
)
def test_a_put_that_creates_only_asks_for_it_in_the_provider_s_way(
    wire: Recorder, provider: str, header: str, value: str
) -> None:
    store = ObstoreStore(endpoint(provider, endpoint=wire.url, virtual_host_style=False, region="r"))
    assert store.write("a b/ü", b"x", create_only=True) is True
    store.write("a b/ü", b"x")
    creating, writing = wire.requests
    assert creating.path == writing.path == "/bucket-a/a%20b/%C3%BC"
    assert (creating.headers[header], "if-none-match" in creating.headers) == (value, False)
    assert header in creating.authorization.partition("SignedHeaders=")[2]
    assert not (provider == "gcp" and "amz" in str(creating))
    assert header not in writing.headers
    for status in (409, 412):
        wire.answer = lambda _, status=status: Reply(status=status, body=b"<Error><Code>Taken</Code></Error>")  # type: ignore[misc] # bound early
        assert store.write("a", b"x", create_only=True) is False
    wire.answer = lambda _: Reply(status=403, body=b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
    with pytest.raises(StoreRefused) as caught:
        store.write("a", b"x", create_only=True)
    assert caught.value.hint == "correct source.storage.credentials.secret_access_key"


@pytest.mark.parametrize(("provider", "header"), [("s3", "if-none-match"), ("azure", "if-none-match")])
def test_elsewhere_a_put_that_creates_only_is_conditional(wire: Recorder, provider: str, header: str) -> None:
    store = ObstoreStore(endpoint(provider, endpoint=wire.url, account="account1", credentials="none"))
    store.write("a", b"x", create_only=True)
    assert wire.requests[0].headers[header] == "*"


@pytest.mark.parametrize("provider", ["aliyun", "tencent"])
@pytest.mark.parametrize("credentials", ["iam", "default"])
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, provider: str, credentials: str, wire: Recorder
) -> None:
    for name in ("alibabacloud_credentials", "tencentcloud"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StoreRefused, match="not installed") as caught:
        put(endpoint(provider, endpoint=wire.url, credentials=credentials, virtual_host_style=False))
    assert f"migrator[{provider}]" in caught.value.hint


def test_a_bucket_s_region_is_what_amazon_says(proxied: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.adapters.store_opening._AWS", "http://aws.example")
    proxied.answer = lambda request: (
        Reply(status=301, headers={"x-amz-bucket-region": "eu-north-1"})
        if request.method == "HEAD"
        else Reply(status=502)
    )
    with pytest.raises(StoreError):
        put(endpoint("aws"))
    assert proxied.asked("HEAD")[0].path == "http://aws.example/bucket-a"
    assert asked_hosts(proxied) == {"s3.eu-north-1.amazonaws.com:443"}


class _Played(ModuleType):
    """A provider's package, as far as it is used; it notes what kind of role it is asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: list[str | None] = []
        self.Config = SimpleNamespace

    def Client(self, config: SimpleNamespace | None) -> SimpleNamespace:  # noqa: N802 - the package's name
        self.asked.append(None if config is None else str(config.type))
        found = SimpleNamespace(access_key_id="role-key", access_key_secret="s", security_token="role-token")  # noqa: S106 - no secret
        return SimpleNamespace(get_credential=lambda: found)

    def CVMRoleCredential(self) -> SimpleNamespace:  # noqa: N802 - the package's name
        self.asked.append("ecs_ram_role")
        return SimpleNamespace(secret_id="role-key", secret_key="s", token="role-token")  # noqa: S106 - no secret

    def DefaultTkeOIDCRoleArnProvider(self) -> SimpleNamespace:  # noqa: N802 - the package's name
        self.asked.append("oidc_role_arn")
        found = SimpleNamespace(secret_id="role-key", secret_key="s", token="role-token")  # noqa: S106 - no secret
        return SimpleNamespace(get_credentials=lambda: found)

    def DefaultCredentialProvider(self) -> SimpleNamespace:  # noqa: N802 - the package's name
        self.asked.append(None)
        found = SimpleNamespace(secret_id="role-key", secret_key="s", token="role-token")  # noqa: S106 - no secret
        return SimpleNamespace(get_credentials=lambda: found)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> _Played:
    module = _Played("played")
    for name in (
        "alibabacloud_credentials.client",
        "alibabacloud_credentials.models",
        "tencentcloud.common.credential",
    ):
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setitem(sys.modules, name.partition(".")[0], module)
    monkeypatch.setitem(sys.modules, "tencentcloud.common", module)
    return module


@pytest.mark.parametrize(
    ("provider", "pod"), [("aliyun", "ALIBABA_CLOUD_OIDC_TOKEN_FILE"), ("tencent", "TKE_WEB_IDENTITY_TOKEN_FILE")]
)
def test_a_role_s_keys_come_from_the_provider_s_own_client(
    wire: Recorder, played: _Played, monkeypatch: pytest.MonkeyPatch, provider: str, pod: str
) -> None:
    def keys(credentials: str) -> tuple[str, str]:
        wire.requests.clear()
        played.asked.clear()
        store = ObstoreStore(endpoint(provider, endpoint=wire.url, credentials=credentials, virtual_host_style=False))
        store.write("a", b"x")
        store.write("a", b"x", create_only=True)
        first, second = wire.requests
        assert key_of(first) == key_of(second) == "role-key"
        assert first.headers["x-amz-security-token"] == second.headers["x-amz-security-token"]
        return str(played.asked[0]), first.headers["x-amz-security-token"]

    assert keys("iam") == ("ecs_ram_role", "role-token")
    assert keys("default") == ("None", "role-token")
    monkeypatch.setenv(pod, "/token")
    assert keys("iam") == ("oidc_role_arn", "role-token")
    assert "ambient" not in wire.everything()


@pytest.mark.parametrize("provider", ["minio", "gcp", "azure", "aliyun"])
def test_an_own_authority_is_trusted_where_it_is_named_and_nowhere_else(tmp_path: Path, provider: str) -> None:
    certificates = write_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert("server"), certificates.key("server"))
    keys: dict[str, Any] = {"virtual_host_style": False, "region": "r"}
    if provider == "azure":
        keys = {"account": "account1", "credentials": "shared_key", "account_key": ACCOUNT_KEY}
    with recording(tls=context) as wire:
        trusting = ObstoreStore(endpoint(provider, endpoint=wire.url, ca_cert=certificates.cert("ca"), **keys))
        assert trusting.write("a", b"x")
        assert trusting.write("a", b"x", create_only=True)
        trusting.sweep("a")
        assert trusting.find_buckets() == (None if provider == "azure" else ())
        asked = len(wire.requests)
        assert asked == (2 if provider == "azure" else 4)
        doubting = ObstoreStore(endpoint(provider, endpoint=wire.url, **keys))
        for create_only in (False, True):
            with pytest.raises(StoreRefused, match="not trusted") as caught:
                doubting.write("a", b"x", create_only=create_only)
            assert caught.value.hint == "correct source.storage.ca_cert"
        doubting.sweep("a")
        assert doubting.find_buckets() is None
        assert len(wire.requests) == asked
