"""A plan written down for a later apply: deterministic, versioned, free of secrets and of its machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from migrator.errors import RunError, StalePlan
from migrator.planning.json_pieces import indented
from migrator.planning.plan import Access, PlannedCollection, Side, digest_of, plan_from_plain, plan_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.planning.plan import Plan

MARK = "migrator saved plan"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SavedFile(_Model):
    """A file the plan was made of."""

    path: str = Field(description="Relative to the saved plan's own folder.")
    sha256: str = Field(description="Of its bytes.")


class SavedStep(BaseModel):
    """A step; beside these it has the keys of its kind."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    key: str
    describe: str = Field(description="What it does, for people.")
    needs: list[str] = Field(description="Keys of steps that have to be finished before.")
    follows: list[str] = Field(description="Keys of steps that have to be over before, however they end.")
    collection: str = Field(description="The mapping's target it belongs to; empty for the run as a whole.")


class SavedPlanBody(_Model):
    """What would be done; the same that `migrator plan --format json` prints."""

    format_version: int = Field(ge=1)
    name: str
    description: str
    digest: str = Field(description="Over the plan file's content and all that was observed and decides what is done.")
    source: Side
    target: Side | None
    dump: str
    has_changes: bool
    notices: list[str]
    collections: list[PlannedCollection]
    access: Access | None
    steps: list[SavedStep]


class SavedPlanFile(_Model):
    """What `migrator plan --out` writes, and `migrator apply` takes in place of a plan file."""

    kind: Literal["migrator saved plan"]
    format_version: Literal[1]
    plan_file: SavedFile
    clusters_file: SavedFile | None = Field(description="None where the clusters stand in the plan file.")
    variables: dict[str, str] = Field(description="As --var gave them.")
    only: str | None = Field(description="As --only gave it.")
    plan: SavedPlanBody
    digest: str = Field(description="Over all of the above: the identity of this saved plan.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """A plan, and what it was made of; paths are relative to the folder it is saved in."""

    plan: Plan
    plan_file: tuple[str, str]
    """Path and SHA-256."""
    clusters_file: tuple[str, str] | None
    variables: Mapping[str, str]
    only: str | None

    def to_text(self) -> str:
        """The file's content: equal for equal plans, byte for byte."""
        return "".join(self.pieces())

    def pieces(self) -> Iterator[str]:
        """The same, a little at a time."""
        yield from indented(self._plain() | {"digest": self.digest}, 2)
        yield "\n"

    @property
    def digest(self) -> str:
        """Its identity: a saved plan is applied once."""
        return digest_of(self._plain())

    def _plain(self) -> dict[str, Any]:
        return {
            "kind": MARK,
            "format_version": 1,
            "plan_file": _file(self.plan_file),
            "clusters_file": None if self.clusters_file is None else _file(self.clusters_file),
            "variables": dict(sorted(self.variables.items())),
            "only": self.only,
            "plan": plan_parts(self.plan),
        }


def _file(file: tuple[str, str]) -> dict[str, str]:
    return {"path": file[0], "sha256": file[1]}


def is_saved_plan(content: bytes) -> bool:
    """Whether a file's first bytes are those of a saved plan, and not of a plan file."""
    return content.lstrip().startswith(b"{") and MARK.encode() in content[:200]


def read_saved_plan(content: bytes, *, name: str) -> SavedPlan:
    """What `SavedPlan.to_text` wrote.

    Raises:
        StalePlan: It is not whole, was edited, or is of another version.
    """
    try:
        plain: dict[str, Any] = json.loads(content)
        file = SavedPlanFile.model_validate(plain)
        plan = plan_from_plain(plain["plan"])
    except ValidationError as error:
        raise _unreadable(name, _places(error)) from None
    except ValueError:
        raise _unreadable(name, "it is not whole") from None
    except RunError as error:
        raise _unreadable(name, error.message) from None
    saved = SavedPlan(
        plan=plan,
        plan_file=(file.plan_file.path, file.plan_file.sha256),
        clusters_file=None if file.clusters_file is None else (file.clusters_file.path, file.clusters_file.sha256),
        variables=file.variables,
        only=file.only,
    )
    if saved.digest != file.digest:
        raise StalePlan(
            f"the saved plan {name} was edited after it was written: its digest does not fit",
            hint="edit the plan file instead, and plan again with --out",
        )
    return saved


def _unreadable(name: str, reason: str) -> StalePlan:
    return StalePlan(f"the saved plan {name} cannot be read: {reason}", hint="plan again, with --out")


def _places(error: ValidationError) -> str:
    places = sorted({".".join(map(str, each["loc"])) for each in error.errors()})
    return f"another version of migrator wrote it, or it was edited ({', '.join(places[:5])})"
