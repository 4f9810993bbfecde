"""A starter plan file: blocks with comments, as a person would write them."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from migrator.spec.places import S3_FAMILY, is_same_endpoint, is_same_milvus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from migrator.spec.foreign_config import Block, ForeignConfig, Variable
    from migrator.spec.source_map import Data

_COMMENTS = {
    ("name",): "Identity of the migration: a second plan of this name would go on where this one stopped.",
    ("vars",): "`--var suffix=_new` overrides it.",
    ("source",): "The cluster to read; nothing is ever written there.",
    ("source", "storage"): "As in this server's milvus.yaml: minio.address, bucketName, rootPath.",
    ("target",): "The cluster to write to.",
    ("target", "storage"): "As in that server's milvus.yaml.",
    ("staging",): "Where the dump goes: <bucket>/<root_path>/<backup_name>/, outside of every Milvus's root path.",
    ("staging", "storage"): "What is left out here is taken from target.storage.",
    ("collections",): 'What is migrated: [database.]collection, globs as "db1.*"; "*.*" is everything.',
    ("options",): "How a run behaves; every key has a default.",
}
_TAIL = """
# More that can be said, for each collection or for all of them under `defaults:`
#   if_exists: fail | skip | replace          aliases: copy | move | none
#   indexes: rebuild | auto | none            load: as_source | always | never
# and under `options:`
#   verify: counts | sample | full            rbac: true
"""
_REFERENCE_COMMENT = (
    "Plan files live in git: a secret is a reference, {env: NAME} or {file: path}, and never the value."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What a starter plan says; without `target` it makes a backup only."""

    name: str
    source: Block
    target: Block | None
    staging: Block
    collections: tuple[str, ...] = ("*.*",)
    suffix: str = ""
    streams: bool = False
    mirrors_state: bool = False
    """Whether the journal is kept in the staging bucket too, so that another machine can go on with a run."""
    variables: tuple[Variable, ...] = ()
    notes: tuple[str, ...] = ()

    def to_yaml(self, *, schema: str | None = None) -> str:
        """The file's text; `schema` is where an editor finds the JSON Schema, relative to the file."""
        root = _commented(self._data(), ())
        root.yaml_set_start_comment("\n".join(self._head()))
        writer = YAML()
        writer.width = 110
        writer.indent(mapping=2, sequence=4, offset=2)
        stream = io.StringIO()
        writer.dump(root, stream)
        first = f"# yaml-language-server: $schema={schema}\n" if schema else ""
        return first + stream.getvalue().rstrip("\n") + "\n" + (_TAIL if self.target else "")

    def _head(self) -> list[str]:
        lines = ["A migration for migrator: migrator validate, check, plan, apply."]
        if self.variables:
            width = max(len(each.name) for each in self.variables)
            lines += ["", "Variables to set before it runs:"]
            lines += [f"  {each.name:<{width}}  {each.meaning}" for each in self.variables]
        if self.notes:
            lines += ["", "Please look at:", *(f"  {note}" for note in self.notes)]
        return lines

    def _data(self) -> Block:
        data: Block = {"version": 1, "name": self.name}
        if self.suffix:
            data["vars"] = {"suffix": self.suffix}
        data["source"] = self.source
        if self.target is not None:
            data["target"] = self.target
        data["staging"] = self.staging
        data["collections"] = [self._mapping(source) for source in self.collections]
        options: Block = {"transfer": {"mode": "stream"}} if self.streams else {}
        if self.mirrors_state:
            options["state"] = "staging"
        if options:
            data["options"] = options
        return data

    def _mapping(self, source: str) -> Data:
        if not self.suffix or self.target is None:
            return source
        in_database = "{{ database }}." if "." in source else ""
        return {"source": source, "target": f"{in_database}{{{{ collection }}}}{{{{ vars.suffix }}}}"}


def _commented(data: Mapping[str, Data], path: tuple[str, ...]) -> CommentedMap:
    """The block as ruamel writes it: references in one line, comments above the keys they explain."""
    block = CommentedMap()
    for key, value in data.items():
        place = (*path, key)
        block[key] = _node(value, place)
        if comment := _COMMENTS.get(place):
            before = f"\n{comment}" if not path else comment
            block.yaml_set_comment_before_after_key(key, before=before, indent=2 * len(path))
        if place == ("source", "storage", "credentials"):
            block.yaml_set_comment_before_after_key(key, before=_REFERENCE_COMMENT, indent=2 * len(path))
    if set(data) == {"env"}:
        block.fa.set_flow_style()
    return block


def _node(value: Data, place: tuple[str, ...]) -> object:
    if isinstance(value, dict):
        return _commented(value, place)
    if isinstance(value, list):
        return CommentedSeq(_node(each, (*place, "[]")) for each in value)
    return value


def plan_name(text: str) -> str:
    """`text` as the name of a plan: lower case, digits and hyphens."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")
    return name or "migration"


def starter_from(
    name: str,
    source: ForeignConfig,
    target: ForeignConfig | None,
    *,
    collections: tuple[str, ...],
    suffix: str,
    backup_name: str | None,
) -> Starter:
    """The plan that does what two configurations of milvus-backup did, one after the other.

    The dump lies where the target's configuration looks for backups: what the source's writes elsewhere was carried
    there by hand.
    """
    keeper = target or source
    staging, variables = _staging(source, target)
    staging |= {"root_path": keeper.backup_root} | ({"backup_name": backup_name} if backup_name else {})
    notes = [*source.notes, *(target.notes if target else ())]
    if target is not None and is_same_milvus(str(source.milvus["uri"]), str(target.milvus["uri"])):
        notes.append("source and target are one and the same Milvus: a target needs another name or database")
    if target is not None and _place(source) != _place(target):
        notes.append(
            f"the source's configuration keeps backups in {_place(source)}, the target's in {_place(target)}: the dump "
            f"goes to the latter"
        )
    return Starter(
        name=name,
        source=source.cluster,
        target=target.cluster if target else None,
        staging=staging,
        collections=collections,
        suffix=suffix,
        streams=source.streams or keeper.streams,
        variables=(*source.variables, *(target.variables if target else ()), *variables),
        notes=tuple(notes),
    )


def _place(config: ForeignConfig) -> str:
    return "/".join(part for part in (str(config.backup_storage.get("bucket", "")), config.backup_root) if part)


def _staging(source: ForeignConfig, target: ForeignConfig | None) -> tuple[Block, list[Variable]]:
    """The staging storage, as little of it as says what is meant, and the variables it adds."""
    if target is None:
        storage = {key: value for key, value in source.backup_storage.items() if key != "root_path"}
        return {"storage": storage}, source.backup_variables
    own, base = target.backup_storage, target.storage
    if not _is_one_service(own, base):
        storage = {key: value for key, value in own.items() if key != "root_path"}
        return {"storage": storage}, target.backup_variables
    if own.get("bucket") == base.get("bucket"):
        return {}, []
    return {"storage": {"bucket": own["bucket"]}}, []


def _is_one_service(one: Block, other: Block) -> bool:
    providers = {str(one["provider"]), str(other["provider"])}
    endpoints = (one.get("endpoint"), other.get("endpoint"))
    is_one = is_same_endpoint(*(None if each is None else str(each) for each in endpoints))
    return (len(providers) == 1 or providers <= S3_FAMILY) and is_one and one.get("account") == other.get("account")


def find_schema(path: Path) -> str | None:
    """Where the plan file's JSON Schema lies in the repository around `path`, relative to it."""
    folder = path.absolute().parent
    for ups, above in enumerate((folder, *folder.parents)):
        if (above / "schemas" / "plan.schema.json").is_file():
            return "/".join([*[".."] * ups, "schemas", "plan.schema.json"])
        if (above / ".git").exists():
            break
    return None
