"""`python -m migrator`, and the console script.

The command line takes a tenth of a second to import; a Ctrl-C in that time shall end it as quietly as later.
"""

import gc
import os
import signal
from typing import NoReturn

from migrator.errors import Interrupted

LOOK_AFTER = 50_000
"""New values after which Python looks for garbage: what is imported is none, and would be looked through ten times."""


def main() -> NoReturn:
    """Run the command line."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(Interrupted.exit_code))
    gc.set_threshold(LOOK_AFTER)
    from migrator.cli import main as run  # noqa: PLC0415 - only after the signal is caught

    try:
        run()
    finally:
        gc.freeze()  # what the process holds at its end goes with it: no search for garbage among all of that


if __name__ == "__main__":
    main()
