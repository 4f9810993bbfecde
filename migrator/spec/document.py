"""What people write: the plan file and the clusters file, block by block.

A model says what a block may hold and how each value is written. What holds between blocks is in
`rules_*.py`; what this version cannot do yet, in `unsupported.py`. The descriptions end up in
`schemas/*.json`, where editors show them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from migrator.spec.fault import Fault
from migrator.spec.fields import (
    AlsoAccepts,
    BackupName,
    BucketName,
    Duration,
    FilePath,
    Names,
    PlanName,
    RootPath,
    Scalar,
    Size,
    SpecModel,
    Text,
    VariableName,
    WebAddress,
)

Provider: TypeAlias = Literal["local", "minio", "s3", "aws", "gcp", "azure", "aliyun", "tencent"]
TlsMode: TypeAlias = Literal["disabled", "server", "mutual"]
ConsistencyLevel: TypeAlias = Literal["Strong", "Session", "Bounded", "Eventually"]
IfExists: TypeAlias = Literal["fail", "skip", "replace"]
LoadWhen: TypeAlias = Literal["as_source", "always", "never"]
IndexWord: TypeAlias = Literal["rebuild", "auto", "none"]
AliasWord: TypeAlias = Literal["copy", "move", "none"]
VerifyLevel: TypeAlias = Literal["none", "counts", "sample", "full"]
TransferMode: TypeAlias = Literal["auto", "server_side", "stream", "in_place"]

MIN_PART = 5 * 1024**2  # S3's limits of one part and of one copy request
MAX_PART = 5 * 1024**3


class SecretRef(SpecModel):
    """Where a secret is found; never the secret itself, because plan files live in git."""

    model_config = ConfigDict(
        json_schema_extra={"minProperties": 1, "maxProperties": 1, "examples": [{"env": "MILVUS_PASSWORD"}]}
    )

    env: str | None = Field(None, description="Name of an environment variable.", examples=["MILVUS_PASSWORD"])
    file: FilePath | None = Field(
        None,
        description="A file that holds the secret; one newline at its end is dropped.",
        examples=["/run/s"],
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_literal(cls, value: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
        if isinstance(value, dict | SecretRef):
            return value
        raise Fault("must be a reference, not the secret itself", "write {env: NAME} or {file: path}")

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise Fault("must name either env or file", "write {env: NAME} or {file: path}")
        if self.env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.env):
            raise Fault("does not name an environment variable", "write the bare name, as {env: MILVUS_PASSWORD}")
        return self

    def __str__(self) -> str:
        return f"the file {self.file}" if self.env is None else f"the environment variable {self.env}"


def _identifier_kind(value: object) -> str | None:
    if isinstance(value, str):
        return "<text>"
    return "<secret>" if isinstance(value, dict | SecretRef) else None


Identifier: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[SecretRef, Tag("<secret>")],
    Discriminator(
        _identifier_kind,
        custom_error_type="identifier",
        custom_error_message="must be text, {{env: NAME}} or {{file: path}}",
    ),
]
"""Identifies, and opens nothing by itself: literal or a reference."""


class Tls(SpecModel):
    """How the connection to Milvus is secured."""

    mode: TlsMode = Field("server", description="Who proves an identity: nobody, the server, or both sides.")
    ca_cert: FilePath | None = Field(None, description="PEM file of the authority that signed the server's.")
    client_cert: FilePath | None = Field(None, description="PEM file of our certificate; mode mutual only.")
    client_key: FilePath | None = Field(None, description="PEM file of our private key; mode mutual only.")
    server_name: Text | None = Field(None, description="Name in the server's certificate, where not its host's.")


class Milvus(SpecModel):
    """A Milvus server, and who we are there."""

    uri: WebAddress = Field(
        description="The gRPC endpoint.", examples=["http://milvus_A:19530", "https://milvus.example.com:443"]
    )
    username: Text | None = Field(None, description="User; needs `password`.", examples=["root"])
    password: SecretRef | None = Field(None, description="Password of `username`, by reference.")
    token: SecretRef | None = Field(None, description="API key or user:password, instead of username and password.")
    tls: Tls | None = Field(None, description="Certificates; https in `uri` alone means the system's authorities.")
    rest_uri: WebAddress | None = Field(None, description="REST endpoint, only when it is not on the same port.")
    management_uri: WebAddress | None = Field(
        None, description="Management endpoint (port 9091), for pausing garbage collection."
    )


class StaticCredentials(SpecModel):
    """A fixed pair of keys."""

    type: Literal["static"]
    access_key_id: Identifier = Field(description="Access key; not secret, may be literal.")
    secret_access_key: SecretRef = Field(description="Secret key, by reference.")
    session_token: SecretRef | None = Field(None, description="Token of a temporary pair, by reference.")


class IamCredentials(SpecModel):
    """What the machine's role gives."""

    type: Literal["iam"]
    iam_endpoint: WebAddress | None = Field(
        None, description="Where the role's keys are asked for; default: the machine's own address."
    )


class DefaultCredentials(SpecModel):
    """What the provider's own tools would find: environment, profile, role."""

    type: Literal["default"]


class SharedKeyCredentials(SpecModel):
    """The key of an Azure storage account."""

    type: Literal["shared_key"]
    account_key: SecretRef = Field(description="Account key, by reference.")


class ServiceAccountCredentials(SpecModel):
    """A Google service account's key file."""

    type: Literal["service_account"]
    credentials_file: FilePath = Field(description="The JSON key file.")


class NoCredentials(SpecModel):
    """Anonymous requests."""

    type: Literal["none"]


CREDENTIAL_TYPES = ("static", "iam", "default", "shared_key", "service_account", "none")


def _credentials_kind(value: object) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{kind}>"


def _credentials_block(value: object) -> object:
    if isinstance(value, dict | SpecModel):
        return value
    raise Fault("must be a map of keys and values", "write {type: static, ...}, or another type with its keys")


_CredentialsByType: TypeAlias = Annotated[
    Annotated[StaticCredentials, Tag("<static>")]
    | Annotated[IamCredentials, Tag("<iam>")]
    | Annotated[DefaultCredentials, Tag("<default>")]
    | Annotated[SharedKeyCredentials, Tag("<shared_key>")]
    | Annotated[ServiceAccountCredentials, Tag("<service_account>")]
    | Annotated[NoCredentials, Tag("<none>")],
    Discriminator(
        _credentials_kind,
        custom_error_type="credentials_type",
        custom_error_message=f"must be one of {', '.join(CREDENTIAL_TYPES)}",
    ),
]
Credentials: TypeAlias = Annotated[_CredentialsByType, BeforeValidator(_credentials_block)]

_ENDPOINT = Field(
    None,
    description="Address of the store; https means SSL. Default: the provider's own.",
    examples=["http://minio:9000"],
)
_REGION = Field(
    None, description="Region of the bucket; aliyun and tencent have it in their address.", examples=["us-east-1"]
)
_VIRTUAL_HOST = Field(
    None, description="Whether the bucket's name stands in the host's; default: for aliyun and tencent."
)
_CA_CERT = Field(None, description="PEM file of the authority that signed the store's certificate.")
_BUCKET = Field(None, description="Bucket; azure: the container; local: none.", examples=["a-bucket", "bucket_A"])
_ACCOUNT = Field(None, description="Storage account; azure only.")
_CREDENTIALS = Field(None, description="Who we are at the store; local: none.")


class Storage(SpecModel):
    """Where a Milvus keeps its files."""

    provider: Provider = Field(description="Kind of store; minio and s3 are any store that speaks S3.")
    endpoint: WebAddress | None = _ENDPOINT
    region: Text | None = _REGION
    virtual_host_style: bool | None = _VIRTUAL_HOST
    ca_cert: FilePath | None = _CA_CERT
    bucket: BucketName | None = _BUCKET
    account: Text | None = _ACCOUNT
    root_path: RootPath = Field(
        description="Milvus's minio.rootPath (usually files); local: a directory.", examples=["files"]
    )
    credentials: Credentials | None = _CREDENTIALS


class StagingStorage(SpecModel):
    """Where the dump goes; what is left out is taken from `target.storage`."""

    provider: Provider | None = Field(None, description="Kind of store.")
    endpoint: WebAddress | None = _ENDPOINT
    region: Text | None = _REGION
    virtual_host_style: bool | None = _VIRTUAL_HOST
    ca_cert: FilePath | None = _CA_CERT
    bucket: BucketName | None = _BUCKET
    account: Text | None = _ACCOUNT
    credentials: Credentials | None = _CREDENTIALS


class Cluster(SpecModel):
    """A Milvus and the storage behind it."""

    protected: bool = Field(default=False, description="true: may never be a target.")
    milvus: Milvus = Field(description="The server.")
    storage: Storage = Field(description="The store that this server keeps its files in.")


class BackupDump(SpecModel):
    """A dump that milvus-backup or an earlier run made."""

    storage: Storage = Field(description="Where it lies; `root_path` is the folder above it.")
    name: BackupName = Field(description="Its name.")


class BackupSource(SpecModel):
    """A source that is a dump instead of a cluster."""

    backup: BackupDump = Field(description="The dump to restore.")


def _source_kind(value: object) -> str | None:
    if isinstance(value, str):
        return "<name>"
    if isinstance(value, BackupSource) or (isinstance(value, dict) and "backup" in value):
        return "<backup>"
    return "<cluster>" if isinstance(value, dict | Cluster) else None


Source: TypeAlias = Annotated[
    Annotated[Text, Tag("<name>")] | Annotated[Cluster, Tag("<cluster>")] | Annotated[BackupSource, Tag("<backup>")],
    Discriminator(
        _source_kind,
        custom_error_type="cluster",
        custom_error_message="must be a cluster's name or a cluster",
    ),
]
Target: TypeAlias = Annotated[
    Annotated[Text, Tag("<name>")] | Annotated[Cluster, Tag("<cluster>")],
    Discriminator(
        _source_kind,
        custom_error_type="cluster",
        custom_error_message="must be a cluster's name or a cluster",
    ),
]


class Staging(SpecModel):
    """Where the dump goes: `<bucket>/<root_path>/<backup_name>/`."""

    storage: StagingStorage | None = Field(None, description="A store; what it leaves out, target.storage gives.")
    root_path: RootPath = Field(
        "backup", description="Folder of dumps; outside every Milvus root path. `vars` may be used."
    )
    backup_name: BackupName | None = Field(
        None,
        description="Name of this dump; default: the plan's name with - as _. `vars` may be used.",
        examples=["my_backup"],
    )
    keep: bool = Field(default=True, description="false: the dump is deleted after a verified run.")


class CreateOverrides(SpecModel):
    """What differs at the target from the source's collection; what is left out stays as it was."""

    shards_num: int | None = Field(None, ge=1, le=256, description="Number of shards.", examples=[2])
    consistency_level: ConsistencyLevel | None = Field(None, description="Default consistency of reads.")
    description: str | None = Field(None, description="The collection's description.")
    properties: dict[Text, Scalar] = Field(
        {},
        description="Collection properties, added to or replacing the source's.",
        examples=[{"collection.ttl.seconds": 0}],
    )


class IndexOverride(SpecModel):
    """One index to build instead of the source's."""

    field: Text = Field(description="The field it is on.", examples=["embedding"])
    index_type: Text = Field(description="Milvus's name of the kind.", examples=["HNSW", "IVF_FLAT", "AUTOINDEX"])
    metric_type: Text | None = Field(None, description="Distance, for vectors.", examples=["COSINE", "L2", "IP"])
    params: dict[Text, Scalar] = Field({}, description="Build parameters.", examples=[{"M": 16, "efConstruction": 200}])
    name: Text | None = Field(None, description="The index's name; default: as Milvus names it.")


def _word_or_list(value: object) -> str | None:
    if isinstance(value, str):
        return "<word>"
    return "<list>" if isinstance(value, list | tuple) else None


Indexes: TypeAlias = Annotated[
    Annotated[IndexWord, Tag("<word>")]
    | Annotated[tuple[IndexOverride, ...], Field(strict=False, min_length=1), Tag("<list>")],
    Discriminator(
        _word_or_list,
        custom_error_type="indexes",
        custom_error_message="must be rebuild, auto, none, or a list of indexes",
    ),
]
Aliases: TypeAlias = Annotated[
    Annotated[AliasWord, Tag("<word>")] | Annotated[Names, Tag("<list>")],
    Discriminator(
        _word_or_list,
        custom_error_type="aliases",
        custom_error_message="must be copy, move, none, or a list of alias names",
    ),
]


class MappingSettings(SpecModel):
    """How collections are carried over; the keys of a mapping but its source, and those of `defaults`."""

    target: Text | None = Field(
        None,
        description="[database.]collection at the target; Jinja2 with database, collection and vars. "
        "Omitted: the same name.",
        examples=["coll{{ vars.suffix }}", "{{ database }}.{{ collection }}_bak"],
    )
    exclude: Names = Field((), description="Patterns of sources to leave out.", examples=[["db1.tmp_*"]])
    partitions: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] = Field(
        ("*",), description="Partitions to carry over; names or globs.", examples=[["*"]]
    )
    if_exists: IfExists = Field("fail", description="What to do when the target has that collection already.")
    create: CreateOverrides = Field(CreateOverrides(), description="What differs from the source's collection.")
    indexes: Indexes = Field(
        "rebuild", description="rebuild: as the source's; auto: AUTOINDEX; none; or a list of indexes."
    )
    load: LoadWhen = Field("as_source", description="Whether the target's collection is loaded at the end.")
    aliases: Aliases = Field(
        "copy", description="copy: where free at the target; move: even if taken; none; or a list of names."
    )


class CollectionMapping(MappingSettings):
    """One collection, or all that match a pattern, and where they go."""

    source: Text = Field(
        description='[database.]collection with globs * ? [..]; "*" is the default database, "*.*" all.',
        examples=["coll", "db1.*"],
    )


def _mapping_of(value: object) -> object:
    return {"source": value} if isinstance(value, str) else value


CollectionEntry: TypeAlias = Annotated[
    CollectionMapping,
    BeforeValidator(_mapping_of),
    AlsoAccepts({"type": "string", "minLength": 1, "description": "A source; every default."}),
]


class Transfer(SpecModel):
    """How objects get into the staging folder."""

    mode: TransferMode = Field(
        "auto",
        description="server_side: the store copies; stream: through this machine; auto: whichever works; "
        "in_place: not at all, the target reads the source's own files.",
    )
    format: Literal["auto", "binlogs", "snapshots"] = Field(
        "auto",
        description="snapshots: of Milvus 3.0, restored by the target; binlogs: copied and imported; auto: snapshots "
        "where both servers have them and the mapping changes nothing of the collection.",
    )
    concurrency: int = Field(64, ge=1, le=4096, description="Objects under way at a time.")
    limit_bytes_per_s: Annotated[Size, Field(gt=0)] | None = Field(
        None, description="Of all workers together; null is unbounded."
    )
    part_size: Annotated[Size, Field(ge=MIN_PART, le=MAX_PART)] = Field(
        64 * 1024**2, description="Size of one part of a large object."
    )
    multipart_threshold: Annotated[Size, Field(ge=MIN_PART, le=MAX_PART)] = Field(
        512 * 1024**2,
        description="Streamed objects from this size on are written in parts; from part_size on in any case.",
    )


def _word_or_number(value: object) -> str | None:
    if isinstance(value, str):
        return "<word>"
    return "<number>" if isinstance(value, int) and not isinstance(value, bool) else None


SegmentsPerJob: TypeAlias = Annotated[
    Annotated[Literal["auto"], Tag("<word>")] | Annotated[int, Field(ge=1), Tag("<number>")],
    Discriminator(_word_or_number, custom_error_type="segments", custom_error_message="must be auto or a whole number"),
]


class ImportOptions(SpecModel):
    """How the target's import jobs are fed."""

    max_jobs: int = Field(8, ge=1, le=1024, description="Import jobs under way at a time.")
    segments_per_job: SegmentsPerJob = Field(
        "auto",
        description="Partitions of more segments than this are imported segment by segment; auto: as sizes allow.",
    )
    stall_timeout: Duration = Field(
        1800.0, description="A job without progress for so long ends the run, which can be resumed."
    )


class Verify(SpecModel):
    """What is compared at the end."""

    level: VerifyLevel = Field("sample", description="none, row counts, a sample of rows, or all rows.")
    sample: int = Field(10_000, ge=1, description="Rows compared per collection at level sample.")
    seed: int = Field(7, ge=0, description="Chooses the sample; the same seed, the same rows.")
    load_source: bool = Field(default=False, description="Whether a source collection may be loaded for it.")


def _verify_of(value: object) -> object:
    return {"level": value} if isinstance(value, str) else value


class Retry(SpecModel):
    """How long a request that may succeed later is tried."""

    max_elapsed: Duration = Field(1800.0, description="In total.")
    max_backoff: Duration = Field(30.0, description="Longest pause between two tries.")


class Options(SpecModel):
    """How a run behaves; nothing here changes what is migrated."""

    flush: Literal["auto", "never"] = Field(
        "auto", description="auto: one flush per run; never: what is not flushed does not come along."
    )
    transfer: Transfer = Field(Transfer(), description="Copying of objects.")
    import_: ImportOptions = Field(ImportOptions(), alias="import", description="Import jobs.")
    verify: Annotated[
        Verify,
        BeforeValidator(_verify_of),
        AlsoAccepts({"enum": ["none", "counts", "sample", "full"], "description": "The level alone."}),
    ] = Field(Verify(), description="Comparison at the end.")
    retry: Retry = Field(Retry(), description="Patience with Milvus and storage.")
    pause_gc: Literal["auto", "always", "never"] = Field(
        "auto", description="Pause the source's garbage collection; auto: when its management_uri is set."
    )
    state: Literal["local", "staging"] = Field("local", description="Where the journal is kept.")
    rbac: bool = Field(default=False, description="Whether users, roles and grants come along.")


class PlanHeader(SpecModel):
    """The keys of a plan file that are values by themselves."""

    version: Literal[1] = Field(description="Version of this format.")
    name: PlanName = Field(description="Identity of the migration.", examples=["a-to-b"])
    description: str = Field("", description="For people.")
    vars: dict[VariableName, Scalar] = Field(
        {},
        description="Defaults of variables in templates; overridden by --var.",
        examples=[{"suffix": "_bak"}],
    )


class PlanDocument(PlanHeader):
    """A plan file."""

    clusters: FilePath | dict[Text, Cluster] | None = Field(
        None,
        description="A file of named clusters, or such a map; --clusters overrides it.",
        examples=["clusters.yaml"],
    )
    source: Source = Field(description="The cluster to read: a name out of `clusters`, or a block.")
    target: Target | None = Field(None, description="The cluster to write to. Omitted: a backup only.")
    staging: Staging = Field(Staging(), description="Where the dump goes.")
    defaults: MappingSettings = Field(MappingSettings(), description="Any key of a mapping, for all mappings.")
    collections: Annotated[tuple[CollectionEntry, ...], Field(strict=False, min_length=1)] = Field(
        description="What is migrated."
    )
    options: Options = Field(Options(), description="How a run behaves.")


class ClustersDocument(SpecModel):
    """A clusters file with a version."""

    version: Literal[1] = Field(1, description="Version of this format.")
    clusters: dict[Text, Cluster] = Field(description="Clusters by name.")
