"""Taking an alias from another collection: `--yes` does not cover it, a flag of its own or a person does."""

import sys
from typing import TYPE_CHECKING

from migrator.cli.options import FlagNeeded, is_wanted

if TYPE_CHECKING:
    from migrator.planning.plan import Plan

ALLOW_ALIAS_MOVE = "--allow-alias-move"


def may_move_aliases(made: "Plan", *, may_ask: bool) -> bool:
    """Whether the aliases that the plan takes from others may be; asks on a terminal, where there are any."""
    from migrator.steps.switch_alias import SwitchAlias  # noqa: PLC0415 - keeps --help fast

    switches = [step for step in made.steps if isinstance(step, SwitchAlias)]
    moves = [f"{move.alias} from {move.owner} to {step.target.short}" for step in switches for move in step.moves]
    if not moves:
        return True
    what = f"the alias{'' if len(moves) == 1 else 'es'} {', '.join(moves)}"
    if not may_ask or not sys.stdin.isatty():
        raise FlagNeeded(f"the plan moves {what}, which --yes does not cover: add {ALLOW_ALIAS_MOVE}")
    return is_wanted(f"Move {what}?", otherwise="move them")
