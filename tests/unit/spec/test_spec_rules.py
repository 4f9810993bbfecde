"""What must hold between the blocks of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.spec.document import StaticCredentials
from tests.support.spec_cases import (
    KEYS,
    SOURCE,
    TARGET,
    complaints_of,
    load_text,
    only_complaint,
    place,
    plan_text,
    storage,
)

if TYPE_CHECKING:
    from pathlib import Path


def cluster(uri: str, store: str, *, milvus: str = "", more: str = "") -> str:
    return f"{{milvus: {{uri: '{uri}'{milvus}}}, storage: {store}{more}}}"


def test_all_complaints_come_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = plan_text(
        source=cluster("http://a:1", storage("files"), milvus=", username: u"),
        target=cluster("http://b:1", storage("files/inner"), more=", protected: true"),
        collections="[{source: x, target: z}, {source: y, target: default.z}, {source: x, taget: q}]",
        more="options: {retry: {max_elapsed: never}}\nname: twice\n",
    )
    found = complaints_of(tmp_path, text)
    assert list(found) == [
        "source.milvus.username",
        "target.storage.root_path",
        "target.protected",
        "collections[1].target",
        "collections[2].source",
        "collections[2].taget",
        "options.retry.max_elapsed",
        "name",
    ]


@pytest.mark.parametrize(
    ("milvus", "field", "message"),
    [
        (", username: root", "username", "username without password"),
        (", password: {env: P}", "password", "password without username"),
        (", username: u, password: {env: P}, token: {env: T}", "token", "token together with username"),
        (", tls: {mode: server}", "uri", "tls is server, and the address says http"),
        (", tls: {}", "uri", "tls is server, and the address says http"),
    ],
)
def test_a_connection_to_milvus_is_of_one_piece(tmp_path: Path, milvus: str, field: str, message: str) -> None:
    source = cluster("http://milvus_A:19530", storage("files_A"), milvus=milvus)
    complaint = only_complaint(tmp_path, plan_text(source=source))
    assert complaint.field == f"source.milvus.{field}"
    assert message in complaint.message
    assert complaint.hint


@pytest.mark.parametrize(
    ("tls", "fields"),
    [
        ("{mode: disabled}", {"mode"}),
        ("{mode: mutual}", {"client_cert", "client_key"}),
        ("{mode: mutual, client_cert: c.pem}", {"client_key"}),
        ("{mode: server, client_key: k.pem}", {"client_key"}),
    ],
)
def test_certificates_fit_the_mode(tmp_path: Path, tls: str, fields: set[str]) -> None:
    source = cluster("https://milvus_A:19530", storage("files_A"), milvus=f", tls: {tls}")
    assert set(complaints_of(tmp_path, plan_text(source=source))) == {f"source.milvus.tls.{key}" for key in fields}


@pytest.mark.parametrize(
    ("store", "field", "message"),
    [
        (
            "{provider: minio, endpoint: http://h, root_path: f, credentials: {type: none}}",
            "bucket",
            "needs bucket",
        ),
        (
            "{provider: minio, bucket: b, root_path: f, credentials: {type: none}}",
            "endpoint",
            "needs endpoint",
        ),
        ("{provider: aws, bucket: b, root_path: f}", "credentials", "credentials is missing"),
        (
            "{provider: aws, bucket: b, root_path: f, credentials: {}}",
            "credentials.type",
            "one of static, iam",
        ),
        (
            "{provider: aws, bucket: b, root_path: f, credentials: {type: iamm}}",
            "credentials.type",
            "one of static",
        ),
        ("{provider: aws, bucket: b, root_path: f, credentials: [x]}", "credentials", "must be a map"),
        (
            "{provider: aws, bucket: b, root_path: f, credentials: {type: static, access_key_id: a}}",
            "credentials.secret_access_key",
            "secret_access_key is missing",
        ),
        (
            ("{provider: aws, bucket: b, root_path: f, credentials: {type: static, secret_access_key: {env: S}}}"),
            "credentials.access_key_id",
            "access_key_id is missing",
        ),
        (
            "{provider: aws, bucket: b, root_path: f, account: x, credentials: {type: none}}",
            "account",
            "azure alone",
        ),
        (
            "{provider: aws, bucket: b, root_path: /f, credentials: {type: none}}",
            "root_path",
            "begins with a slash",
        ),
        (
            "{provider: aws, bucket: b/c, root_path: f, credentials: {type: none}}",
            "bucket",
            "not a bucket's name",
        ),
        ("{provider: aws, bucket: 5, root_path: f, credentials: {type: none}}", "bucket", "must be text"),
        (
            "{provider: aws, bucket: b, endpoint: h, root_path: f, credentials: {type: none}}",
            "endpoint",
            "http",
        ),
        (
            "{provider: asw, bucket: b, root_path: f, credentials: {type: none}}",
            "provider",
            "must be one of local",
        ),
        ("{provider: local, root_path: f}", "root_path", "must be absolute"),
        ("{provider: local, root_path: /f, bucket: b}", "bucket", "a local storage has no bucket"),
        (f"{{provider: local, root_path: /f, credentials: {KEYS}}}", "credentials", "has no credentials"),
    ],
)
def test_a_storage_has_what_its_provider_needs(tmp_path: Path, store: str, field: str, message: str) -> None:
    complaint = only_complaint(tmp_path, plan_text(source=cluster("http://milvus_A:19530", store)))
    assert complaint.field == f"source.storage.{field}"
    assert message in complaint.message


def test_credentials_fit_the_provider(tmp_path: Path) -> None:
    store = storage("files_A").replace(KEYS, "{type: shared_key, account_key: {env: K}}")
    found = complaints_of(tmp_path, plan_text(source=cluster("http://milvus_A:19530", store)))
    assert found.keys() == {"source.storage.credentials.type"}


def test_azure_needs_an_account(tmp_path: Path) -> None:
    store = "{provider: azure, bucket: c, root_path: f, credentials: {type: shared_key, account_key: {env: K}}}"
    found = complaints_of(tmp_path, plan_text(source=cluster("http://milvus_A:19530", store)))
    assert "needs account" in found["source.storage.account"].message


@pytest.mark.parametrize("bucket", ["bucket_A", "BUCKET", "a.b-c", "_x"])
def test_a_bucket_may_be_called_anything_a_server_accepts(tmp_path: Path, bucket: str) -> None:
    source = cluster("http://milvus_A:19530", storage("files_A", bucket=bucket))
    assert load_text(tmp_path, plan_text(source=source)).source_storage.bucket == bucket


@pytest.mark.parametrize(
    ("one", "other"),
    [("files", "files"), ("files", "files/b"), ("files/a", "files"), ("''", "files"), ("f/", "f")],
)
def test_two_instances_do_not_share_a_folder(tmp_path: Path, one: str, other: str) -> None:
    text = plan_text(source=cluster("http://a:19530", storage(one)), target=cluster("http://b:19530", storage(other)))
    found = complaints_of(tmp_path, text)
    assert "two Milvus instances share a folder" in found["target.storage.root_path"].message


def test_folders_next_to_each_other_are_fine(tmp_path: Path) -> None:
    text = plan_text(
        source=cluster("http://a:19530", storage("files")),
        target=cluster("http://b:19530", storage("files2")),
    )
    load_text(tmp_path, text)


def test_equal_folders_behind_different_endpoints_are_left_to_the_planner(tmp_path: Path) -> None:
    text = plan_text(
        source=cluster("http://a:19530", storage("files", host="one")),
        target=cluster("http://b:19530", storage("files", host="two")),
    )
    load_text(tmp_path, text)


@pytest.mark.parametrize("address", ["http://ONE:9000", "http://one:9000/"])
def test_one_endpoint_can_be_written_in_several_ways(tmp_path: Path, address: str) -> None:
    other = storage("files").replace("http://one:9000", address)
    text = plan_text(source=cluster("http://a:19530", storage("files")), target=cluster("http://b:19530", other))
    assert "target.storage.root_path" in complaints_of(tmp_path, text)


def test_a_clone_inside_one_instance_is_fine_under_another_name(tmp_path: Path) -> None:
    one = cluster("http://a:19530", storage("files"))
    same = cluster("http://A:19530", storage("files"))
    load_text(tmp_path, plan_text(source=one, target=same, collections="[{source: x, target: y}]"))


def test_a_mapping_onto_itself_is_left_to_the_planner(tmp_path: Path) -> None:
    """Whether two addresses are one Milvus is proven by what it holds, not by names; that needs the servers."""
    one = cluster("http://a:19530", storage("files"))
    load_text(tmp_path, plan_text(source=one, target=one, collections="[x]"))


@pytest.mark.parametrize(
    ("entries", "field"),
    [
        ("[x, default.x]", "collections[1].source"),
        ("['db.*', 'db.*']", "collections[1].source"),
        ("[{source: x, target: a}, {source: x, target: b}]", "collections[1].source"),
        ("[{source: x, target: z}, {source: y, target: default.z}]", "collections[1].target"),
        ("[z, {source: y, target: z}]", "collections[1].target"),
        ("[{source: y, target: z}, z]", "collections[1].target"),
        ("[{source: a.x, target: '{{ collection }}'}, x]", "collections[1].target"),
    ],
)
def test_sources_and_targets_are_named_once(tmp_path: Path, entries: str, field: str) -> None:
    complaint = only_complaint(tmp_path, plan_text(collections=entries))
    assert complaint.field == field
    assert "collections[0]" in complaint.message


def test_one_target_by_default_for_two_is_told_at_the_default(tmp_path: Path) -> None:
    complaint = only_complaint(tmp_path, plan_text(collections="[x, y]", more="defaults: {target: z}\n"))
    assert complaint.field == "defaults.target"


def test_no_index_and_always_loaded_contradict_each_other(tmp_path: Path) -> None:
    found = complaints_of(tmp_path, plan_text(collections="[{source: x, indexes: none, load: always}]"))
    assert "Milvus loads nothing without an index" in found["collections[0].load"].message


@pytest.mark.parametrize(
    ("entry", "field", "hint"),
    [
        ("{source: x, target: '{{ colection }}'}", "target", "did you mean collection?"),
        ("{source: x, target: '{{ vars.sufix }}'}", "target", "did you mean vars.suffix?"),
        ("{source: x, target: '{{ collection'}", "target", "quotes"),
        ("{source: x, target: \"{{ 'a' * 10**9 }}\"}", "target", "expression"),
        ("{source: x, target: '{{ collection }}-bak'}", "target", "letters"),
        ("{source: '{{ collection }}'}", "source", "there is: vars"),
        ("{source: x, exclude: ['{{ vars.y }}']}", "exclude[0]", "there is: suffix"),
    ],
)
def test_a_template_is_checked_before_anything_runs(tmp_path: Path, entry: str, field: str, hint: str) -> None:
    complaint = only_complaint(tmp_path, plan_text(collections=f"[{entry}]", more="vars: {suffix: _bak}\n"))
    assert complaint.field == f"collections[0].{field}"
    assert hint in complaint.hint
    assert place(complaint)[0] == 5


def test_a_template_for_a_pattern_is_tried_on_a_likely_name(tmp_path: Path) -> None:
    entry = "{source: 'prod_*', target: \"{{ collection.split('_')[1] }}\"}"
    load_text(tmp_path, plan_text(collections=f"[{entry}]"))


@pytest.mark.parametrize("root_path", ["files_B", "files_B/backup", "''"])
def test_the_dump_stays_out_of_milvus_folders(tmp_path: Path, root_path: str) -> None:
    name = ", backup_name: files_B" if root_path == "''" else ""
    complaint = only_complaint(tmp_path, plan_text(more=f"staging: {{root_path: {root_path}{name}}}\n"))
    assert complaint.field == "staging.root_path"
    assert "overlaps the target's Milvus folder" in complaint.message


def test_the_dump_stays_out_of_the_source_s_folder_too(tmp_path: Path) -> None:
    complaint = only_complaint(tmp_path, plan_text(more="staging: {root_path: files_A/x}\n"))
    assert "overlaps the source's Milvus folder" in complaint.message


def test_the_target_s_keys_are_not_sent_elsewhere(tmp_path: Path) -> None:
    found = complaints_of(tmp_path, plan_text(more="staging: {storage: {endpoint: http://other:9000}}\n"))
    assert "not sent there" in found["staging.storage.credentials"].message


def test_the_target_s_keys_are_used_where_the_target_is(tmp_path: Path) -> None:
    plan = load_text(tmp_path, plan_text(more="staging: {storage: {endpoint: 'http://ONE:9000/'}}\n"))
    assert isinstance(plan.staging.storage.credentials, StaticCredentials)


def test_a_local_staging_folder_is_absolute(tmp_path: Path) -> None:
    local = cluster("http://b:1", "{provider: local, root_path: /var/lib/milvus}")
    complaint = only_complaint(tmp_path, plan_text(target=local))
    assert (complaint.field, "must be absolute" in complaint.message) == ("staging.root_path", True)
    plan = load_text(tmp_path, plan_text(target=local, more="staging: {root_path: /var/lib/dumps}\n"))
    assert plan.staging.prefix == "/var/lib/dumps/a_to_b"


def test_a_broken_value_causes_no_second_complaint(tmp_path: Path) -> None:
    source = SOURCE.replace("root_path: files_A", "root_path: 5").replace("19530}", "19530, username: u, password: x}")
    found = complaints_of(tmp_path, plan_text(source=source, target=TARGET.replace("files_B", "files_A")))
    assert found.keys() == {"source.milvus.password", "source.storage.root_path"}


def test_a_pause_that_is_required_needs_the_port_to_ask_at(tmp_path: Path) -> None:
    always = "options: {pause_gc: always}\n"
    found = complaints_of(tmp_path, plan_text(more=always))
    assert found.keys() == {"options.pause_gc"}
    assert "source.milvus.management_uri" in found["options.pause_gc"].hint
    managed = SOURCE.replace("19530}", "19530, management_uri: 'http://milvus_A:9091', rest_uri: 'http://milvus_A:80'}")
    load_text(tmp_path, plan_text(source=managed, more=always))
