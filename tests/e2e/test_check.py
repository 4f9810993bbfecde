"""`migrator check`: a wrong setting is named by its field, with the value to set where that can be found out."""

from __future__ import annotations

import signal
import socket
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from migrator import workflow
from migrator.model.finding import Status, exit_code_of
from migrator.reports.findings import finding_lines
from migrator.running.clock import SystemClock
from migrator.running.runs import StateDirectory
from tests.support import sources
from tests.support.cli import SECRET, Shell
from tests.support.portraits import collections_of, connected
from tests.support.services.depot import Depot
from tests.support.services.s3 import keyed_s3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.bench import Bench

SOURCE = "checked"
TAKEN = "checked_taken"
OTHER_BUCKET = "another-bucket"


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """A collection at the source, a taken name at the target, and a second bucket."""
    with ThreadPoolExecutor() as pool:
        pool.submit(sources.fill_small, bench.a.uri, SOURCE, rows=20, deleted=0)
        pool.submit(sources.fill_empty, bench.b.uri, TAKEN).result()
    scope = "Credential=k/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none"
    request = urllib.request.Request(  # noqa: S310 - the bench's own store
        f"{bench.state.s3_endpoint}/{OTHER_BUCKET}",
        method="PUT",
        headers={"Authorization": f"AWS4-HMAC-SHA256 {scope}"},
    )
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - as above
    bench.write_object("backup/of_somebody_else/meta/backup_meta.json", b"{}")
    return bench


@dataclass(slots=True)
class Setting:
    """A plan and its clusters, sound until somebody breaks them."""

    bench: Bench
    folder: Path
    clusters: dict[str, Any]
    plan: dict[str, Any]
    environment: dict[str, str]

    def write(self) -> Path:
        """Both files; the plan's is returned."""
        for name, content in (("clusters.yaml", self.clusters), ("plan.yaml", self.plan)):
            with (self.folder / name).open("w", encoding="utf-8") as file:
                YAML().dump(content, file)
        return self.folder / "plan.yaml"

    @property
    def source(self) -> dict[str, Any]:
        """Of the clusters file."""
        found: dict[str, Any] = self.clusters["a"]
        return found

    @property
    def target(self) -> dict[str, Any]:
        """Of the clusters file."""
        found: dict[str, Any] = self.clusters["b"]
        return found


@pytest.fixture
def setting(filled: Bench, tmp_path: Path) -> Setting:
    plan = {
        "version": 1,
        "name": "checked",
        "clusters": "clusters.yaml",
        "source": "a",
        "target": "b",
        "staging": {"root_path": "backup", "backup_name": "checked"},
        "collections": [SOURCE],
    }
    environment = filled.environment | {"S3_SECRET_ACCESS_KEY": SECRET}
    clusters = YAML(typ="safe").load(filled.clusters_file)
    return Setting(filled, tmp_path, clusters, plan, environment)


def everything(bench: Bench) -> tuple[object, ...]:
    """All that a canary could leave behind: files but the target's own, collections, folders of ours."""
    keys = {key for key in bench.bucket_keys() if not key.startswith(f"{bench.b.root_path}/")}
    return keys, collections_of(bench.a.uri), collections_of(bench.b.uri)


# -- sound ------------------------------------------------------------------------------------------------------------


def test_a_sound_plan_is_proven_to_the_end_and_nothing_stays(setting: Setting) -> None:
    before = everything(setting.bench)
    setting.write()
    shell = Shell(setting.folder, setting.environment)

    text = shell.run("check", "plan.yaml", "--canary")

    for line in (
        f"✓ the files of {SOURCE} lie below bucket_A/files_A/",
        "✓ a plan can be made: 1 of 1 collections to bring over",
        "✓ the service copies from the source into staging by itself",
        "✓ the target imported 1 row",
        "✓ the target wrote it below bucket_A/files_B/",
    ):
        assert line in text.out
    assert "failure" not in text.out
    assert all(len(line) <= 80 for line in text.out.splitlines())
    assert everything(setting.bench) == before


def test_a_dump_apart_from_the_target_is_proven_through_both_stores(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in setting.environment.items():
        monkeypatch.setenv(variable, value)
    setting.plan["staging"]["storage"] = {"bucket": OTHER_BUCKET}
    before = everything(setting.bench)

    findings = workflow.check(
        workflow.load(setting.write()), StateDirectory(setting.folder, SystemClock()), canary=True
    )

    text = "\n".join(line.text for line in finding_lines(findings))
    assert exit_code_of(findings) == 0, text
    assert {"canary.put", "canary.copy", "canary.import", "canary.root_path"} <= {found.check for found in findings}
    assert everything(setting.bench) == before
    storage = {**setting.target["storage"], "bucket": OTHER_BUCKET}
    assert list(Depot(name="other", storage=storage).open().list_objects("")) == []


# -- broken -----------------------------------------------------------------------------------------------------------


def nobody_listens() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Broken:
    """A way to break a plan: what it names, what it suggests, and whether it takes the canary to find out."""

    how: Callable[[Setting], object]
    named: str
    told: tuple[str, ...] = ()
    code: int = 40
    canary: bool = False
    others: tuple[str, ...] = field(default=())
    """Fields that fail too."""


def milvus(side: str, **values: object) -> Callable[[Setting], object]:
    return lambda s: s.clusters[side]["milvus"].update(values)


def storage(side: str, **values: object) -> Callable[[Setting], object]:
    return lambda s: s.clusters[side]["storage"].update(values)


def keys(side: str, **values: object) -> Callable[[Setting], object]:
    return lambda s: s.clusters[side]["storage"].update(credentials=values)


def mapping(**values: object) -> Callable[[Setting], object]:
    return lambda s: s.plan.update(collections=[{"source": SOURCE, "target": "checked_copy", **values}])


def https(address: str) -> str:
    return address.replace("http://", "https://")


BROKEN = {
    # the way to a Milvus
    "port of nobody": Broken(
        lambda s: s.source["milvus"].update(uri=f"http://127.0.0.1:{nobody_listens()}"),
        "source.milvus.uri",
        ("nothing listens",),
        30,
    ),
    "name of nobody": Broken(milvus("b", uri="http://milvus.invalid:19530"), "target.milvus.uri", ("not known",), 30),
    "a store for a Milvus": Broken(
        lambda s: s.target["milvus"].update(uri=s.bench.state.s3_endpoint), "target.milvus.uri", ("an S3 service",), 30
    ),
    "its management port": Broken(
        lambda s: s.target["milvus"].update(uri=s.bench.b.management_uri),
        "target.milvus.uri",
        ("the management port",),
        30,
    ),
    "https for http": Broken(
        lambda s: s.target["milvus"].update(uri=https(s.bench.b.uri)), "target.milvus.uri", ("http://",), 30
    ),
    "no authority's file": Broken(
        lambda s: s.source["milvus"].update(uri=https(s.bench.a.uri), tls={"mode": "server", "ca_cert": "no.pem"}),
        "source.milvus.tls.ca_cert",
        ("no.pem",),
        30,
    ),
    "password not set": Broken(
        milvus("a", username="root", password={"env": "NOT_SET"}), "source.milvus.password", ("NOT_SET",), 30
    ),
    "password in no file": Broken(
        milvus("b", username="root", password={"file": "no/secret"}), "target.milvus.password", ("no/secret",), 30
    ),
    "addresses swapped": Broken(
        lambda s: (s.source["milvus"].update(uri=s.bench.b.uri), s.target["milvus"].update(uri=s.bench.a.uri)),
        "target.milvus.uri",
        ("source.milvus.uri", "swapped"),
        11,
        others=("collections[0].source",),
    ),
    "one address twice": Broken(
        lambda s: s.target["milvus"].update(uri=s.bench.a.uri.replace("127.0.0.1", "localhost")),
        "target.milvus.uri",
        ("one address",),
        11,
        others=("collections[0].target",),
    ),
    "another's management port": Broken(
        lambda s: s.target["milvus"].update(management_uri=s.bench.b.uri),
        "target.milvus.management_uri",
        ("gRPC",),
        30,
    ),
    # the way to a store
    "store's port of nobody": Broken(
        lambda s: s.source["storage"].update(endpoint=f"http://127.0.0.1:{nobody_listens()}"),
        "source.storage.endpoint",
        ("nothing listens",),
    ),
    "store's name of nobody": Broken(
        storage("b", endpoint="http://store.invalid:9000"), "target.storage.endpoint", ("not known",)
    ),
    "a Milvus for a store": Broken(
        lambda s: s.target["storage"].update(endpoint=s.bench.b.uri), "target.storage.endpoint", ("a gRPC server",)
    ),
    "store https for http": Broken(
        lambda s: s.source["storage"].update(endpoint=https(s.bench.state.s3_endpoint)),
        "source.storage.endpoint",
        ("write http://",),
    ),
    "store's authority": Broken(
        lambda s: s.source["storage"].update(endpoint=https(s.bench.state.s3_endpoint), ca_cert="no.pem"),
        "source.storage.ca_cert",
        ("no.pem",),
    ),
    "no such bucket": Broken(
        storage("a", bucket="nobodys-bucket"), "source.storage.bucket", ("does not exist", "set it to bucket_A")
    ),
    "no such bucket at the target": Broken(
        storage("b", bucket="bucket_B"), "target.storage.bucket", ("does not exist",)
    ),
    "no such bucket for staging": Broken(
        lambda s: s.plan["staging"].update(storage={"bucket": "nobodys-bucket"}),
        "staging.storage.bucket",
        ("does not exist", OTHER_BUCKET),
    ),
    "another bucket": Broken(storage("a", bucket=OTHER_BUCKET), "source.storage.bucket", ("set it to bucket_A",), 11),
    "another bucket at the target": Broken(
        storage("b", bucket=OTHER_BUCKET), "target.storage.bucket", ("set it to bucket_A",), 11, canary=True
    ),
    "root path": Broken(storage("a", root_path="files_a"), "source.storage.root_path", ("set it to files_A",), 11),
    "root path of the target": Broken(
        storage("b", root_path="files_b"), "target.storage.root_path", ("set it to files_B",), 11, canary=True
    ),
    "secret not set": Broken(
        keys("a", type="static", access_key_id="k", secret_access_key={"env": "NOT_SET"}),
        "source.storage.credentials.secret_access_key",
        ("NOT_SET",),
    ),
    "secret in no file": Broken(
        keys("b", type="static", access_key_id="k", secret_access_key={"file": "no/secret"}),
        "target.storage.credentials.secret_access_key",
        ("no/secret",),
    ),
    # the plan
    "nothing matches": Broken(
        lambda s: s.plan.update(collections=["nothing_like_*"]), "collections[0].source", (SOURCE,), 11
    ),
    "target taken": Broken(mapping(target=TAKEN), "collections[0].target", (TAKEN,), 11),
    "backup name taken": Broken(
        lambda s: s.plan["staging"].update(backup_name="of_somebody_else"),
        "staging.backup_name",
        ("migrator backup list",),
        11,
    ),
    "unknown index": Broken(
        mapping(indexes=[{"field": "vector", "index_type": "HNWS", "metric_type": "L2"}]),
        "collections[0].indexes",
        ("HNSW",),
        11,
    ),
    "unknown metric": Broken(
        mapping(indexes=[{"field": "vector", "index_type": "FLAT", "metric_type": "L3"}]),
        "collections[0].indexes",
        ("L2",),
        11,
    ),
    "too many shards": Broken(
        mapping(create={"shards_num": 64}), "collections[0].create.shards_num", ("limited to 16",), 11, canary=True
    ),
    "partition of nobody": Broken(mapping(partitions=["nobody"]), "collections[0].partitions", ("nobody",), 11),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named_by_its_field(setting: Setting, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    broken = BROKEN[name]
    for variable, value in setting.environment.items():
        monkeypatch.setenv(variable, value)
    broken.how(setting)
    before, began = everything(setting.bench), time.monotonic()

    loaded = workflow.load(setting.write())
    findings = workflow.check(loaded, StateDirectory(setting.folder / "state", SystemClock()), canary=broken.canary)

    failures = [found for found in findings if found.status is Status.FAILURE]
    text = "\n".join(line.text for line in finding_lines(findings))
    assert {found.field for found in failures} == {broken.named, *broken.others}, text
    told = " ".join(" ".join(line.text for line in finding_lines(failures)).split())
    for words in broken.told:
        assert words in told, text
    assert all(found.hint for found in failures)
    assert exit_code_of(findings) == broken.code
    assert SECRET not in text
    assert everything(setting.bench) == before
    assert time.monotonic() - began < 30


# -- keys that are checked --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed(filled: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Depot]:
    """The collection's files once more, in a store that checks its keys."""
    with connected(filled.a.uri) as milvus:
        own = f"/{milvus.describe_collection(SOURCE)['collection_id']}/"
    with keyed_s3("keyed", tmp_path_factory.mktemp("keyed")) as service:
        depot, client = service.depot("bucket-A"), service.client()
        for key in filter(lambda each: own in each, filled.bucket_keys(filled.a.root_path)):
            client.put_object(Bucket="bucket-A", Key=key, Body=filled.read_object(key))
        yield depot


@pytest.mark.parametrize(
    "case",
    [
        ({}, "", ""),
        ({"access_key_id": "AKIANOBODY"}, "source.storage.credentials.access_key_id", "InvalidAccessKeyId"),
        ({"secret_access_key": {"env": "ANOTHER"}}, "source.storage.credentials.secret_access_key", "ANOTHER"),
        ({"session_token": {"env": "ANOTHER"}}, "source.storage.credentials.session_token", "ANOTHER"),
        ({"type": "none"}, "source.storage.credentials", "set type: static"),
    ],
    ids=["right", "key", "secret", "token", "none"],
)
def test_keys_that_a_store_refuses_are_named(
    setting: Setting,
    keyed: Depot,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[dict[str, object], str, str],
) -> None:
    change, named, told = case
    for variable, value in {**setting.environment, **keyed.environment, "ANOTHER": SECRET}.items():
        monkeypatch.setenv(variable, value)
    credentials = change if "type" in change else {**keyed.storage["credentials"], **change}
    setting.source["storage"] = {
        **keyed.storage,
        "root_path": setting.bench.a.root_path,
        "credentials": credentials,
    }

    findings = workflow.check(workflow.load(setting.write()), StateDirectory(setting.folder, SystemClock()))

    failures = [found for found in findings if found.status is Status.FAILURE]
    text = "\n".join(line.text for line in finding_lines(findings))
    assert {found.field for found in failures} == ({named} - {""}), text
    assert told in " ".join(text.split())
    assert not any(secret in text for secret in (*keyed.secrets[1:], SECRET))


# -- the end of a canary that is stopped ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_canary_that_is_stopped_is_removed_by_itself_or_by_clean(setting: Setting, number: signal.Signals) -> None:
    before = everything(setting.bench)
    setting.write()
    shell = Shell(setting.folder, setting.environment)
    running = shell.start("check", "plan.yaml", "--canary")
    with connected(setting.bench.b.uri) as client:
        while not any(name.startswith("_migrator_canary_") for name in client.list_collections()):
            assert running.process.poll() is None, "it was over before it was seen"

    answer = running.send(number)

    if number is signal.SIGKILL:
        assert everything(setting.bench) != before
        assert "canary" in shell.run("clean", "plan.yaml", "--yes").out
    else:
        assert answer.code == 130
    assert everything(setting.bench) == before


# -- before apply -----------------------------------------------------------------------------------------------------


def test_apply_proves_the_way_and_begins_nothing_where_it_does_not_work(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(setting.folder, setting.environment, canary=True)
    setting.plan["name"] = setting.plan["staging"]["backup_name"] = "proven"  # what it leaves is in nobody's way
    setting.plan["collections"] = [{"source": SOURCE, "target": "checked_proven"}]
    right = setting.target["storage"]["root_path"]
    setting.target["storage"]["root_path"] = "files_b"
    setting.write()

    refused = shell.run("apply", "plan.yaml", "--yes", code=11)

    assert "target.storage.root_path (got files_b)" in refused.err
    assert "set it to files_B" in refused.err
    assert "Run " not in refused.text
    assert not (setting.folder / ".migrator" / "runs").exists()

    setting.target["storage"]["root_path"] = right
    for variable, value in setting.environment.items():
        monkeypatch.setenv(variable, value)
    state = StateDirectory(setting.folder / ".migrator", SystemClock())
    assert exit_code_of(workflow.check(workflow.load(setting.write()), state, canary=True)) == 0
    record = state.folder / "checks" / "proven.json"
    assert record.stat().st_mode & 0o777 == 0o600

    events = shell.run("apply", "plan.yaml", "--yes", "--format", "json").events

    assert [event["event"] for event in events[:2]] == ["preflight", "run_started"]
    assert events[0]["findings"] is None, "it was proven a moment ago"
    assert events[-1]["exit_code"] == 0
    with connected(setting.bench.b.uri) as client:  # the others' plans are of a target without it
        client.drop_collection("checked_proven")
