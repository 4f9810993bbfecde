"""What `--yes` does not cover: it is asked for by itself, or allowed by a flag of its own."""

import sys
from typing import TYPE_CHECKING

from migrator.cli.options import FlagNeeded, is_wanted

if TYPE_CHECKING:
    from migrator.planning.plan import Plan


def may_replace(made: "Plan", *, may_ask: bool) -> bool:
    """Whether the collections that the plan replaces may be; asks on a terminal, where there are any."""
    replaced = [planned.label for planned in made.collections if planned.replaces is not None]
    if not replaced:
        return True
    names = ", ".join(replaced)
    if not may_ask or not sys.stdin.isatty():
        raise FlagNeeded(f"the plan replaces {names}, which --yes does not cover: add --allow-replace")
    return is_wanted(f"Replace {names}?", otherwise="replace them")
