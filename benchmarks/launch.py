"""Run a command, and write its seconds and its peak memory into a file: `python -IS launch.py FILE COMMAND…`.

A small process of its own, since a child's peak counts what its parent held when it was forked.
"""

import json
import os
import sys
import time


def main() -> int:
    """The exit code is the command's."""
    report, command = sys.argv[1], sys.argv[2:]
    started = time.perf_counter()
    child = os.fork()
    if not child:
        try:
            os.execvp(command[0], command)  # noqa: S606 - the benchmark's own command, no shell
        finally:
            os._exit(127)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    spent = {
        "seconds": seconds,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
    }
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would be most of this process
        json.dump(spent, file)
    return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    sys.exit(main())
