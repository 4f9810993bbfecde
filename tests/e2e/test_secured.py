"""A migration between two real servers that want certificates and a login, and every way to get either wrong."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from migrator.connections import open_milvus
from migrator.errors import MilvusRefused
from migrator.lab import LabTls, Settings
from migrator.spec.document import Cluster
from tests.support.bench import Bench, start_bench
from tests.support.cli import SECRET, Shell
from tests.support.portraits import connected, portray
from tests.support.tls import Certificates, write_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = [{"id": i, "vector": [float(i), 1.0, 0.0, 0.0], "title": f"book {i}"} for i in range(300)]
PLAN = """\
version: 1
name: secured
clusters: {clusters}
source: a
target: b
staging: {{backup_name: {name}}}
collections: [{{source: books, target: books_bak, aliases: [library]}}, db1.films]
"""
WRONG_PASSWORD = "not-the-one-4712"  # noqa: S105 - planted, to be found nowhere
NOBODY = "nobody-knows-4713"
PLANTED = "nobody-may-see-4714"
SECRETS = (PLANTED, base64.b64encode(f"mover:{PLANTED}".encode()).decode(), SECRET, "PRIVATE KEY")


@dataclass(frozen=True, slots=True)
class Secured:
    """Two servers with `tlsMode` 2 and authorization, a client that may talk to them, and a folder with plans."""

    bench: Bench
    certs: Certificates
    shell: Shell

    @property
    def how(self) -> dict[str, Any]:
        """What pymilvus needs."""
        return self.bench.state.client_arguments

    def refused(self, changes: dict[str, str]) -> str:
        """What is said with other settings of the target's `milvus`: a file's name stands for its path."""
        clusters = YAML(typ="safe").load(self.bench.clusters_file)
        milvus = clusters["b"]["milvus"]
        for key, value in changes.items():
            parent, name = (milvus["tls"], key[4:]) if key.startswith("tls.") else (milvus, key)
            parent[name] = self._value(value)
            if not value:
                del parent[name]
        with pytest.raises(MilvusRefused) as caught, closing(open_milvus(Cluster(**clusters["b"]), "target")) as opened:
            opened.list_databases()
        text = f"{caught.value.message}; {caught.value.hint}"
        assert not any(secret in text for secret in (WRONG_PASSWORD, NOBODY, "root:Milvus"))
        return text

    def _value(self, text: str) -> object:
        if text.endswith((".pem", ".key")):
            return str(self.certs.folder / text)
        address = self.bench.b.uri.removeprefix("https://")
        return {"env": text.removeprefix("$")} if text.startswith("$") else text.format(b=address, s3=self._store)

    @property
    def _store(self) -> str:
        return self.bench.state.s3_endpoint.removeprefix("http://")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    certs = write_certificates(tmp_path_factory.mktemp("certificates"))
    tls = LabTls(
        ca_cert=certs.folder / "ca.pem",
        server_cert=certs.folder / "server.pem",
        server_key=certs.folder / "server.key",
        client_cert=certs.folder / "client.pem",
        client_key=certs.folder / "client.key",
    )
    settings = Settings(authorization=True, auto_compaction=False, tls=tls)
    with start_bench(tmp_path_factory, settings) as bench:
        how = bench.state.client_arguments
        with connected(bench.a.uri, **how) as client:
            client.create_database("db1")
        for instance in bench.state.instances:
            with connected(instance.uri, **how) as client:
                client.create_user("mover", PLANTED)
                client.grant_role("mover", "admin")
                client.create_user("reader", NOBODY)
        for database, name in (("default", "books"), ("db1", "films")):
            with connected(bench.a.uri, database, **how) as client:
                client.create_collection(name, dimension=4)
                client.insert(name, ROWS)
                client.delete(name, ids=[0, 1])
        variables = {**bench.environment, "MILVUS_PASSWORD": PLANTED, "S3_SECRET_ACCESS_KEY": SECRET}
        shell = Shell(tmp_path_factory.mktemp("secured"), variables)
        clusters = YAML(typ="safe").load(bench.clusters_file)
        for cluster in clusters.values():
            cluster["milvus"]["username"] = "mover"
        shell.write("clusters.yaml", json.dumps(clusters))
        shell.write("plan.yaml", PLAN.format(clusters="clusters.yaml", name="secured"))
        yield Secured(bench, certs, shell)


def test_every_row_comes_through(secured: Secured) -> None:
    running = replace(secured.shell, is_warm=False).start("apply", "plan.yaml", "--yes", "--format", "json")
    running.wait_for_event("step_started", "copy_segments")
    arguments = Path(f"/proc/{running.process.pid}/cmdline").read_text(encoding="utf-8")
    applied = running.finish()
    assert applied.code == 0
    a, b = secured.bench.a.uri, secured.bench.b.uri
    for database, name, copy in (("default", "books", "books_bak"), ("db1", "films", "films")):
        left = portray(a, name, database, **secured.how)
        right = portray(b, copy, database, **secured.how)
        assert left.count == len(ROWS) - 2
        assert replace(right, aliases=frozenset()) == left
    commands = ["runs"], ["status"], ["verify", "plan.yaml", "--level", "full"], ["plan", "plan.yaml", "-v"]
    told = [secured.shell.run(*command, *how).text for command in commands for how in ([], ["--format", "json"])]
    kept = [path.read_bytes().decode(errors="replace") for path in (secured.shell.folder / ".migrator").rglob("*.*")]
    dumped = [secured.bench.read_object(key) for key in secured.bench.bucket_keys() if not key.startswith("files_")]
    assert len(dumped) > 5
    texts = [arguments, applied.text, *told, *kept, *(each.decode(errors="replace") for each in dumped)]
    assert not [text for text in texts for secret in SECRETS if secret in text]


WRONG: dict[str, tuple[dict[str, str], str, str]] = {
    "no-login": (
        {"username": "", "password": ""},
        "the login was refused (missing authorization in header)",
        "add target.milvus.username and target.milvus.password",
    ),
    "password": ({"password": "$WRONG"}, "the login was refused (auth check failure", "target.milvus.password"),
    "user": ({"username": "stranger"}, "the login was refused (auth check failure", "target.milvus.username"),
    "token": (
        {"username": "", "password": "", "token": "$WRONG"},
        "the login was refused (auth check failure",
        "correct target.milvus.token",
    ),
    "privilege": (
        {"username": "reader", "password": "$NOBODY"},
        "the user lacks a privilege (Privilege",
        "to reader, or log in as another user (target.milvus.username)",
    ),
    "authority": ({"tls.ca_cert": "other_ca.pem"}, "issued by Books and Sons", "set target.milvus.tls.ca_cert"),
    "name": ({"tls.server_name": "elsewhere"}, "and not for elsewhere", "set target.milvus.tls.server_name"),
    "client": (
        {"tls.client_cert": "foreign.pem", "tls.client_key": "foreign.key"},
        "refuses the certificate of target.milvus.tls.client_cert",
        "its authority has signed",
    ),
    "key": ({"tls.client_key": "server.key"}, "target.milvus.tls.client_key is not the key of", "of one certificate"),
    "no-client": (
        {"tls.client_cert": "", "tls.client_key": "", "tls.mode": "server"},
        "wants a client certificate, and target.milvus.tls names none",
        "mode: mutual",
    ),
    "http": ({"uri": "http://{b}", "tls": ""}, "target.milvus.uri says http", "mode mutual"),
    "store": ({"uri": "https://{s3}"}, "an S3 service", "correct target.milvus.uri"),
}


@pytest.mark.parametrize("what", WRONG)
def test_every_wrong_setting_is_named(secured: Secured, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    for name, value in (*secured.bench.environment.items(), ("WRONG", WRONG_PASSWORD), ("NOBODY", NOBODY)):
        monkeypatch.setenv(name, value)
    changes, problem, remedy = WRONG[what]
    told = secured.refused(changes)
    assert problem in told
    assert remedy in told


def test_a_wrong_password_ends_a_command_and_is_shown_nowhere(secured: Secured) -> None:
    answer = secured.shell.run("plan", "plan.yaml", code=30, MILVUS_PASSWORD=WRONG_PASSWORD)
    assert "correct source.milvus.password" in answer.text
    assert WRONG_PASSWORD not in answer.text
