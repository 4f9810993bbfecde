"""Users, roles and grants between two servers that ask for passwords: compared, merged, told, undone."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from migrator.lab import Lab, LabUnavailable
from tests.support.bench import skip_unless_possible
from tests.support.cli import SECRET, Shell
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "Sesame-never-told-1"  # noqa: S105 - of users that live as long as the test
ROWS = [{"id": i, "vector": [float(i), 1.0, 0.0, 0.0]} for i in range(20)]
PLAN = """\
version: 1
name: rbac
clusters: {clusters}
source: a
target: b
staging: {{backup_name: rbac}}
collections:
  - {{source: books, target: books_bak}}
  - db1.films
options: {{rbac: true}}
"""


@dataclass(frozen=True, slots=True)
class Guarded:
    """Two servers with authorization, and a folder with a plan between them."""

    lab: Lab
    shell: Shell

    def access(self, number: int) -> dict[str, set[str]]:
        """Each role's grants and users, and the users, as a client of the server sees them."""
        state = self.lab.state()
        with connected(state.instances[number].uri, token=state.token) as client:
            found = {"users": set(client.list_users())}
            for role in client.list_roles():
                told = [g for db in client.list_databases() for g in _privileges(client, role, db)]
                found[role] = {f"{g['privilege']} {g['object_type']} {g['db_name']}.{g['object_name']}" for g in told}
            for user in found["users"]:
                for role in client.describe_user(user).get("roles", ()):
                    found[role].add(f"user {user}")
        return found

    def read_as(self, user: str, database: str, collection: str) -> int:
        """How many rows of the target the user is given, with the password; rights take seconds to count."""
        from pymilvus import MilvusException  # noqa: PLC0415 - slow to import

        with connected(self.lab.state().instances[1].uri, database, token=f"{user}:{PASSWORD}") as client:
            for _ in range(30):
                with contextlib.suppress(MilvusException):
                    return len(client.query(collection, filter="id >= 0", limit=100))
                time.sleep(1)
        return 0

    def plan(self, code: int) -> dict[str, Any]:
        """The plan as JSON."""
        answer = self.shell.run("plan", "plan.yaml", "--format", "json", "--detailed-exitcode", code=code)
        plan: dict[str, Any] = json.loads(answer.out)
        return plan


def _privileges(client: Any, role: str, database: str) -> list[dict[str, Any]]:  # noqa: ANN401 - untyped library
    found: list[dict[str, Any]] = client.describe_role(role, db_name=database)["privileges"]
    return found


def fill(client: Any, name: str) -> None:  # noqa: ANN401 - untyped library
    client.create_collection(name, dimension=4)
    client.insert(name, ROWS)
    client.flush(name)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The source has readers and writers; the target knows alice, and readers with a grant of its own."""
    lab = Lab(tmp_path_factory.mktemp("guarded_lab"))
    try:
        state = lab.up(instances=2, authorization=True, auto_compaction=False)
    except LabUnavailable as error:
        skip_unless_possible(error)
        raise
    try:
        a, b = state.instances
        with connected(a.uri, token=state.token) as client:
            fill(client, "books")
            fill(client, "other")
            client.create_database("db1")
            for user in ("alice", "bob"):
                client.create_user(user, PASSWORD)
            for role in ("reader", "writer"):
                client.create_role(role)
            client.grant_privilege("reader", "Collection", "Query", "books")
            client.grant_privilege("reader", "Collection", "Query", "films", db_name="db1")
            client.grant_privilege("reader", "Collection", "Query", "other")
            client.grant_privilege("writer", "Global", "CreateCollection", "*")
            client.grant_privilege("writer", "Collection", "Insert", "*", db_name="db1")
            client.grant_role("alice", "reader")
            client.grant_role("bob", "reader")
            client.grant_role("bob", "writer")
        with connected(a.uri, "db1", token=state.token) as client:
            fill(client, "films")
        with connected(b.uri, token=state.token) as client:
            client.create_user("alice", PASSWORD)
            client.create_role("reader")
            client.grant_privilege("reader", "Collection", "Search", "theirs")
        environment = {**state.environment, "S3_SECRET_ACCESS_KEY": SECRET}
        shell = Shell(tmp_path_factory.mktemp("guarded_shell"), environment)
        shell.write("plan.yaml", PLAN.format(clusters=lab.clusters_file))
        yield Guarded(lab, shell)
    finally:
        lab.down()


def test_access_is_merged_told_and_undone(guarded: Guarded) -> None:
    shell, before, at_source = guarded.shell, guarded.access(1), guarded.access(0)

    planned = guarded.plan(3)["access"]
    assert set(planned["added"]) == {
        "role writer",
        "Query on Collection default.books_bak to reader",
        "Query on Collection db1.films to reader",
        "CreateCollection on Global default.* to writer",
        "Insert on Collection db1.* to writer",
        "role reader to user alice",
    }
    assert planned["changed"] == [
        "Query on Collection default.books to reader: granted on default.books_bak at the target"
    ]
    assert "bob" in planned["not_carried"][0]
    assert "password" in planned["not_carried"][0]
    assert "other" in planned["not_carried"][1]
    assert planned["stays"] == ["Search on Collection default.theirs to reader"]
    text = shell.run("plan", "plan.yaml").out
    assert "+ Query on Collection default.books_bak to reader" in text
    assert guarded.access(1) == before

    part = shell.run("plan", "plan.yaml", "--only", "books").out
    assert "--only" in part
    assert "to reader" not in part

    applied = shell.run("apply", "plan.yaml", "--yes")
    assert PASSWORD not in applied.text
    after = guarded.access(1)
    assert after["reader"] - before["reader"] == {
        "Query Collection default.books_bak",
        "Query Collection db1.films",
        "user alice",
    }
    assert after["writer"] == {"CreateCollection Global default.*", "Insert Collection db1.*"}
    assert before["reader"] <= after["reader"]
    assert after["users"] == before["users"]
    assert after["public"] == before["public"]
    assert guarded.access(0) == at_source
    assert guarded.read_as("alice", "default", "books_bak") == len(ROWS)
    assert guarded.read_as("alice", "db1", "films") == len(ROWS)
    status = shell.run("status").out
    assert "role writer" in status

    assert guarded.plan(0)["access"]["added"] == []
    assert "Nothing to do" in shell.run("apply", "plan.yaml", "--yes").out

    # bob is there now: what is left of access is a change by itself
    state = guarded.lab.state()
    with connected(state.instances[1].uri, token=state.token) as client:
        client.create_user("bob", PASSWORD)
    assert guarded.plan(3)["access"]["added"] == ["role reader to user bob", "role writer to user bob"]
    second = shell.run("apply", "plan.yaml", "--yes", "--format", "json")
    assert [event["step"] for event in second.events if event["event"] == "step_finished"] == ["restore_rbac"]
    assert guarded.access(1)["writer"] == after["writer"] | {"user bob"}
    assert guarded.plan(0)["access"]["not_carried"][0].startswith("Query on Collection default.other to reader")

    # the first run's role has got a user since: it stays, and so do rights of a role that was there before
    first, last = (run["run_id"] for run in json.loads(shell.run("runs", "--format", "json").out))
    answer = shell.run("rollback", first, "--yes", code=20)
    assert "role writer to user bob" in answer.text
    assert guarded.access(1)["reader"] == before["reader"] | {"user bob"}
    shell.run("rollback", last, "--yes")
    assert guarded.access(1)["reader"] == before["reader"]
    shell.run("rollback", first, "--yes")
    assert guarded.access(1) == {**before, "users": before["users"] | {"bob"}}

    # and none of it ever wrote a password down
    for name, content in shell.files().items():
        assert PASSWORD.encode() not in content, name


@pytest.fixture
def carol(guarded: Guarded) -> Iterator[None]:
    """A user of the source with root's password, who may look at everything but access."""
    state = guarded.lab.state()
    rights = [("Global", "ListDatabases"), ("Collection", "GetStatistics"), ("Collection", "Query")]
    with connected(state.instances[0].uri, token=state.token) as client:
        client.create_user("carol", state.token.partition(":")[2])
        client.create_role("looker")
        for kind, privilege in rights:
            client.grant_privilege("looker", kind, privilege, "*")
        client.grant_role("carol", "looker")
        yield
        for kind, privilege in rights:
            client.revoke_privilege("looker", kind, privilege, "*")
        client.drop_role("looker")
        client.drop_user("carol")


@pytest.mark.usefixtures("carol")
def test_a_login_that_may_not_read_access_is_told_what_it_lacks(guarded: Guarded) -> None:
    clusters = guarded.lab.clusters_file.read_text(encoding="utf-8")
    guarded.shell.write("carol.yaml", clusters.replace("username: root", "username: carol", 1))
    plan = ("plan", "plan.yaml", "--clusters", "carol.yaml")
    for _ in range(20):  # rights take seconds to count
        answer = guarded.shell.run(*plan, code=30)
        if "ListDatabases" not in answer.err:
            break
        time.sleep(1)
    assert "PrivilegeSelectOwnership: permission deny to carol" in answer.err
    assert "grant the privilege" in answer.err
