"""milvus-backup's configuration files, of both their generations, as blocks of a plan file.

Names, defaults and what is inherited from where are those of milvus-backup 0.5 and 0.6: the second generation says
`configVersion: v2`, the first says nothing. Values of secrets are never carried over, only whether there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from migrator.errors import Complaint, SpecError
from migrator.spec.places import is_within
from migrator.spec.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.spec.source_map import Data

Block = dict[str, "Data"]
"""A part of a plan file as plain data."""

_OLD_NAMES = {
    "milvus.grpc.address": ("milvus.address",),
    "milvus.grpc.port": ("milvus.port",),
    "milvus.grpc.tlsmode": ("milvus.tlsmode",),
    "milvus.grpc.cacertpath": ("milvus.cacertpath",),
    "milvus.grpc.servername": ("milvus.servername",),
    "milvus.grpc.mtlscertpath": ("milvus.mtlscertpath",),
    "milvus.grpc.mtlskeypath": ("milvus.mtlskeypath",),
    "milvus.management.endpoint": ("backup.gcpause.address",),
    "backup.pausegc": ("backup.gcpause.enable",),
    "milvus.storage.provider": ("storage.storagetype", "minio.storagetype", "minio.cloudprovider"),
    "backup.storage.provider": ("storage.backupstoragetype", "minio.backupstoragetype"),
}
_OLD_STORAGE_NAMES = {
    "address": "address",
    "port": "port",
    "region": "region",
    "usessl": "usessl",
    "bucketname": "bucketname",
    "rootpath": "rootpath",
    "auth.accesskeyid": "accesskeyid",
    "auth.secretaccesskey": "secretaccesskey",
    "auth.sessiontoken": "token",
    "auth.credentialsfile": "gcpcredentialjson",
    "auth.endpoint": "iamendpoint",
    "useiam": "useiam",
}
_TLS_MODES = {"0": "disabled", "1": "server", "2": "mutual"}
_PROVIDERS = {
    "minio": "minio",
    "s3": "s3",
    "aws": "aws",
    "gcp": "gcp",
    "gcpnative": "gcp",
    "azure": "azure",
    "ali": "aliyun",
    "aliyun": "aliyun",
    "alibaba": "aliyun",
    "alicloud": "aliyun",
    "tc": "tencent",
    "tencent": "tencent",
    "local": "local",
    "hwc": "s3",
}
_DEFAULTS = {
    "milvus.grpc.address": "localhost",
    "milvus.grpc.port": "19530",
    "milvus.grpc.tlsmode": "disabled",
    "milvus.storage.provider": "minio",
    "milvus.storage.address": "localhost",
    "milvus.storage.port": "9000",
    "milvus.storage.usessl": "false",
    "milvus.storage.bucketname": "a-bucket",
    "milvus.storage.rootpath": "files",
    "milvus.storage.auth.accesskeyid": "minioadmin",
    "milvus.storage.auth.secretaccesskey": "minioadmin",
}
_OWN_ADDRESSES = {"gcp": "storage.googleapis.com", "azure": "core.windows.net"}
"""What a provider is called when no address of its own is meant."""
_TRUE = {"true", "1", "t", "yes"}


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable the plan refers to, and what belongs into it."""

    name: str
    meaning: str


@dataclass(slots=True)
class ForeignConfig:
    """One configuration: the cluster it describes, and where it keeps backups, as blocks of a plan file.

    `backup_storage` lacks the root path, which stands in `backup_root`. `notes` tell what could not be carried over.
    """

    milvus: Block = field(default_factory=dict)
    storage: Block = field(default_factory=dict)
    backup_storage: Block = field(default_factory=dict)
    backup_root: str = ""
    streams: bool = False
    variables: list[Variable] = field(default_factory=list)
    backup_variables: list[Variable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def cluster(self) -> Block:
        """As `source` or `target` of a plan file."""
        return {"milvus": self.milvus, "storage": self.storage}


def read_foreign_config(path: Path, *, side: str) -> ForeignConfig:
    """What the milvus-backup configuration at `path` says, for the `side` (`source`, `target`) of a plan.

    Raises:
        SpecError: It cannot be read, or is no such configuration.
    """
    file = read_yaml(path, what="milvus-backup configuration")
    if file.complaints:
        raise SpecError(list(file.complaints))
    values = dict(_flattened("", file.data))
    version = values.pop("configversion", "v1")
    if version not in {"v1", "v2"} or not {"milvus", "minio", "storage"} & {key.partition(".")[0] for key in values}:
        what = f"configVersion {version} is not known" if version not in {"v1", "v2"} else "it has no milvus or minio"
        raise SpecError(
            [Complaint(f"{path} is not a configuration of milvus-backup: {what}", hint="name its backup.yaml")]
        )
    return _Reading(values if version == "v2" else _renamed(values), side, path.name).read()


def _flattened(prefix: str, data: Data) -> Iterator[tuple[str, str]]:
    """Every value as text under its dotted key in lower case: its loader knows no case."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _flattened(f"{prefix}.{key}".strip(".").lower(), value)
    elif isinstance(data, bool):
        yield prefix, str(data).lower()
    elif data is not None and not isinstance(data, list):
        yield prefix, str(data).strip()


def _renamed(old: dict[str, str]) -> dict[str, str]:
    """Values of the first generation under the names of the second."""
    names = dict(_OLD_NAMES)
    for new, name in _OLD_STORAGE_NAMES.items():
        names[f"milvus.storage.{new}"] = (f"minio.{name}",)
        names[f"backup.storage.{new}"] = (f"minio.backup{name}",)
    found = {new: next((old[key] for key in olds if key in old), None) for new, olds in names.items()}
    values = {key: value for key, value in found.items() if value is not None}
    for key in ("milvus.user", "milvus.password", "milvus.authorizationenabled"):
        if key in old:
            values[key] = old[key]
    mode = values.get("milvus.grpc.tlsmode", "0")
    values["milvus.grpc.tlsmode"] = _TLS_MODES.get(mode, mode)
    if old.get("minio.crossstorage", "") in _TRUE:
        values["transfer.mode"] = "streaming"
    # The old tool took the Milvus's own root path where none was named for backups.
    values.setdefault("backup.storage.rootpath", values.get("milvus.storage.rootpath", "files"))
    for side in ("milvus", "backup"):
        _rename_keys(values, f"{side}.storage")
    return values


def _rename_keys(values: dict[str, str], place: str) -> None:
    """The first generation put every provider's keys into one pair of fields."""
    provider = values.get(f"{place}.provider") or values.get("milvus.storage.provider", "")
    if values.get(f"{place}.useiam") in _TRUE:
        values[f"{place}.auth.type"] = "default" if provider == "azure" else "iam"
    elif provider == "azure":
        values[f"{place}.auth.type"] = "sharedkey"
    elif provider == "gcpnative":
        values[f"{place}.auth.type"] = "serviceaccount"
    if provider == "azure":
        for old, new in (("auth.accesskeyid", "accountname"), ("auth.secretaccesskey", "auth.accountkey")):
            if f"{place}.{old}" in values:
                values[f"{place}.{new}"] = values.pop(f"{place}.{old}")


class _Reading:
    """One configuration while it is turned into blocks."""

    def __init__(self, values: dict[str, str], side: str, file: str) -> None:
        self._values = values
        self._side = side
        self._file = file
        self._found = ForeignConfig()

    def read(self) -> ForeignConfig:
        found = self._found
        found.milvus = self._milvus()
        found.storage = self._storage("milvus.storage", self._side.upper(), found.variables)
        found.backup_storage = self._storage("backup.storage", "STAGING", found.backup_variables)
        if self._is_one_service() and self._has_same_keys():
            found.backup_storage["credentials"] = found.storage["credentials"]
            found.backup_variables = []
        root = self._get("backup.storage.rootpath") or "backup"
        own = str(found.storage["root_path"])
        shares_bucket = self._is_one_service() and found.storage.get("bucket") == found.backup_storage.get("bucket")
        if shares_bucket and (is_within(root, own) or is_within(own, root)):
            self._note(f"its backups went into {root!r}, the Milvus's own folder; this plan's dump goes into 'backup'")
            root = "backup"
        found.backup_root = root
        found.streams = self._get("transfer.mode") == "streaming"
        return found

    def _is_one_service(self) -> bool:
        keys = ("provider", "endpoint", "account")
        return all(self._found.storage.get(key) == self._found.backup_storage.get(key) for key in keys)

    def _has_same_keys(self) -> bool:
        keys = ("type", "accesskeyid", "secretaccesskey", "sessiontoken", "accountkey", "credentialsfile", "endpoint")
        pairs = ((self._get(f"milvus.storage.auth.{key}"), self._get(f"backup.storage.auth.{key}")) for key in keys)
        return self._found.storage["provider"] != "local" and all(one == other for one, other in pairs)

    def _get(self, key: str) -> str:
        """The value, or else its default; those of the backup's storage are the Milvus's, except for the root path."""
        if key in self._values:
            return self._values[key]
        if key.startswith("backup.storage."):
            return "" if key.endswith(".rootpath") else self._get(key.replace("backup.", "milvus.", 1))
        return _DEFAULTS.get(key, "")

    def _note(self, text: str) -> None:
        self._found.notes.append(f"{self._file}: {text}")

    def _secret(self, name: str, meaning: str, into: list[Variable]) -> Block:
        into.append(Variable(name, meaning))
        return {"env": name}

    # -- Milvus -----------------------------------------------------------------------------------------------------

    def _milvus(self) -> Block:
        mode = self._tls_mode()
        address, port = self._get("milvus.grpc.address"), self._get("milvus.grpc.port")
        block: Block = {"uri": _web_address(address, port, is_secure=mode != "disabled")}
        block |= self._login()
        if mode != "disabled":
            block["tls"] = self._tls(mode)
        if rest := self._values.get("milvus.rest.endpoint", ""):
            block["rest_uri"] = rest if "://" in rest else f"http://{rest}"
        management = self._values.get("milvus.management.endpoint", "")
        if management and self._get("backup.pausegc") not in {"false", "0"}:
            block["management_uri"] = management if "://" in management else f"http://{management}"
        return block

    def _tls_mode(self) -> str:
        mode = self._get("milvus.grpc.tlsmode").lower()
        if mode not in _TLS_MODES.values():
            self._note(f"tlsMode {mode} is not known; the plan says http")
            return "disabled"
        has_pair = self._get("milvus.grpc.mtlscertpath") and self._get("milvus.grpc.mtlskeypath")
        return "server" if mode == "mutual" and not has_pair else mode

    def _tls(self, mode: str) -> Block:
        keys = {"ca_cert": "cacertpath", "server_name": "servername"}
        if mode == "mutual":
            keys |= {"client_cert": "mtlscertpath", "client_key": "mtlskeypath"}
        given = {key: self._get(f"milvus.grpc.{name}") for key, name in keys.items()}
        return {"mode": mode, **{key: value for key, value in given.items() if value}}

    def _login(self) -> Block:
        user = self._get("milvus.user")
        if not user:
            return {}
        if self._get("milvus.authorizationenabled") == "false":
            self._note(f"authorizationEnabled is false, so the plan does not log in as {user}")
            return {}
        name = f"{self._side.upper()}_MILVUS_PASSWORD"
        meaning = f"password of {user} at the {self._side} Milvus"
        return {"username": user, "password": self._secret(name, meaning, self._found.variables)}

    # -- storage ----------------------------------------------------------------------------------------------------

    def _storage(self, place: str, prefix: str, variables: list[Variable]) -> Block:
        written = self._get(f"{place}.provider").lower()
        provider = _PROVIDERS.get(written)
        if provider is None:
            provider = "s3"
            self._note(f"storage of type {written} is not known; it is taken for a store that speaks S3")
        root = self._get(f"{place}.rootpath")
        if provider == "local":
            return {"provider": provider, "root_path": root}
        block: Block = {"provider": provider}
        if endpoint := self._endpoint(place, provider):
            block["endpoint"] = endpoint
        if region := self._get(f"{place}.region"):
            block["region"] = region
        block["bucket"] = self._get(f"{place}.bucketname")
        if provider == "azure":
            block["account"] = self._get(f"{place}.accountname")
        block["root_path"] = root
        block["credentials"] = self._credentials(place, prefix, variables)
        return block

    def _endpoint(self, place: str, provider: str) -> str | None:
        address, port = self._get(f"{place}.address"), self._get(f"{place}.port")
        if address == _OWN_ADDRESSES.get(provider):
            return None
        return _web_address(address, port, is_secure=self._get(f"{place}.usessl") in _TRUE)

    def _credentials(self, place: str, prefix: str, variables: list[Variable]) -> Block:
        kind = self._get(f"{place}.auth.type").lower() or "static"
        what = "the staging storage" if prefix == "STAGING" else f"the {self._side}'s storage"
        if kind == "iam":
            endpoint = self._get(f"{place}.auth.endpoint")
            return {"type": "iam", **({"iam_endpoint": endpoint} if endpoint else {})}
        if kind == "sharedkey":
            name = f"{prefix}_ACCOUNT_KEY"
            return {"type": "shared_key", "account_key": self._secret(name, f"account key of {what}", variables)}
        if kind == "serviceaccount":
            return {"type": "service_account", "credentials_file": self._key_file(place, prefix)}
        if kind == "default":
            return {"type": "default"}
        return self._static(place, prefix, what, variables)

    def _key_file(self, place: str, prefix: str) -> str:
        """Where the key lies; some configurations hold the key itself, which does not come along."""
        written = self._get(f"{place}.auth.credentialsfile")
        if written and not written.startswith(("{", "-")) and "\n" not in written:
            return written
        file = f"{prefix.lower()}-service-account.json"
        self._note(f"it holds a service account's key itself, or none: write the key into {file}, out of git")
        return file

    def _static(self, place: str, prefix: str, what: str, variables: list[Variable]) -> Block:
        block: Block = {"type": "static"}
        names = {"access_key_id": "access key", "secret_access_key": "secret key"}
        if self._get(f"{place}.auth.sessiontoken"):
            names["session_token"] = "session token"  # noqa: S105 - what it is called
        for key, meaning in names.items():
            block[key] = self._secret(f"{prefix}_{key.upper()}", f"{meaning} of {what}", variables)
        return block


def _web_address(address: str, port: str, *, is_secure: bool) -> str:
    """`http://host:port`; the address may bring a scheme or a port of its own."""
    if "://" in address:
        return address
    host = f"[{address}]" if address.count(":") > 1 and not address.startswith("[") else address
    has_port = urlsplit(f"//{host}").port is not None
    return f"{'https' if is_secure else 'http'}://{host}{'' if has_port or not port else f':{port}'}"
