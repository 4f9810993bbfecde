"""moto's S3 server as a program of its own, without a log line per request: `python s3_server.py HOST PORT`.

Objects live in memory and end with the process; signatures are not checked.
"""

from __future__ import annotations

import logging
import sys

from moto.server import main

if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    host, port = sys.argv[1:]
    main(["--host", host, "--port", port])
