"""`migrator init`: what it writes loads, says what the configurations said, and holds no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from migrator.cli import app
from migrator.spec.load import LoadedPlan, load_plan

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.spec.document import Cluster, Credentials

OLD_A = """
milvus: {address: milvus_A, port: 19530, authorizationEnabled: false, tlsMode: 0, user: "root", password: "Top-Secret"}
minio:
  storageType: "minio"
  address: milvus_A
  port: 9000
  accessKeyID: key-of-a
  secretAccessKey: Top-Secret
  useSSL: false
  bucketName: "bucket_A"
  rootPath: "files_A"
  backupBucketName: "bucket_A"
  backupRootPath: "backup"
"""
OLD_B = OLD_A.replace("milvus_A", "milvus_B").replace("files_A", "files_B")
NEW = """
configVersion: v2
milvus:
  user: root
  password: Top-Secret
  grpc: {address: milvus-proxy, port: 19531, tlsMode: mutual, caCertPath: /c/ca.pem, serverName: milvus.example.com,
         mtlsCertPath: /c/client.pem, mtlsKeyPath: /c/client.key}
  storage:
    provider: s3
    address: s3.us-west-2.amazonaws.com
    port: 443
    region: us-west-2
    useSSL: true
    bucketName: milvus-bucket
    rootPath: files
    auth: {type: static, accessKeyID: ak, secretAccessKey: Top-Secret, sessionToken: Top-Secret}
backup: {storage: {bucketName: backup-bucket, rootPath: backup}}
transfer: {mode: streaming}
"""


def run_init(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["init", str(folder / "plan.yaml"), *arguments])


def converted(folder: Path, one: str, other: str | None = None, *arguments: str) -> LoadedPlan:
    """The plan made of configurations; their secrets are not in it, nor in what was printed."""
    options = []
    for option, text in (("--from-backup-config", one), ("--to-backup-config", other)):
        if text is not None:
            file = folder / f"{option.strip('-')}.yaml"
            file.write_text(text, encoding="utf-8")
            options += [option, str(file)]
    result = run_init(folder, *options, *arguments)
    written = (folder / "plan.yaml").read_text(encoding="utf-8")
    assert "Top-Secret" not in written + result.output
    assert result.exit_code == 0, result.output
    return load_plan(folder / "plan.yaml")


def cluster(found: Cluster | None) -> Cluster:
    assert found is not None
    return found


def keys_of(credentials: Credentials | None) -> dict[str, object]:
    assert credentials is not None
    return credentials.model_dump(exclude_none=True)


def test_without_terminal_and_flags_a_sound_example_is_written(tmp_path: Path) -> None:
    result = run_init(tmp_path)
    assert result.exit_code == 0, result.output
    assert load_plan(tmp_path / "plan.yaml").name == "plan"
    assert "SOURCE_SECRET_ACCESS_KEY" in result.output


def test_flags_are_what_the_plan_says(tmp_path: Path) -> None:
    flags = {
        "--name": "Nightly Move", "--collection": "db1.*", "--suffix": "_bak", "--backup-name": "my_backup",
        "--source-uri": "http://a:19530", "--source-user": "root", "--source-endpoint": "http://s:9000",
        "--source-bucket": "one", "--source-root-path": "files", "--target-uri": "https://b:443",
        "--target-bucket": "two", "--target-root-path": "files",
    }  # fmt: skip
    result = run_init(tmp_path, *(word for pair in flags.items() for word in pair))
    assert result.exit_code == 0, result.output
    plan = load_plan(tmp_path / "plan.yaml")
    assert plan.name == "nightly-move"
    assert cluster(plan.source).milvus.username == "root"
    assert (plan.source_storage.bucket, cluster(plan.target).storage.bucket) == ("one", "two")
    assert cluster(plan.target).storage.endpoint == "http://s:9000"
    assert plan.staging.backup_name == "my_backup"
    assert [each.target for each in plan.mappings] == ["{{ database }}.{{ collection }}{{ vars.suffix }}"]


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("mine", encoding="utf-8")
    result = run_init(tmp_path)
    assert result.exit_code == 2
    assert "exists already" in result.output
    assert (tmp_path / "plan.yaml").read_text(encoding="utf-8") == "mine"
    assert run_init(tmp_path, "--force").exit_code == 0
    assert load_plan(tmp_path / "plan.yaml").name == "plan"


def test_the_guides_two_configurations_become_one_plan(tmp_path: Path) -> None:
    plan = converted(tmp_path, OLD_A, OLD_B, "--collection", "coll", "--suffix", "_bak", "--backup-name", "my_backup")
    source, target = cluster(plan.source), cluster(plan.target)
    assert (source.milvus.uri, target.milvus.uri) == ("http://milvus_A:19530", "http://milvus_B:19530")
    assert source.milvus.username is None  # authorizationEnabled: false
    assert (source.storage.endpoint, source.storage.root_path) == ("http://milvus_A:9000", "files_A")
    assert (target.storage.bucket, target.storage.root_path) == ("bucket_A", "files_B")
    assert (plan.staging.storage.bucket, plan.staging.prefix) == ("bucket_A", "backup/my_backup")
    assert keys_of(source.storage.credentials)["secret_access_key"] == {"env": "SOURCE_SECRET_ACCESS_KEY"}


def test_one_configuration_of_the_new_kind_becomes_a_backup(tmp_path: Path) -> None:
    plan = converted(tmp_path, NEW)
    source = cluster(plan.source)
    assert plan.target is None
    assert source.milvus.uri == "https://milvus-proxy:19531"
    assert source.milvus.tls is not None
    assert (source.milvus.tls.mode, source.milvus.tls.server_name) == ("mutual", "milvus.example.com")
    assert (plan.staging.storage.bucket, plan.staging.storage.region) == ("backup-bucket", "us-west-2")
    assert "session_token" in keys_of(plan.staging.storage.credentials)
    assert plan.options.transfer.mode == "stream"


@pytest.mark.parametrize(
    ("storage", "provider", "kind"),
    [
        ("cloudProvider: ali, address: oss-cn-hangzhou.aliyuncs.com, port: 443, useSSL: true", "aliyun", "static"),
        ("storageType: aws, address: s3.x.amazonaws.com, useIAM: true, iamEndpoint: 'http://iam:80'", "aws", "iam"),
        ("storageType: azure, address: core.windows.net, accessKeyID: acc, secretAccessKey: k", "azure", "shared_key"),
        ("storageType: gcpnative, address: storage.googleapis.com", "gcp", "service_account"),
        ("storageType: tc, address: cos.ap-x.myqcloud.com", "tencent", "static"),
    ],
)
def test_each_provider_of_the_old_kind_has_its_own(tmp_path: Path, storage: str, provider: str, kind: str) -> None:
    plan = converted(tmp_path, f"milvus: {{address: m}}\nminio: {{gcpCredentialJSON: /k.json, {storage}}}\n")
    assert plan.source_storage.provider == provider
    assert keys_of(plan.source_storage.credentials)["type"] == kind
    assert plan.staging.storage.provider == provider
    assert plan.staging.prefix.startswith("backup/")  # and not into the Milvus's own folder, as the old tool did
    if provider == "azure":
        assert plan.source_storage.account == "acc"


def test_a_backup_at_another_service_is_named_in_full(tmp_path: Path) -> None:
    elsewhere = "\n  backupAddress: vault\n  backupSecretAccessKey: Top-Secret-2\n"
    plan = converted(tmp_path, OLD_A, OLD_B + elsewhere)
    assert plan.staging.storage.endpoint == "http://vault:9000"
    assert keys_of(plan.staging.storage.credentials)["access_key_id"] == {"env": "STAGING_ACCESS_KEY_ID"}


@pytest.mark.parametrize("text", ["collections: [a]\n", "configVersion: v7\nmilvus: {address: m}\n", "milvus: [\n"])
def test_what_is_no_such_configuration_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "backup.yaml"
    file.write_text(text, encoding="utf-8")
    result = run_init(tmp_path, "--from-backup-config", str(file))
    assert result.exception is not None
    assert not (tmp_path / "plan.yaml").exists()


def test_a_key_that_stands_in_a_configuration_itself_is_left_there(tmp_path: Path) -> None:
    key = '\'{"type": "service_account", "private_key": "Top-Secret"}\''
    minio = f"{{storageType: gcpnative, address: storage.googleapis.com, gcpCredentialJSON: {key}}}"
    plan = converted(tmp_path, f"milvus: {{address: m}}\nminio: {minio}\n")
    assert "source-service-account.json" in str(keys_of(plan.source_storage.credentials)["credentials_file"])


def test_every_provider_with_every_kind_of_credentials_becomes_a_plan(tmp_path: Path) -> None:
    providers = (
        *("local", "minio", "s3", "aws", "gcp", "gcpnative", "azure", "ali"),
        *("aliyun", "alibaba", "tc", "tencent", "hwc", "Azure", "elsewhere"),
    )
    for provider in providers:
        root = "/data" if provider == "local" else ""
        for kind in ("static", "iam", "sharedKey", "serviceAccount", "default"):
            auth = f"{{type: {kind}, accessKeyID: a, secretAccessKey: Top-Secret, sessionToken: Top-Secret}}"
            place = f"provider: {provider}, bucketName: bkt, accountName: acc, rootPath: {root}/files, auth: {auth}"
            backup = f"{{provider: minio, rootPath: {root}/backup}}"
            folder = tmp_path / f"{provider}-{kind}"
            folder.mkdir()
            text = f"configVersion: v2\nmilvus: {{grpc: {{address: m}}, storage: {{address: h, {place}}}}}\n"
            converted(folder, f"{text}backup: {{storage: {backup}}}\n")


@pytest.mark.parametrize(
    ("text", "said", "noted"),
    [
        ("milvus: {address: m, port: abc}\nminio: {address: x}", "http://m:19530", "abc is no port"),
        ('milvus: {address: "${HOST:-m2}", port: "$PORT"}\nminio: {}', "http://m2:19530", "filled in by another tool"),
        ("milvus: {address: 'http://root:Top-Secret@m:1'}\nminio: {}", "http://m:1", "login in front of m:1"),
        ("milvus:\nminio:\n", "http://localhost:19530", "names no address"),
        ("\ufeffmilvus: {address: m, address: m3}\nminio: {x: &a [1]}\nall: {}", "http://m3:19530", "minio.x"),
        ("b: &b {port: 7}\nmilvus: {<<: *b, address: m}\nminio: {bucketName: 0777}", "http://m:7", "b.port"),
        ("configVersion: 2\nmilvus: {grpc: {address: m, tlsMode: 1}}", "https://m:19530", ""),
        ("milvus: {grpc: {address: m, port: '7'}}", "http://m:7", ""),
        ("milvus: {address: m}\nminio: {storageType: local, rootPath: data}", "http://m:19530", "is relative"),
        ("milvus: {address: m}\nminio: {storageType: azure}", "http://m:19530", "names no storage account"),
        (
            "milvus: {address: m}\nminio: {rootPath: /f/, backupBucketName: '', backupRootPath: backup}",
            "http://m:19530",
            "",
        ),
    ],
)
def test_what_is_missing_or_odd_is_said_and_the_plan_is_sound(tmp_path: Path, text: str, said: str, noted: str) -> None:
    plan = converted(tmp_path, text)
    assert cluster(plan.source).milvus.uri == said
    written = (tmp_path / "plan.yaml").read_text(encoding="utf-8")
    assert noted in written
    assert ("Please look at:" in written) == bool(noted)


def test_configurations_of_both_generations_go_together_and_one_can_be_both_sides(tmp_path: Path) -> None:
    plan = converted(tmp_path, NEW, OLD_B)
    assert cluster(plan.source).milvus.uri == "https://milvus-proxy:19531"
    assert (plan.staging.storage.bucket, plan.staging.prefix) == ("bucket_A", "backup/plan")
    (tmp_path / "both").mkdir()
    converted(tmp_path / "both", OLD_A, OLD_A, "--suffix", "_bak")
    assert "one and the same Milvus" in (tmp_path / "both" / "plan.yaml").read_text(encoding="utf-8")
