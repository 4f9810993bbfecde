"""Users, roles and grants of a Milvus 2.3.5, in memory and on a real server that asks nobody for a password."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryMilvus, MemoryStore
from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.errors import MilvusRefused
from migrator.model.collection import CollectionRef
from migrator.model.rbac import Binding, Grant
from tests.support.builders import FakeClock, a_grant
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bench import Bench


@dataclass(frozen=True, slots=True)
class Subject:
    """One Milvus, and names nobody has used."""

    milvus: MemoryMilvus | GrpcMilvus

    def new_user(self) -> str:
        """A user, made the way an administrator does."""
        name = f"u_{secrets.token_hex(6)}"
        if isinstance(self.milvus, MemoryMilvus):
            self.milvus.create_user(name)
        else:
            with connected(self.milvus.uri) as client:
                client.create_user(name, "secret12")
        return name

    def new_role(self) -> str:
        """A role without grants."""
        name = f"r_{secrets.token_hex(6)}"
        self.milvus.create_role(name)
        return name

    def new_database(self) -> str:
        """An empty one."""
        name = f"d_{secrets.token_hex(6)}"
        self.milvus.create_database(name)
        return name

    def grants_of(self, role: str) -> set[Grant]:
        """What the server tells."""
        return {grant for grant in self.milvus.read_rbac().grants if grant.role == role}

    def users_of(self, role: str) -> set[str]:
        """What the server tells."""
        return {binding.user for binding in self.milvus.read_rbac().bindings if binding.role == role}


@pytest.fixture(params=["memory", "server"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "memory":
        yield Subject(MemoryMilvus("memory", MemoryStore(), "files_A", FakeClock()))
        return
    bench: Bench = request.getfixturevalue("bench")
    milvus = GrpcMilvus(MilvusEndpoint(uri=bench.a.uri, plan_field="target.milvus"))
    yield Subject(milvus)
    milvus.close()


def test_what_every_server_has_is_left_out_but_for_grants_of_public(subject: Subject) -> None:
    found = subject.milvus.read_rbac()
    assert not {"admin", "public"} & set(found.roles)
    assert "root" not in found.users
    assert {(g.database, g.object_type, g.object_name, g.privilege) for g in found.grants if g.role == "public"} == {
        ("*", "Collection", "*", "IndexDetail"),
        ("*", "Global", "*", "DescribeCollection"),
        ("*", "Global", "*", "ShowCollections"),
    }


def test_a_role_comes_and_goes(subject: Subject) -> None:
    role, user = subject.new_role(), subject.new_user()
    assert role in subject.milvus.read_rbac().roles
    assert user in subject.milvus.read_rbac().users
    with pytest.raises(MilvusRefused, match="already exists"):
        subject.milvus.create_role(role)
    subject.milvus.add_to_role(Binding(role=role, user=user))
    subject.milvus.drop_role(role)
    assert role not in subject.milvus.read_rbac().roles
    assert subject.users_of(role) == set()
    with pytest.raises(MilvusRefused, match="not found the role"):
        subject.milvus.drop_role(role)


def test_users_get_roles_and_lose_them(subject: Subject) -> None:
    role, user = subject.new_role(), subject.new_user()
    binding = Binding(role=role, user=user)
    for _ in range(2):
        subject.milvus.add_to_role(binding)
        assert subject.users_of(role) == {user}
    for _ in range(2):
        subject.milvus.remove_from_role(binding)
        assert subject.users_of(role) == set()
    subject.milvus.add_to_role(Binding(role=role, user="root"))
    assert subject.users_of(role) == {"root"}
    with pytest.raises(MilvusRefused, match="not found the user"):
        subject.milvus.add_to_role(Binding(role=role, user="nobody_at_all"))
    with pytest.raises(MilvusRefused, match="not found the role"):
        subject.milvus.add_to_role(Binding(role="no_such_role", user=user))


def test_grants_are_told_with_their_database_and_need_no_object(subject: Subject) -> None:
    role, database = subject.new_role(), subject.new_database()
    grants = {
        a_grant(CollectionRef("default", "never_made"), role=role),
        a_grant(CollectionRef(database, "films"), role=role),
        a_grant(CollectionRef(database, "*"), role=role),
        a_grant(CollectionRef("*", "books"), role=role),
        Grant(role=role, database="*", object_type="Global", object_name="*", privilege="CreateCollection"),
        Grant(role=role, database=database, object_type="Global", object_name="*", privilege="*"),
        Grant(role=role, database="default", object_type="User", object_name="*", privilege="UpdateUser"),
    }
    for _ in range(2):
        for grant in grants:
            subject.milvus.grant(grant)
        assert subject.grants_of(role) == grants
    with pytest.raises(MilvusRefused, match="has privileges"):
        subject.milvus.drop_role(role)
    for _ in range(2):
        for grant in grants:
            subject.milvus.revoke(grant)
        assert subject.grants_of(role) == set()
    with pytest.raises(MilvusRefused, match="not found the role"):
        subject.milvus.grant(a_grant(role="no_such_role"))


def test_a_grant_in_a_database_that_is_gone_is_not_told(subject: Subject) -> None:
    role, database = subject.new_role(), subject.new_database()
    subject.milvus.grant(a_grant(CollectionRef(database, "films"), role=role))
    subject.milvus.drop_database(database)
    assert subject.grants_of(role) == set()
    subject.milvus.create_database(database)
    assert subject.grants_of(role) == {a_grant(CollectionRef(database, "films"), role=role)}


def test_grants_in_other_databases_do_not_hold_a_role_and_outlive_it(subject: Subject) -> None:
    role, database = subject.new_role(), subject.new_database()
    grant = a_grant(CollectionRef(database, "films"), role=role)
    subject.milvus.grant(grant)
    subject.milvus.drop_role(role)
    assert subject.grants_of(role) == set()
    subject.milvus.create_role(role)
    assert subject.grants_of(role) == {grant}
    subject.milvus.revoke(grant)
    assert subject.grants_of(role) == set()
