"""What a person agrees to, by flags or on the terminal; some things `--yes` does not cover."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from migrator.planning.plan import Plan

ALLOW_ALIAS_MOVE = "--allow-alias-move"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consents:
    """What the command line allows without a question."""

    yes: bool
    alias_move: bool


def may_move_aliases(plan: "Plan", *, allowed: bool, may_ask: bool) -> bool:
    """Whether the plan may take aliases from other collections: by the flag, or by a person who was asked."""
    from migrator.model.collection import CollectionRef  # noqa: PLC0415 - keeps --help fast
    from migrator.steps.switch_alias import SwitchAlias  # noqa: PLC0415 - as above

    moves = [
        f"{CollectionRef(step.target.database, move.alias).short} from {move.owner} to {step.target.name}"
        for step in plan.steps
        if isinstance(step, SwitchAlias)
        for move in step.moves
    ]
    if allowed or not moves:
        return True
    what = f"the plan moves the alias{'es' if len(moves) > 1 else ''} {', '.join(moves)}"
    if not may_ask or not sys.stdin.isatty():
        message = f"{what}, and --yes does not cover that: add {ALLOW_ALIAS_MOVE}"
        raise typer.BadParameter(message, param_hint=ALLOW_ALIAS_MOVE)
    try:
        return typer.confirm(f"\n{what[0].upper()}{what[1:]}. Move {'them' if len(moves) > 1 else 'it'}?")
    except typer.Abort:
        typer.echo()
        return False
