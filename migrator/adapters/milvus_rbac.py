"""Users, roles and grants in Milvus's messages, as 2.3 knows them; privilege groups came later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.adapters.milvus_messages import milvus_pb2
from migrator.model.rbac import BUILT_IN_ROLES, ROOT, Binding, Grant, Rbac

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from migrator.adapters.milvus_values import Message

    Call = Callable[[str, Message, str], Message]
    """Sends a request by its method and what it is about, errors translated."""


def read_rbac(call: Call, databases: Iterable[str]) -> Rbac:
    """What the server tells of all roles in `databases`; grants in every database are told with those of each."""
    listed = call("SelectRole", milvus_pb2.SelectRoleRequest(include_user_info=True), "").results
    names = call("ListCredUsers", milvus_pb2.ListCredUsersRequest(), "").usernames
    roles = sorted(result.role.name for result in listed)
    grants = {grant for database in databases for role in roles for grant in _grants(call, role, database)}
    bindings = {Binding(role=result.role.name, user=user.name) for result in listed for user in result.users}
    return Rbac(
        users=tuple(sorted(set(names) - {ROOT})),
        roles=tuple(sorted(set(roles) - BUILT_IN_ROLES)),
        grants=tuple(sorted(grants)),
        bindings=tuple(sorted(bindings)),
    )


def _grants(call: Call, role: str, database: str) -> Iterable[Grant]:
    entity = milvus_pb2.GrantEntity(role=milvus_pb2.RoleEntity(name=role), db_name=database)
    reply = call("SelectGrant", milvus_pb2.SelectGrantRequest(entity=entity), f"{role} in {database}")
    for found in reply.entities:
        yield Grant(
            role=found.role.name,
            database=found.db_name,
            object_type=found.object.name,
            object_name=found.object_name,
            privilege=found.grantor.privilege.name,
        )


def create_role(call: Call, role: str) -> None:
    """Create it; refused where it exists."""
    call("CreateRole", milvus_pb2.CreateRoleRequest(entity=milvus_pb2.RoleEntity(name=role)), role)


def drop_role(call: Call, role: str) -> None:
    """Drop it with its users; refused where it is not there or has grants."""
    call("DropRole", milvus_pb2.DropRoleRequest(role_name=role), role)


def operate_privilege(call: Call, grant: Grant, operation: Message) -> None:
    """Grant or revoke."""
    entity = milvus_pb2.GrantEntity(
        role=milvus_pb2.RoleEntity(name=grant.role),
        object=milvus_pb2.ObjectEntity(name=grant.object_type),
        object_name=grant.object_name,
        grantor=milvus_pb2.GrantorEntity(privilege=milvus_pb2.PrivilegeEntity(name=grant.privilege)),
        db_name=grant.database,
    )
    call("OperatePrivilege", milvus_pb2.OperatePrivilegeRequest(entity=entity, type=operation), str(grant))


def operate_user_role(call: Call, binding: Binding, operation: Message) -> None:
    """Give the role to the user, or take it."""
    request = milvus_pb2.OperateUserRoleRequest(username=binding.user, role_name=binding.role, type=operation)
    call("OperateUserRole", request, str(binding))
