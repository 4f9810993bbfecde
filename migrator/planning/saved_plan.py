"""A plan written down for a later apply: deterministic, versioned, free of secrets and of its machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from migrator.errors import RunError, StalePlan
from migrator.model.codec import from_json
from migrator.planning.json_pieces import indented
from migrator.planning.plan import Access, PlannedCollection, Side, digest_of, plan_of, plan_parts, step_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from migrator.planning.plan import Plan
    from migrator.steps.base import Step

MARK = "migrator saved plan"
SAVED_PLAN_SHOWS = 200
"""By so many bytes at its begin."""
_LIST: Final = re.compile(r' {4}"(collections|steps)": \[\n')
_LIST_ENDS: Final = " " * 4 + "]"
_ITEM_ENDS: Final = (" " * 6 + "},\n", " " * 6 + "}\n")
"""Lines around the items of the long lists, as `SavedPlan.pieces` writes them."""


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
    return content.lstrip().startswith(b"{") and MARK.encode() in content[:SAVED_PLAN_SHOWS]


def read_saved_plan(lines: Iterable[str], *, name: str) -> SavedPlan:
    """What `SavedPlan.to_text` wrote, of which collections and steps are made while it is read.

    Raises:
        StalePlan: It is not whole, was edited, or is of another version.
    """
    items: dict[str, list[Any]] = {each: [] for each in _MAKE}
    try:
        plain: dict[str, Any] = json.loads("".join(_without_items(iter(lines), items)))
        file = SavedPlanFile.model_validate(plain)
        for each, make in _MAKE.items():  # a text that is laid out otherwise has them among the rest
            items[each] += map(make, map(json.dumps, plain["plan"][each]))
        plan = plan_of(plain["plan"], collections=items["collections"], steps=items["steps"])
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


def _step(text: str) -> Step:
    SavedStep.model_validate_json(text)
    return step_from_json(text)


_MAKE: Final[Mapping[str, Callable[[str], Any]]] = {
    "collections": partial(from_json, PlannedCollection),
    "steps": _step,
}


def _without_items(lines: Iterator[str], items: dict[str, list[Any]]) -> Iterator[str]:
    """The text with empty lists where items were."""
    for line in lines:
        yield line
        if found := _LIST.fullmatch(line):
            yield _read_items(lines, items[found[1]], _MAKE[found[1]])


def _read_items(lines: Iterator[str], items: list[Any], make: Callable[[str], Any]) -> str:
    """The line that ends a list, of which all items were made."""
    item: list[str] = []
    for line in lines:
        if line.startswith(_LIST_ENDS) and not item:
            return line
        item.append(line.strip())
        if line in _ITEM_ENDS:
            items.append(make("".join(item).removesuffix(",")))
            item = []
    raise ValueError("a list does not end")


def _unreadable(name: str, reason: str) -> StalePlan:
    return StalePlan(f"the saved plan {name} cannot be read: {reason}", hint="plan again, with --out")


def _places(error: ValidationError) -> str:
    places = sorted({".".join(map(str, each["loc"])) for each in error.errors()})
    return f"another version of migrator wrote it, or it was edited ({', '.join(places[:5])})"
