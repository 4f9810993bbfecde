"""What each provider of storage needs, and what it has no use for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.spec_cases import KEYS, SOURCE, complaints_of, load_text, only_complaint, plan_text

if TYPE_CHECKING:
    from pathlib import Path

ROLE = "{type: iam, iam_endpoint: 'http://h'}"
SHARED = "{type: shared_key, account_key: {env: K}}"
ACCOUNT_FILE = "{type: service_account, credentials_file: key.json}"
AZURE = "provider: azure, account: account1, bucket: container-a"


def source_with(store: str, keys: str) -> str:
    return f"{{milvus: {{uri: http://milvus_A:19530}}, storage: {{{store}, root_path: files_A, credentials: {keys}}}}}"


@pytest.mark.parametrize(
    ("store", "types"),
    [
        ("provider: minio, endpoint: http://h, bucket: b", [KEYS, ROLE, "{type: default}", "{type: none}"]),
        ("provider: s3, bucket: b", [KEYS, ROLE, "{type: default}", "{type: none}"]),
        ("provider: aws, bucket: b", [KEYS, ROLE, "{type: default}", "{type: none}"]),
        ("provider: gcp, bucket: b", [KEYS, ACCOUNT_FILE, ROLE, "{type: default}", "{type: none}"]),
        (AZURE, [SHARED, ROLE, "{type: default}", "{type: none}"]),
        ("provider: aliyun, region: r, bucket: bucket", [KEYS, "{type: iam}", "{type: default}", "{type: none}"]),
        ("provider: tencent, region: r, bucket: bucket-1", [KEYS, "{type: iam}", "{type: default}", "{type: none}"]),
    ],
)
def test_these_stores_are_there_with_these_credentials(tmp_path: Path, store: str, types: list[str]) -> None:
    for keys in types:
        loaded = load_text(tmp_path, plan_text(source=source_with(store, keys)))
        assert store.startswith(f"provider: {loaded.source_storage.provider}")


@pytest.mark.parametrize(
    ("store", "keys", "field", "message"),
    [
        ("provider: azure, bucket: container", SHARED, "account", "needs account"),
        ("provider: azure, account: a.blob.core, bucket: container", SHARED, "account", "not the name of an Azure"),
        ("provider: azure, account: account1, bucket: my_container", SHARED, "bucket", "not the name of an Azure"),
        (f"{AZURE}, virtual_host_style: true", SHARED, "virtual_host_style", "not for provider azure"),
        (AZURE, KEYS, "credentials.type", "not for provider azure"),
        ("provider: gcp, bucket: b", SHARED, "credentials.type", "not for provider gcp"),
        ("provider: gcp, bucket: b, account: a", ACCOUNT_FILE, "account", "azure alone"),
        (
            "provider: gcp, bucket: b, virtual_host_style: true",
            ACCOUNT_FILE,
            "virtual_host_style",
            "not for provider gcp",
        ),
        ("provider: gcp, bucket: b", "{type: service_account}", "credentials.credentials_file", "is missing"),
        (
            "provider: gcp, bucket: b",
            KEYS.replace("}}", "}, session_token: {env: T}}"),
            "credentials.session_token",
            "no session token",
        ),
        ("provider: aliyun, bucket: bucket", KEYS, "region", "needs region, or an endpoint"),
        ("provider: tencent, bucket: bucket", KEYS, "region", "needs region, or an endpoint"),
        ("provider: aliyun, region: r, bucket: Bucket_A", KEYS, "bucket", "cannot stand in a host's name"),
        ("provider: tencent, region: r, bucket: bucket", ROLE, "credentials.iam_endpoint", "one address only"),
        ("provider: s3, bucket: bucket_A, virtual_host_style: true", KEYS, "bucket", "cannot stand in a host's name"),
        (
            "provider: minio, endpoint: 'http://10.0.0.1:9000', bucket: bucket, virtual_host_style: true",
            KEYS,
            "endpoint",
            "an address of numbers",
        ),
    ],
)
def test_a_provider_gets_what_it_needs_and_no_more(
    tmp_path: Path, store: str, keys: str, field: str, message: str
) -> None:
    complaint = only_complaint(tmp_path, plan_text(source=source_with(store, keys)))
    assert complaint.field == f"source.storage.{field}"
    assert message in complaint.message
    assert complaint.hint


def test_a_bucket_with_any_name_goes_into_the_path(tmp_path: Path) -> None:
    store = "provider: aliyun, region: r, bucket: Bucket_A, virtual_host_style: false"
    load_text(tmp_path, plan_text(source=source_with(store, KEYS)))


@pytest.mark.parametrize(
    ("target", "staging"),
    [
        ("provider: minio, endpoint: 'http://h:9000', bucket: bucket-a", "provider: aws"),
        ("provider: aws, region: r, bucket: bucket-a", "provider: minio, endpoint: 'http://h:9000'"),
        ("provider: aws, region: r, bucket: bucket-a", "endpoint: 'http://h:9000'"),
        ("provider: aws, bucket: bucket-a", "provider: aliyun, region: r, bucket: bucket-b"),
        ("provider: gcp, bucket: bucket-a", "provider: aws, bucket: bucket-b"),
    ],
)
def test_keys_are_not_taken_over_to_another_service(tmp_path: Path, target: str, staging: str) -> None:
    text = plan_text(source=SOURCE, target=source_with(target, KEYS), more=f"staging: {{storage: {{{staging}}}}}\n")
    assert "not sent there" in complaints_of(tmp_path, text)["staging.storage.credentials"].message


def test_an_account_s_key_and_address_are_not_taken_over_to_another(tmp_path: Path) -> None:
    target = source_with(f"{AZURE}, endpoint: 'https://account1.blob.core.windows.net'", SHARED)
    more = "staging: {storage: {account: account2}}\n"
    found = complaints_of(tmp_path, plan_text(target=target, more=more))
    assert "not sent there" in found["staging.storage.credentials"].message
