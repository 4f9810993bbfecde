"""Users, roles and grants of a Milvus, as values that compare and sort; passwords are no part of them."""

from __future__ import annotations

from dataclasses import dataclass

ROOT = "root"
"""The user every Milvus has, with every right."""
BUILT_IN_ROLES = frozenset({"admin", "public"})
ANY = "*"
"""As an object's or a database's name: all of them."""
COLLECTION_OBJECT = "Collection"
USER_OBJECT = "User"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Grant:
    """A privilege of a role on an object; who granted it is not kept."""

    role: str
    database: str
    object_type: str
    object_name: str
    privilege: str

    def __str__(self) -> str:
        return f"{self.privilege} on {self.object_type} {self.database}.{self.object_name} to {self.role}"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Binding:
    """A role that a user has."""

    role: str
    user: str

    def __str__(self) -> str:
        return f"role {self.role} to user {self.user}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rbac:
    """Who may do what, each sorted; `users` is without `root` and `roles` without the built-in ones.

    Grants to built-in roles and roles of `root` are among `grants` and `bindings`.
    """

    users: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    bindings: tuple[Binding, ...] = ()
