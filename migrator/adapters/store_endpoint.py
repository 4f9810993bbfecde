"""How to reach one bucket of one provider."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from migrator.spec.document import Provider

CredentialsType: TypeAlias = Literal["static", "iam", "default", "shared_key", "service_account", "none"]
_S3_PROVIDERS = frozenset({"minio", "s3", "aws", "aliyun", "tencent"})
_AZURE_HOST = "blob.core.windows.net"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEndpoint:
    """How to reach one bucket, secrets in clear: made when connecting, kept nowhere.

    `bucket` is None for the local file system. `plan_field` is the dotted path of the storage in the plan file, for
    hints. `patience_s` bounds the store client's own retries of one request.
    """

    plan_field: str
    provider: Provider = "s3"
    bucket: str | None = None
    account: str | None = None
    endpoint: str | None = None
    region: str | None = None
    virtual_host_style: bool | None = None
    ca_cert: str | None = None
    credentials: CredentialsType = "static"
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    account_key: str | None = field(default=None, repr=False)
    credentials_file: str | None = None
    iam_endpoint: str | None = None
    patience_s: float = 10.0
    address: str | None = None
    """Where requests go, a bucket's name included already, whatever else is said here."""

    @property
    def speaks_s3(self) -> bool:
        """Whether it is talked to as to S3: so is Google's store, where the keys are a pair."""
        return self.provider in _S3_PROVIDERS or (self.provider == "gcp" and self.credentials == "static")

    @property
    def is_virtual_hosted(self) -> bool:
        """Whether the bucket's name stands in the host's; the two that refuse it in the path have it there."""
        if self.virtual_host_style is None:
            return self.provider in {"aliyun", "tencent"}
        return self.virtual_host_style

    @property
    def service_url(self) -> str:
        """Where the service is, without the bucket."""
        if self.provider == "azure":
            return azure_url(self.endpoint, self.account or "")
        return self.endpoint.rstrip("/") if self.endpoint else _own_url(self)

    @property
    def bucket_url(self) -> str:
        """The same with the bucket's name in the host's where it belongs there: obstore adds it to the path alone."""
        if self.address is not None or not self.is_virtual_hosted:
            return self.address or self.service_url
        scheme, host = self.service_url.split("://")
        return f"{scheme}://{self.bucket}.{host}"

    @property
    def has_bucket_in_address(self) -> bool:
        """Whether obstore must not add the bucket's name to the path."""
        return self.address is not None or self.is_virtual_hosted

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        if self.bucket is None:
            return "the local file system"
        return f"{self.service_url}/{self.bucket}"


def _own_url(endpoint: StoreEndpoint) -> str:
    region = endpoint.region or "us-east-1"
    match endpoint.provider:
        case "gcp":
            return "https://storage.googleapis.com"
        case "aliyun":
            return f"https://oss-{region.removeprefix('oss-')}.aliyuncs.com"
        case "tencent":
            return f"https://cos.{region}.myqcloud.com"
        case _:
            return f"https://s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def azure_url(endpoint: str | None, account: str) -> str:
    """The address of an account's blobs.

    An endpoint may be the account's own host (`https://ACCOUNT.blob.core.windows.net`); a cloud's domain, as Milvus's
    configuration has it (`https://core.chinacloudapi.cn`); or any other host, which has the account in the path, as
    Azurite does.
    """
    if endpoint is None:
        return f"https://{account}.{_AZURE_HOST}"
    url = urlsplit(endpoint)
    host = url.hostname or ""
    if host.startswith(f"{account}."):
        return endpoint
    if re.match(r"(blob\.)?core\.", host):
        domain = url.netloc if host.startswith("blob.") else f"blob.{url.netloc}"
        return f"{url.scheme}://{account}.{domain}"
    return f"{endpoint}/{account}"
