"""The calls about users, roles, grants and privilege groups (H)."""

from __future__ import annotations

import base64

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from tests.doubles.calls import Call, Service, hashed
from tests.doubles.state import Message, Refusal


class Users(Service):
    """H: users, roles and grants."""

    def CreateCredential(self, request: Message, call: Call) -> Message:
        if request.username in self.cluster.access.passwords:
            raise _refusal(f"user already exists: {request.username}", 29)
        self.cluster.access.passwords[request.username] = base64.b64decode(request.password).decode()
        return common_pb2.Status()

    def UpdateCredential(self, request: Message, call: Call) -> Message:
        self.cluster.access.passwords[request.username] = base64.b64decode(request.newPassword).decode()
        return common_pb2.Status()

    def DeleteCredential(self, request: Message, call: Call) -> Message:
        self.cluster.access.passwords.pop(request.username, None)
        for users in self.cluster.access.roles.values():
            users.discard(request.username)
        return common_pb2.Status()

    def ListCredUsers(self, request: Message, call: Call) -> Message:
        return milvus_pb2.ListCredUsersResponse(usernames=list(self.cluster.access.passwords))

    def CreateRole(self, request: Message, call: Call) -> Message:
        if request.entity.name in self.cluster.access.roles:
            raise _refusal(f"role already exists: {request.entity.name}", 34)
        self.cluster.access.roles[request.entity.name] = set()
        return common_pb2.Status()

    def DropRole(self, request: Message, call: Call) -> Message:
        name = request.role_name
        if any(grant[0] == name for grant in self.cluster.access.grants):
            raise _refusal("fail to drop the role that it has privileges. Use REVOKE API to revoke privileges", 35)
        if self.cluster.access.roles.pop(name, None) is None:
            raise _refusal(f"not found the role, maybe the role isn't existed: {name}", 35)
        return common_pb2.Status()

    def OperateUserRole(self, request: Message, call: Call) -> Message:
        if request.role_name not in self.cluster.access.roles:
            raise _refusal(f"not found the role, maybe the role isn't existed: {request.role_name}", 37)
        users = self.cluster.access.roles[request.role_name]
        if request.type == 0:
            users.add(request.username)
        else:
            users.discard(request.username)
        return common_pb2.Status()

    def SelectRole(self, request: Message, call: Call) -> Message:
        reply = milvus_pb2.SelectRoleResponse()
        for name, users in self.cluster.access.roles.items():
            if request.role.name in {"", name}:
                result = reply.results.add()
                result.role.name = name
                if request.include_user_info:
                    result.users.extend(milvus_pb2.UserEntity(name=user) for user in sorted(users))
        return reply

    def SelectUser(self, request: Message, call: Call) -> Message:
        reply = milvus_pb2.SelectUserResponse()
        for name in self.cluster.access.passwords:
            if request.user.name in {"", name}:
                result = reply.results.add()
                result.user.name = name
                if request.include_role_info:
                    result.roles.extend(milvus_pb2.RoleEntity(name=role) for role in self._roles(name))
        return reply

    def _roles(self, user: str) -> list[str]:
        return sorted(role for role, users in self.cluster.access.roles.items() if user in users)

    def OperatePrivilege(self, request: Message, call: Call) -> Message:
        entity = request.entity
        grant = (
            entity.role.name,
            entity.object.name,
            entity.object_name,
            entity.grantor.privilege.name,
            entity.db_name or call.metadata_database or "default",
        )
        return self._operate(grant, request.type)

    def OperatePrivilegeV2(self, request: Message, call: Call) -> Message:
        kind = "Global" if request.collection_name in {"", "*"} else "Collection"
        grant = (
            request.role.name,
            kind,
            request.collection_name or "*",
            request.grantor.privilege.name,
            request.db_name or "default",
        )
        return self._operate(grant, request.type)

    def _operate(self, grant: tuple[str, str, str, str, str], kind: int) -> Message:
        if grant[0] not in self.cluster.access.roles:
            raise _refusal(f"not found the role, maybe the role isn't existed: {grant[0]}", 41)
        if kind == 0:
            self.cluster.access.grants.add(grant)
        else:
            self.cluster.access.grants.discard(grant)
        return common_pb2.Status()

    def SelectGrant(self, request: Message, call: Call) -> Message:
        entity = request.entity
        database = entity.db_name or call.metadata_database or "default"
        if entity.role.name not in self.cluster.access.roles:
            raise _refusal(f"not found the role, maybe the role isn't existed: {entity.role.name}", 43)
        reply = milvus_pb2.SelectGrantResponse()
        for grant in sorted(self.cluster.access.grants):
            if grant[0] == entity.role.name and grant[4] in {database, "*"}:
                reply.entities.append(_entity(grant))
        return reply

    def ListPrivilegeGroups(self, request: Message, call: Call) -> Message:
        reply = milvus_pb2.ListPrivilegeGroupsResponse()
        reply.privilege_groups.extend(self._groups())
        return reply

    def CreatePrivilegeGroup(self, request: Message, call: Call) -> Message:
        if request.group_name in self.cluster.access.groups:
            raise _refusal(f"privilege group name [{request.group_name}] is defined by built in privileges", 58)
        self.cluster.access.groups[request.group_name] = set()
        return common_pb2.Status()

    def DropPrivilegeGroup(self, request: Message, call: Call) -> Message:
        self.cluster.access.groups.pop(request.group_name, None)
        return common_pb2.Status()

    def OperatePrivilegeGroup(self, request: Message, call: Call) -> Message:
        if request.group_name not in self.cluster.access.groups:
            raise _refusal(f"there is no privilege group name [{request.group_name}] to operate", 60)
        names = {privilege.name for privilege in request.privileges}
        group = self.cluster.access.groups[request.group_name]
        self.cluster.access.groups[request.group_name] = group | names if request.type == 0 else group - names
        return common_pb2.Status()

    def BackupRBAC(self, request: Message, call: Call) -> Message:
        """All but `root`, `admin` and `public`; passwords are hashes."""
        access = self.cluster.access
        reply = milvus_pb2.BackupRBACMetaResponse()
        meta = reply.RBAC_meta
        for user, password in access.passwords.items():
            if user != "root":
                roles = [milvus_pb2.RoleEntity(name=role) for role in self._roles(user)]
                meta.users.add(user=user, password=hashed(password), roles=roles)
        meta.roles.extend(milvus_pb2.RoleEntity(name=role) for role in access.roles if role not in {"admin", "public"})
        meta.grants.extend(_entity(grant) for grant in sorted(access.grants))
        if self.rules.has("privilege_groups"):
            meta.privilege_groups.extend(self._groups())
        return reply

    def _groups(self) -> list[Message]:
        return [
            milvus_pb2.PrivilegeGroupInfo(
                group_name=name, privileges=[milvus_pb2.PrivilegeEntity(name=each) for each in sorted(privileges)]
            )
            for name, privileges in self.cluster.access.groups.items()
        ]

    def RestoreRBAC(self, request: Message, call: Call) -> Message:
        """Refused as a whole where anything is there already, and where it is empty."""
        self._require_new(request.RBAC_meta)
        access, meta = self.cluster.access, request.RBAC_meta
        for role in meta.roles:
            access.roles[role.name] = set()
        for group in meta.privilege_groups:
            access.groups[group.group_name] = {each.name for each in group.privileges}
        for user in meta.users:
            access.passwords[user.user] = user.password
            for role in user.roles:
                access.roles.setdefault(role.name, set()).add(user.user)
        for entity in meta.grants:
            privilege = entity.grantor.privilege.name
            grant = (entity.role.name, entity.object.name, entity.object_name, privilege, entity.db_name or "default")
            access.grants.add(grant)
        return common_pb2.Status()

    def _require_new(self, meta: Message) -> None:
        access = self.cluster.access
        if not (meta.users or meta.roles or meta.grants or meta.privilege_groups):
            raise _refusal("restore rbac meta is empty: invalid parameter", 1)
        if any(each.grantor.privilege.name == "*" for each in meta.grants) and not self.rules.has("wildcard_grants"):
            raise _refusal("not found the privilege name[*]", 1)
        for role in meta.roles:
            if role.name in access.roles:
                raise _refusal(f"role [{role.name}] already exists", 1)
        for user in meta.users:
            if user.user in access.passwords:
                raise _refusal(f"user [{user.user}] already exists", 1)
        for group in meta.privilege_groups:
            if group.group_name in access.groups:
                raise _refusal(f"privilege group [{group.group_name}] already exists", 1)


def _entity(grant: tuple[str, str, str, str, str]) -> Message:
    entity = milvus_pb2.GrantEntity(object_name=grant[2], db_name=grant[4])
    entity.role.name, entity.object.name, entity.grantor.privilege.name = grant[0], grant[1], grant[3]
    entity.grantor.user.name = "root"
    return entity


def _refusal(reason: str, legacy: int) -> Refusal:
    return Refusal(reason, code=65535, legacy=legacy)
