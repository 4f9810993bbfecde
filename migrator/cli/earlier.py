"""What a plan is compared with and measured by: earlier runs, and saved plans."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from migrator.reports.plain import clean

if TYPE_CHECKING:
    from migrator.planning.plan import Plan
    from migrator.reports.beside import Beside
    from migrator.running.runs import StateDirectory
    from migrator.spec.loaded import LoadedPlan

LAST = "last"


def find_earlier(
    against: str, loaded: "LoadedPlan", state: "StateDirectory", *, only: str | None
) -> "tuple[str, Plan]":
    """What `--against` names, in words, and its plan, of which `only` keeps collections as it does of the new one.

    Raises:
        BadParameter: It is no such thing.
        StalePlan: The saved plan is not whole, or was edited.
    """
    from migrator.planning.planner import of_only  # noqa: PLC0415 - keeps --help fast

    origin, earlier = _find(against, loaded, state)
    return origin, of_only(earlier, only)


def _find(against: str, loaded: "LoadedPlan", state: "StateDirectory") -> "tuple[str, Plan]":
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    if against == LAST:
        last = workflow.find_last(loaded, state)
        if last is None:
            raise _wrong(f"the state directory {state.folder} holds no run of the plan {loaded.name}")
        return f"run {last[0]}", last[1]
    path = Path(against)
    if not path.is_file():
        raise _wrong(f"there is no file {path}; name a saved plan, or say last for the last run")
    saved = workflow.find_saved(path)
    if saved is None:
        raise _wrong(f"{path} is not a saved plan; migrator plan PLAN --out FILE writes one")
    if saved.plan.name != loaded.name:
        raise _wrong(f"{path} is a saved plan of {saved.plan.name}, and this one is {loaded.name}")
    return f"the saved plan {path}", saved.plan


def _wrong(message: str) -> typer.BadParameter:
    return typer.BadParameter(clean(message), param_hint="--against")


def told_beside(
    made: "Plan", loaded: "LoadedPlan", state: "StateDirectory", earlier: "tuple[str, Plan] | None" = None
) -> "Beside":
    """How long the plan takes by what is known of earlier runs, and what has changed since `earlier`."""
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast
    from migrator.planning.changes import changes  # noqa: PLC0415 - as above
    from migrator.reports.beside import Against, beside  # noqa: PLC0415 - as above

    against = None if earlier is None else Against(origin=earlier[0], changes=changes(earlier[1], made))
    return beside(made, workflow.pace_of(made, loaded, state), against)
