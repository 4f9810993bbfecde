"""Loading plan files: what comes out, and what is said of mistakes in form."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrator.errors import Complaint, SpecError
from migrator.model.collection import CollectionRef
from migrator.spec.document import CreateOverrides, Options, SecretRef, StaticCredentials
from migrator.spec.load import LoadedPlan, load_plan
from tests.support.spec_cases import (
    EVERYTHING,
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

PLANS = Path(__file__).resolve().parents[3] / "plans"


def test_everything_the_contract_shows_loads(tmp_path: Path) -> None:
    plan = load_text(tmp_path, EVERYTHING)
    assert plan.options == Options()
    assert plan.staging.prefix == "backup/my_backup"
    assert plan.source is not None
    assert plan.source.milvus.password == SecretRef(env="MILVUS_A_PASSWORD")
    assert [str(mapping.source) for mapping in plan.mappings] == ["default.coll", "db1.*"]
    assert plan.mappings[1].create == CreateOverrides(
        shards_num=2, consistency_level="Bounded", description="...", properties={"collection.ttl.seconds": 0}
    )


def test_the_worked_example_loads_without_any_option() -> None:
    plan = load_plan(PLANS / "a_to_b.yaml")
    assert plan.target is not None
    assert (plan.source_storage.root_path, plan.target.storage.root_path) == ("files_A", "files_B")
    target = plan.mappings[0].target_of(CollectionRef.parse("coll"), plan.variables)
    assert target == CollectionRef("default", "coll_bak")
    assert plan.staging.storage.bucket == "bucket_A"
    assert plan.staging.storage.endpoint == "http://milvus_B:9000"
    assert plan.staging.storage.root_path == "backup"


def test_the_example_of_a_backup_makes_the_one_that_the_example_of_a_restore_reads() -> None:
    made, read = load_plan(PLANS / "backup_only.yaml"), load_plan(PLANS / "restore_backup.yaml")
    assert made.target is None
    assert made.staging.prefix == read.source_prefix == "backup/nightly_2026_01_31"
    assert (made.staging.storage.endpoint, made.staging.storage.bucket) == (
        read.source_storage.endpoint,
        read.source_storage.bucket,
    )
    assert read.mappings[0].target_of(CollectionRef.parse("db1.coll"), read.variables).short == "db1.coll_restored"


@pytest.mark.parametrize(
    ("name", "source", "target", "bucket"),
    [
        ("s3_to_azure.yaml", "default", "shared_key", "milvus"),
        ("gcp_to_aliyun.yaml", "service_account", "static", "milvus-hangzhou"),
    ],
)
def test_the_examples_of_clouds_keep_each_side_s_keys_on_its_side(
    name: str, source: str, target: str, bucket: str
) -> None:
    plan = load_plan(PLANS / name)
    assert plan.target is not None
    ours, theirs = plan.source_storage.credentials, plan.target.storage.credentials
    assert ours is not None
    assert theirs is not None
    assert (ours.type, theirs.type) == (source, target)
    assert plan.staging.storage.credentials == theirs
    assert plan.staging.storage.bucket == bucket


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    plan = load_text(tmp_path, plan_text())
    assert (plan.staging.root_path, plan.staging.backup_name, plan.staging.keep) == ("backup", "a_to_b", True)
    mapping = plan.mappings[0]
    assert (mapping.target, mapping.if_exists, mapping.indexes, mapping.load) == (
        None,
        "fail",
        "rebuild",
        "as_source",
    )
    assert plan.options.import_.stall_timeout == 1800
    assert plan.clusters_path is None


def test_a_backup_name_never_begins_with_a_digit(tmp_path: Path) -> None:
    plan = load_text(tmp_path, plan_text().replace("name: a-to-b", "name: 7-days"))
    assert plan.staging.backup_name == "_7_days"


def test_a_mapping_overrides_the_defaults_key_by_key(tmp_path: Path) -> None:
    text = plan_text(
        collections="[x, {source: y, load: never}]",
        more='defaults: {if_exists: skip, load: always, target: "{{ collection }}_new"}\n',
    )
    first, second = load_text(tmp_path, text).mappings
    assert (first.if_exists, first.load, first.target) == ("skip", "always", "{{ collection }}_new")
    assert (second.if_exists, second.load) == ("skip", "never")


def test_units_become_numbers(tmp_path: Path) -> None:
    options = "options: {transfer: {part_size: 8MiB, multipart_threshold: 5242880}, retry: {max_backoff: 1m30s}}\n"
    plan = load_text(tmp_path, plan_text(more=options))
    assert plan.options.transfer.part_size == 8 * 1024**2
    assert plan.options.transfer.multipart_threshold == 5242880
    assert plan.options.retry.max_backoff == 90


def test_verify_has_a_short_form(tmp_path: Path) -> None:
    assert load_text(tmp_path, plan_text(more="options: {verify: none}\n")).options.verify.level == "none"


def test_vars_are_overridden_and_only_known_ones(tmp_path: Path) -> None:
    text = plan_text(more="vars: {suffix: _bak, count: 3}\n", collections='["coll{{ vars.suffix }}"]')
    plan = load_text(tmp_path, text, variables={"suffix": "_new"})
    assert plan.variables == {"suffix": "_new", "count": 3}
    assert plan.mappings[0].source.collection == "coll_new"
    complaint = only_complaint(tmp_path, text, variables={"sufix": "_new"})
    assert (complaint.field, complaint.hint) == ("vars.sufix", "did you mean suffix?")


def test_names_in_the_staging_folder_may_use_vars(tmp_path: Path) -> None:
    more = 'vars: {day: "0612"}\nstaging: {root_path: "backup/{{ vars.day }}", backup_name: "b{{ vars.day }}"}\n'
    assert load_text(tmp_path, plan_text(more=more)).staging.prefix == "backup/0612/b0612"


def test_an_identifier_may_be_literal_and_a_secret_may_be_a_file(tmp_path: Path) -> None:
    keys = "{type: static, access_key_id: AKIA, secret_access_key: {file: keys/secret}}"
    plan = load_text(tmp_path, plan_text(target=TARGET.replace(KEYS, keys)))
    assert plan.target is not None
    credentials = plan.target.storage.credentials
    assert isinstance(credentials, StaticCredentials)
    assert credentials.access_key_id == "AKIA"
    assert credentials.secret_access_key == SecretRef(file=str(tmp_path / "keys/secret"))


def test_digests_and_paths_are_noted(tmp_path: Path) -> None:
    text = plan_text()
    plan = load_text(tmp_path, text)
    path = tmp_path / "plan.yaml"
    assert plan.path == path
    assert plan.file_digests == ((str(path), hashlib.sha256(text.encode()).hexdigest()),)


def test_a_frozen_plan_is_the_same_plan(tmp_path: Path) -> None:
    for text in (
        EVERYTHING,
        plan_text(more="options: {transfer: {part_size: 8MiB}, import: {stall_timeout: 500ms}}\n"),
    ):
        plan = load_text(tmp_path, text)
        frozen = json.loads(json.dumps(plan.frozen()))
        again = LoadedPlan.from_frozen(frozen)
        assert again == plan
        assert again.frozen() == frozen
        assert again.locate("source") is None


def test_a_frozen_plan_that_was_changed_is_refused(tmp_path: Path) -> None:
    frozen = load_text(tmp_path, plan_text()).frozen()
    frozen["source"]["milvus"]["uri"] = 5
    with pytest.raises(SpecError, match=r"cannot be read: source\.milvus\.uri"):
        LoadedPlan.from_frozen(frozen)


def test_places_can_be_asked_for(tmp_path: Path) -> None:
    plan = load_text(
        tmp_path, plan_text(collections="[coll, {source: x, target: y}]", more="defaults: {load: never}\n")
    )

    def located(path: str) -> tuple[int, int]:
        position = plan.locate(path)
        assert position is not None
        return position.line, position.column

    assert located("collections[0]") == (5, 15)
    assert located("collections[1].target") == (5, 41)
    assert located("collections[1].if_exists") == (5, 21)
    assert located("collections[1].load") == (6, 18)
    assert located("source.storage.credentials.nothing") == located("source.storage.credentials")
    assert located("nothing[3].here") == (1, 1)


def test_a_key_nobody_knows_gets_a_hint(tmp_path: Path) -> None:
    text = plan_text(collections="[{source: x, taget: y}]", more="stagging: {}\noptions: {retries: 3}\n")
    found = complaints_of(tmp_path, text)
    assert {field: complaint.hint for field, complaint in found.items()} == {
        "collections[0].taget": "did you mean target?",
        "stagging": "did you mean staging?",
        "options.retries": "did you mean retry?",
    }
    assert place(found["collections[0].taget"]) == (5, 27)


def test_a_key_in_the_wrong_place_gets_a_hint(tmp_path: Path) -> None:
    complaint = only_complaint(tmp_path, plan_text(target=TARGET.replace("root_path", "container: x, root_path")))
    assert complaint.hint == "the name of an azure container goes into bucket"


def test_unknown_keys_of_credentials_are_those_of_their_type(tmp_path: Path) -> None:
    target = TARGET.replace(KEYS, "{type: none, whatever: x}")
    assert only_complaint(tmp_path, plan_text(target=target)).hint == "remove it; known here: type"


@pytest.mark.parametrize(
    ("more", "field", "message", "hint"),
    [
        ("description: 5\n", "description", "description must be text", "quotes"),
        ("description:\n", "description", "description must be text", "remove the key"),
        ("options: 5\n", "options", "options must be a map of keys and values", "below it"),
        ("options: {flush: alwys}\n", "options.flush", "must be one of auto, never", ""),
        ("options: {rbac: 'true'}\n", "options.rbac", "must be true or false", "without quotes"),
        (
            "options: {import: {max_jobs: '8'}}\n",
            "options.import.max_jobs",
            "must be a whole number",
            "quotes",
        ),
        ("options: {import: {max_jobs: 0}}\n", "options.import.max_jobs", "must be at least 1", ""),
        (
            "options: {import: {segments_per_job: many}}\n",
            "options.import.segments_per_job",
            "must be auto",
            "",
        ),
        (
            "options: {import: {segments_per_job: 1.5}}\n",
            "options.import.segments_per_job",
            "auto or a whole",
            "",
        ),
        ("options: {retry: {max_elapsed: 30}}\n", "options.retry.max_elapsed", "without a unit", "30m"),
        ("options: {retry: {max_elapsed: 30d}}\n", "options.retry.max_elapsed", "is not a duration", "1h30m"),
        ("options: {retry: {max_elapsed: 0s}}\n", "options.retry.max_elapsed", "more than nothing", "30m"),
        ("options: {retry: {max_elapsed: [1]}}\n", "options.retry.max_elapsed", "must be a duration", "30m"),
        ("options: {transfer: {part_size: 64M}}\n", "options.transfer.part_size", "is not a size", "64MiB"),
        ("options: {transfer: {part_size: -1}}\n", "options.transfer.part_size", "must be a size", "64MiB"),
        ("options: {transfer: {part_size: 1KiB}}\n", "options.transfer.part_size", "at least 5242880", ""),
        (
            "options: {verify: sampel}\n",
            "options.verify.level",
            "must be one of none",
            "did you mean sample?",
        ),
        ("vars: {a-b: 1}\n", "vars.a-b", "is not a variable's name", "underscores"),
        ("vars: {a: [1]}\n", "vars.a", "must be text, a number, or true or false", ""),
        ("vars: {a: .nan}\n", "vars.a", "must be a finite number", ""),
        ('vars: {a: "\\uD800"}\n', "vars.a", "not Unicode", ""),
        (
            "staging: {backup_name: my-backup}\n",
            "staging.backup_name",
            "is not a backup's name",
            "underscores",
        ),
        ("staging: {root_path: a//b}\n", "staging.root_path", "is not a plain path", "single slashes"),
        ("staging: {root_path: ../b}\n", "staging.root_path", "is not a plain path", "single slashes"),
        ("staging: {root_path: /backup}\n", "staging.root_path", "begins with a slash", "remove the slash"),
        ("staging: {storage: {root_path: x}}\n", "staging.storage.root_path", "unknown key root_path", ""),
        ("clusters: 5\n", "clusters", "must be a file's path, or a map of clusters", "clusters.yaml"),
        ("defaults: {source: x}\n", "defaults.source", "unknown key source", ""),
    ],
)
def test_a_wrong_value_is_told_once_with_place_and_hint(
    tmp_path: Path, more: str, field: str, message: str, hint: str
) -> None:
    complaint = only_complaint(tmp_path, plan_text(more=more))
    assert complaint.field == field
    assert message in complaint.message
    assert hint in complaint.hint
    assert place(complaint)[0] == 6


def test_a_wrong_value_is_shown(tmp_path: Path) -> None:
    complaint = only_complaint(tmp_path, plan_text(more="options:\n  flush: sometimes\n"))
    assert str(complaint) == (
        f"{tmp_path}/plan.yaml:7:10: options.flush: flush must be one of auto, never (got sometimes)"
    )


def test_a_value_cannot_steer_the_terminal(tmp_path: Path) -> None:
    complaint = only_complaint(
        tmp_path, plan_text(more='options: {flush: "\\e[2J", "\\e]0;x": 1}\n').replace(', "\\e]0;x": 1', "")
    )
    assert complaint.value == "\\x1b[2J"


@pytest.mark.parametrize(
    ("collections", "field", "message"),
    [
        ("[]", "collections", "at least one collection"),
        ("coll", "collections", "at least one collection"),
        ("[5]", "collections[0]", "must be a map"),
        ("['']", "collections[0].source", "source is empty"),
        ("[{target: x}]", "collections[0].source", "the key source is missing"),
        ("[a/b]", "collections[0].source", "is not a collection name or pattern"),
        ("[{source: a, exclude: ['']}]", "collections[0].exclude[0]", "exclude[0] is empty"),
        (
            "[{source: a, exclude: [b, 'c/']}]",
            "collections[0].exclude[1]",
            "exclude[1] is not a collection name",
        ),
        ("[{source: a, target: 'b c'}]", "collections[0].target", "target is not a collection name"),
        ("[{source: a, indexes: []}]", "collections[0].indexes", "must have at least one entry"),
        ("[{source: a, indexes: 5}]", "collections[0].indexes", "rebuild, auto, none, or a list of indexes"),
        ("[{source: a, partitions: []}]", "collections[0].partitions", "must have at least one entry"),
        ("[{source: a, create: {shards_num: 0}}]", "collections[0].create.shards_num", "at least 1"),
    ],
)
def test_a_wrong_entry_is_told(tmp_path: Path, collections: str, field: str, message: str) -> None:
    complaint = only_complaint(tmp_path, plan_text(collections=collections))
    assert complaint.field == field
    assert message in complaint.message
    assert place(complaint)[0] == 5


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    found = complaints_of(tmp_path, "description: x\n")
    assert {"version", "name", "source", "collections"} <= set(found)
    assert found["source"].message == "the key source is missing"
    assert place(found["version"]) == (1, 1)


@pytest.mark.parametrize("name", ["A-to-B", "-a", "a_b", "a" * 64, "é", "''"])
def test_a_plan_s_name_is_checked(tmp_path: Path, name: str) -> None:
    assert only_complaint(tmp_path, plan_text().replace("a-to-b", name)).field == "name"


SECRETS = [
    (
        "milvus: {uri: http://milvus_A:19530}",
        "milvus: {uri: http://milvus_A:19530, username: u, password: hunter2}",
    ),
    ("milvus: {uri: http://milvus_A:19530}", "milvus: {uri: http://milvus_A:19530, token: hunter2}"),
    ("milvus: {uri: http://milvus_A:19530}", "milvus: {uri: http://milvus_A:19530, token: [hunter2]}"),
    ("milvus: {uri: http://milvus_A:19530}", "milvus: {uri: http://milvus_A:19530, token: {env: hunter2!}}"),
    (
        "milvus: {uri: http://milvus_A:19530}",
        "milvus: {uri: http://milvus_A:19530, token: {file: x, env: hunter2}}",
    ),
    ("milvus: {uri: http://milvus_A:19530}", "milvus: {uri: http://milvus_A:19530, token: {value: hunter2}}"),
    ("milvus: {uri: http://milvus_A:19530}", "milvus: {uri: http://milvus_A:19530, pasword: hunter2}"),
    ("milvus: {uri: http://milvus_A:19530}", "milvus: {uri: 'http://root:hunter2@milvus_A:19530'}"),
    ("milvus: {uri: http://milvus_A:19530}", "milvus: {uri: 'http://milvus_A:19530?token=hunter2'}"),
    ("milvus: {uri: http://milvus_A:19530}", "milvus: {uri: 'root:hunter2@milvus_A:19530'}"),
    ("milvus: {uri: http://milvus_A:19530}", "milvus: hunter2"),
    (KEYS, "hunter2"),
    (KEYS, "{type: static, access_key_id: a, secret_access_key: hunter2}"),
    (KEYS, "{type: static, access_key_id: [hunter2], secret_access_key: {env: S}}"),
    (KEYS, "{type: static, access_key_id: a, secret_access_key: {env: S}, session_token: hunter2}"),
    (KEYS, "{type: static, access_key_id: a, secret_access_key: {env: S}, secret: hunter2}"),
    (KEYS, "{type: shared_key, account_key: hunter2}"),
]


@pytest.mark.parametrize(("old", "new"), SECRETS)
def test_a_secret_in_the_file_is_refused_and_never_repeated(tmp_path: Path, old: str, new: str) -> None:
    found = complaints_of(tmp_path, plan_text(source=SOURCE.replace(old, new)))
    said = "".join(f"{complaint}{complaint.hint}{complaint!r}" for complaint in found.values())
    assert "hunter2" not in said


def test_a_literal_secret_is_told_what_to_write(tmp_path: Path) -> None:
    source = SOURCE.replace("19530}", "19530, username: root, password: hunter2}")
    complaint = only_complaint(tmp_path, plan_text(source=source))
    assert complaint.field == "source.milvus.password"
    assert complaint.message == "password must be a reference, not the secret itself"
    assert complaint.hint == "write {env: NAME} or {file: path}"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("milvus_A:19530", "must begin with http:// or https://"),
        ("tcp://milvus_A:19530", "must begin with http:// or https://"),
        ("http:milvus", "must begin with http:// or https://"),
        ("http://milvus_A:19530/db", "has something after host and port"),
        ("'http://milvus_A:19530#x'", "has something after host and port"),
        ("http://u@milvus_A:19530", "carries credentials"),
        ("http://:19530", "no usable host"),
        ("http://milvus_A:99999", "is not a web address"),
        ("http://milvus_A:0", "no usable host"),
        ("'http://mil vus:19530'", "no usable host"),
        ("'http://[::1'", "is not a web address"),
    ],
)
def test_a_milvus_address_is_host_and_port(tmp_path: Path, uri: str, message: str) -> None:
    complaint = only_complaint(tmp_path, plan_text(source=SOURCE.replace("http://milvus_A:19530", uri)))
    assert complaint.field == "source.milvus.uri"
    assert message in complaint.message


@pytest.mark.parametrize("uri", ["http://[::1]:19530", "https://in01-x.api.example.com", "http://localhost:19530/"])
def test_good_addresses_pass(tmp_path: Path, uri: str) -> None:
    plan = load_text(tmp_path, plan_text(source=SOURCE.replace("http://milvus_A:19530", f"'{uri}'")))
    assert plan.source is not None
    assert plan.source.milvus.uri == uri.rstrip("/")


def test_a_path_is_relative_to_the_file_it_stands_in(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    tls = "tls: {mode: mutual, ca_cert: ca.pem, client_cert: /etc/c.pem, client_key: ../k.pem}"
    source = f"{{milvus: {{uri: 'https://milvus_A:19530', {tls}}}, storage: {storage('files_A')}}}"
    (tmp_path / "shared/clusters.yaml").write_text(f"a: {source}\n", encoding="utf-8")
    plan = load_text(tmp_path, plan_text(source="a", more="clusters: shared/clusters.yaml\n"))
    assert plan.source is not None
    assert plan.source.milvus.tls is not None
    assert plan.source.milvus.tls.ca_cert == str(tmp_path / "shared/ca.pem")
    assert plan.source.milvus.tls.client_cert == "/etc/c.pem"
    assert plan.source.milvus.tls.client_key == str(tmp_path / "k.pem")
    assert plan.clusters_path == tmp_path / "shared/clusters.yaml"


MUTATIONS = [
    "null",
    "[]",
    "{}",
    "5",
    "x",
    "[x]",
    "{x: 1}",
    "true",
    '"{{ x }}"',
    "'<str>'",
    "{'<static>': 1, type: static}",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_ends_in_complaints_or_a_plan(tmp_path: Path, data: st.DataObject) -> None:
    text = EVERYTHING
    for _ in range(data.draw(st.integers(1, 3))):
        lines = text.splitlines()
        row = data.draw(st.integers(0, len(lines) - 1))
        key, colon, _ = lines[row].partition(": ")
        value = data.draw(st.sampled_from(MUTATIONS))
        lines[row] = f"{key}{colon}{value}" if colon else data.draw(st.sampled_from([lines[row], ""]))
        text = "\n".join(lines)
    assert all(complaint.position for complaint in said_of(tmp_path, text))


def said_of(folder: Path, text: str) -> tuple[Complaint, ...]:
    """The complaints about a plan that may also load."""
    try:
        load_text(folder, text)
    except SpecError as error:
        return error.complaints
    return ()


def test_loading_needs_no_client_library_and_is_quick() -> None:
    script = (
        "import sys, time; began = time.process_time()\n"
        "from pathlib import Path\nfrom migrator.spec.load import load_plan\n"
        "load_plan(Path(sys.argv[1]))\n"
        "took = time.process_time() - began\n"
        "heavy = {'pymilvus', 'obstore', 'rich', 'networkx', 'grpc', 'numpy'} & set(sys.modules)\n"
        "print(took); sys.exit(str(heavy) if heavy else 0)"
    )
    command = [sys.executable, "-c", script, str(PLANS / "a_to_b.yaml")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PLANS.parent)  # noqa: S603 - our own interpreter
    assert float(done.stdout) < 1  # 0.3 s when nothing else runs
