"""milvus-backup's configuration files, of both their generations, as blocks of a plan file.

Names, defaults and what is inherited from where are those of milvus-backup 0.5 and 0.6: the second generation says
`configVersion: v2`, the first says nothing. Values of secrets are never carried over, only whether there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from migrator.errors import Complaint, SpecError
from migrator.spec.foreign_values import fill, read_values
from migrator.spec.places import is_within

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.spec.foreign_values import ForeignValues
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
_LOGIN = frozenset({"milvus.user", "milvus.password", "milvus.authorizationenabled"})
_OLD_KEYS = (
    _LOGIN
    | {old for olds in _OLD_NAMES.values() for old in olds}
    | {f"minio.{prefix}{name}" for name in _OLD_STORAGE_NAMES.values() for prefix in ("", "backup")}
    | {"minio.crossstorage"}
)
_STORAGE_KEYS = {*_OLD_STORAGE_NAMES, "provider", "accountname", "localpath"} | {
    f"auth.{name}" for name in ("type", "accountkey", "iamendpoint")
}
_NEW_KEYS = (
    _LOGIN
    | {new for new in _OLD_NAMES if "storage" not in new}
    | {f"{side}.storage.{name}" for name in _STORAGE_KEYS for side in ("milvus", "backup")}
    | {"milvus.rest.endpoint", "transfer.mode"}
)
_OF_ITS_WORK = (
    "log.", "http.", "cloud.", "restore.", "transfer.", "backup.parallelism.", "backup.concurrency.",
    "backup.keeptempfiles", "backup.maxsegmentgroupsize", "milvus.rpcchannelname",
)  # fmt: skip
"""How that tool works: of no meaning for a plan, and nothing to look at."""
_SECRETS = ("password", "accesskeyid", "secretaccesskey", "sessiontoken", "accountkey", "credentialsfile")
_NO_NAMES = ("port", "ssl", "iam", "mode", "provider", "type", "enabled", "pausegc")
"""The ends of keys that a name cannot stand for: without a value they have their default."""
_KINDS = {
    "azure": {"static": "sharedkey", "serviceaccount": "default"},
    "gcpnative": {"static": "serviceaccount", "sharedkey": "serviceaccount"},
    "": {"sharedkey": "static", "serviceaccount": "static"},
}
"""What a provider has in the place of a kind of credentials that it does not have."""
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
    file = read_values(path, what="milvus-backup configuration")
    written = file.texts.pop("configversion", "")
    version = written.lower().lstrip("v") or _generation(file.texts)
    if version not in {"1", "2"} or not {"milvus", "minio", "storage"} & file.sections:
        what = "it has no milvus or minio" if version in {"1", "2"} else f"configVersion {written} is not known"
        raise SpecError(
            [Complaint(f"{path} is not a configuration of milvus-backup: {what}", hint="name its backup.yaml")]
        )
    values = _renamed(file.texts) if version == "1" else file.texts
    reading = _Reading(values, side, path.name)
    reading.note_unknown(file, _OLD_KEYS if version == "1" else _NEW_KEYS)
    reading.fill_placeholders()
    return reading.read()


def _generation(texts: dict[str, str]) -> str:
    """Whose keys these are, where no configVersion says it."""
    return "2" if any(key.startswith(("milvus.grpc.", "milvus.storage.", "backup.storage.")) for key in texts) else "1"


def _renamed(old: dict[str, str]) -> dict[str, str]:
    """Values of the first generation under the names of the second."""
    names = dict(_OLD_NAMES)
    for new, name in _OLD_STORAGE_NAMES.items():
        names[f"milvus.storage.{new}"] = (f"minio.{name}",)
        names[f"backup.storage.{new}"] = (f"minio.backup{name}",)
    found = {new: next((old[key] for key in olds if key in old), None) for new, olds in names.items()}
    values = {key: value for key, value in found.items() if value is not None}
    values |= {key: old[key] for key in _LOGIN if key in old}
    if old.get("minio.crossstorage", "").lower() in _TRUE:
        values["transfer.mode"] = "streaming"
    # The old tool took the Milvus's own root path where none was named for backups.
    values.setdefault("backup.storage.rootpath", values.get("milvus.storage.rootpath", "files"))
    for side in ("milvus", "backup"):
        _rename_keys(values, f"{side}.storage")
    return values


def _rename_keys(values: dict[str, str], place: str) -> None:
    """The first generation put every provider's keys into one pair of fields."""
    provider = values.get(f"{place}.provider") or values.get("milvus.storage.provider", "")
    if (is_iam := values.get(f"{place}.useiam", "").lower()) in _TRUE:
        values[f"{place}.auth.type"] = "default" if provider == "azure" else "iam"
    elif provider == "azure":
        values[f"{place}.auth.type"] = "sharedkey"
    elif provider == "gcpnative":
        values[f"{place}.auth.type"] = "serviceaccount"
    elif is_iam:
        values[f"{place}.auth.type"] = "static"
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

    def note_unknown(self, file: ForeignValues, known: frozenset[str] | set[str]) -> None:
        """Tell what the plan does not have: a person knows whether it matters."""
        names = [file.names[key] for key in file.texts if key not in known and not key.startswith(_OF_ITS_WORK)]
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            self._note(f"not carried over: {', '.join(names[:8])}{more}")

    def fill_placeholders(self) -> None:
        """Put readable names where another tool fills something in; what a secret is does not matter here."""
        for key, text in list(self._values.items()):
            if key.endswith(_SECRETS):
                continue
            needs_more = key.endswith(_NO_NAMES)
            filled = fill(text, _DEFAULTS.get(key, "false") if needs_more else "")
            if filled is not None:
                self._values[key] = filled
                self._note(f"{text} is filled in by another tool; the plan says {filled}: correct it")

    def read(self) -> ForeignConfig:
        found = self._found
        if not {"milvus.grpc.address", "milvus.grpc.port"} & set(self._values):
            self._note("it names no address of a Milvus; the plan says localhost:19530")
        found.milvus = self._milvus()
        found.storage = self._storage("milvus.storage", self._side.upper(), found.variables)
        found.backup_storage = self._storage("backup.storage", "STAGING", found.backup_variables)
        if self._is_one_service() and self._has_same_keys():
            found.backup_storage["credentials"] = found.storage["credentials"]
            found.backup_variables = []
        root = self._root("backup.storage", str(found.backup_storage["provider"])) or "backup"
        own = str(found.storage["root_path"])
        shares_bucket = self._is_one_service() and found.storage.get("bucket") == found.backup_storage.get("bucket")
        if shares_bucket and (is_within(root, own) or is_within(own, root)):
            beside = f"{own.rpartition('/')[0]}/backup" if found.storage["provider"] == "local" else "backup"
            self._note(
                f"its backups went into {root!r}, the Milvus's own folder; this plan's dump goes into {beside!r}"
            )
            root = beside
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
            return self._get(key.replace("backup.", "milvus.", 1)) if self._inherits(key) else ""
        return _DEFAULTS.get(key, "")

    def _inherits(self, key: str) -> bool:
        """The backup's storage has what it does not name of the Milvus's; keys of another provider open nothing."""
        own, others = self._values.get("backup.storage.provider"), self._get("milvus.storage.provider")
        is_same = own is None or _PROVIDERS.get(own.lower()) == _PROVIDERS.get(others.lower())
        return not key.endswith(".rootpath") and (is_same or ".auth." not in key)

    def _note(self, text: str) -> None:
        note = f"{self._file}: {text}"
        if note not in self._found.notes:
            self._found.notes.append(note)

    def _secret(self, name: str, meaning: str, into: list[Variable]) -> Block:
        into.append(Variable(name, meaning))
        return {"env": name}

    # -- Milvus -----------------------------------------------------------------------------------------------------

    def _milvus(self) -> Block:
        mode = self._tls_mode()
        address, port = self._get("milvus.grpc.address"), self._port("milvus.grpc.port")
        block: Block = {"uri": self._web_address(address, port, is_secure=mode != "disabled")}
        block |= self._login()
        if mode != "disabled":
            block["tls"] = self._tls(mode)
        if rest := self._values.get("milvus.rest.endpoint", ""):
            block["rest_uri"] = self._web_address(rest, "", is_secure=False)
        management = self._values.get("milvus.management.endpoint", "")
        if management and self._get("backup.pausegc").lower() not in {"false", "0"}:
            block["management_uri"] = self._web_address(management, "", is_secure=False)
        return block

    def _tls_mode(self) -> str:
        written = self._get("milvus.grpc.tlsmode").lower()
        mode = _TLS_MODES.get(written, written)
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
        if self._get("milvus.authorizationenabled").lower() == "false":
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
        root = self._root(place, provider)
        if provider == "local":
            return {"provider": provider, "root_path": root}
        block: Block = {"provider": provider}
        if endpoint := self._endpoint(place, provider):
            block["endpoint"] = endpoint
        if region := self._get(f"{place}.region"):
            block["region"] = region
        block["bucket"] = self._get(f"{place}.bucketname")
        if provider == "azure":
            block["account"] = self._account(place)
        block["root_path"] = root
        block["credentials"] = self._credentials(place, prefix, variables)
        return block

    def _endpoint(self, place: str, provider: str) -> str | None:
        address, port = self._get(f"{place}.address"), self._port(f"{place}.port")
        if address == _OWN_ADDRESSES.get(provider):
            return None
        return self._web_address(address, port, is_secure=self._get(f"{place}.usessl").lower() in _TRUE)

    def _port(self, key: str) -> str:
        port = self._get(key)
        if port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536:
            return port
        default = _DEFAULTS.get(key.replace("backup.storage", "milvus.storage"), "")
        self._note(f"{port} is no port; the plan says {default}")
        return default

    def _web_address(self, address: str, port: str, *, is_secure: bool) -> str:
        """`http://host:port`; the address may bring a scheme, a port and a login of its own, which stays behind."""
        scheme, _, rest = address.rpartition("://")
        login, _, host = rest.rstrip("/").rpartition("@")
        if login:
            self._note(f"a login in front of {host} does not come along; say who logs in, and with which variable")
        host = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        try:
            has_port = urlsplit(f"//{host}").port is not None
        except ValueError:
            has_port = True  # a strange one, which whoever reads the plan is shown
        ending = "" if has_port or scheme or not port else f":{port}"
        return f"{scheme or ('https' if is_secure else 'http')}://{host}{ending}"

    def _root(self, place: str, provider: str) -> str:
        """The folder as a plan has it: from / on at a disk, without a slash at its ends in a bucket."""
        root = self._get(f"{place}.rootpath")
        if provider != "local":
            return root.strip("/")
        if not root.startswith("/"):
            self._note(f"the directory {root!r} is relative; the plan says {'/' + root!r}: write it from / on")
        return f"/{root.strip('/')}"

    def _account(self, place: str) -> str:
        name = self._get(f"{place}.accountname")
        if name and fill(name, "") is None:
            return name
        self._note("it names no storage account; the plan says 'account': correct it")
        return "account"

    def _credentials(self, place: str, prefix: str, variables: list[Variable]) -> Block:
        kind = self._kind(place)
        what = "the staging storage" if prefix == "STAGING" else f"the {self._side}'s storage"
        if kind == "iam":
            return self._role(place)
        if kind == "sharedkey":
            name = f"{prefix}_ACCOUNT_KEY"
            return {"type": "shared_key", "account_key": self._secret(name, f"account key of {what}", variables)}
        if kind == "serviceaccount":
            return {"type": "service_account", "credentials_file": self._key_file(place, prefix)}
        if kind == "default":
            return {"type": "default"}
        return self._static(place, prefix, what, variables)

    def _role(self, place: str) -> Block:
        endpoint = self._get(f"{place}.auth.endpoint") or self._get(f"{place}.auth.iamendpoint")
        if _PROVIDERS.get(self._get(f"{place}.provider").lower()) in {"aliyun", "tencent"}:
            endpoint = ""  # these ask for a role at one address only
        return {"type": "iam", **({"iam_endpoint": endpoint} if endpoint else {})}

    def _kind(self, place: str) -> str:
        """The kind of credentials, as the provider has it."""
        provider, kind = self._get(f"{place}.provider").lower(), self._get(f"{place}.auth.type").lower() or "static"
        return _KINDS.get(provider, _KINDS[""]).get(kind, kind)

    def _key_file(self, place: str, prefix: str) -> str:
        """Where the key lies; some configurations hold the key itself, which does not come along."""
        written = self._get(f"{place}.auth.credentialsfile")
        if written and not written.startswith(("{", "-", "$")) and "\n" not in written:
            return written
        file = f"{prefix.lower()}-service-account.json"
        self._note(f"it holds a service account's key itself, or none: write the key into {file}, out of git")
        return file

    def _static(self, place: str, prefix: str, what: str, variables: list[Variable]) -> Block:
        block: Block = {"type": "static"}
        names = {"access_key_id": "access key", "secret_access_key": "secret key"}
        is_google = self._get(f"{place}.provider").lower() == "gcp"  # whose HMAC keys have none
        if self._get(f"{place}.auth.sessiontoken") and not is_google:
            names["session_token"] = "session token"  # noqa: S105 - what it is called
        for key, meaning in names.items():
            block[key] = self._secret(f"{prefix}_{key.upper()}", f"{meaning} of {what}", variables)
        return block
