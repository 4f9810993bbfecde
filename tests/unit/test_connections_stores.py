"""What a plan's storage comes to: the settings of a store, with its secrets read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.connections import open_source_store, open_staging
from migrator.errors import StoreRefused
from tests.support.spec_cases import load_text, plan_text

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.spec.loaded import LoadedPlan

SHARED = "{type: shared_key, account_key: {env: K}}"
AZURE = f"provider: azure, account: account1, bucket: box-1, root_path: files, credentials: {SHARED}"
TEMPORARY = "{type: static, access_key_id: literal, secret_access_key: {env: S}, session_token: {env: T}}"


def plan_with(folder: Path, source: str) -> LoadedPlan:
    return load_text(folder, plan_text(source=f"{{milvus: {{uri: 'http://milvus_A:19530'}}, storage: {{{source}}}}}"))


def test_an_account_s_key_is_read_when_its_store_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_with(tmp_path, AZURE)
    with pytest.raises(StoreRefused, match="K is not set") as caught:
        open_source_store(plan, 1.0)
    assert "source.storage.credentials.account_key" in caught.value.message
    monkeypatch.setenv("K", "c2VjcmV0")
    store = open_source_store(plan, 1.0)
    assert store.place == "https://account1.blob.core.windows.net/box-1"
    assert store._endpoint.account_key == "c2VjcmV0"
    assert "c2VjcmV0" not in repr(store._endpoint)


def test_temporary_keys_come_with_their_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", "secret")
    monkeypatch.setenv("T", "token")
    source = f"provider: aliyun, region: cn-x, bucket: box-1, root_path: files, credentials: {TEMPORARY}"
    found = open_source_store(plan_with(tmp_path, source), 1.0)._endpoint
    assert (found.provider, found.bucket_url) == ("aliyun", "https://box-1.oss-cn-x.aliyuncs.com")
    assert (found.access_key_id, found.secret_access_key, found.session_token) == ("literal", "secret", "token")
    assert not {"secret", "token"} & set(repr(found).split("'"))


def test_staging_has_the_target_s_keys_and_none_of_the_source_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "target-key")
    monkeypatch.setenv("SECRET", "target-secret")
    found = open_staging(plan_with(tmp_path, AZURE), 1.0)._endpoint
    assert (found.provider, found.access_key_id, found.account_key) == ("minio", "target-key", None)
