"""Real Milvus and S3 servers on loopback, for the demo, tests and benchmarks.

    lab = Lab(".lab")
    state = lab.up(instances=2)
    state.instances[0].uri, state.instances[0].root_path, state.s3_endpoint, state.bucket
    lab.down()

Needs Linux on x86_64 and the extra `lab`; elsewhere `up` raises `LabUnavailable`.
"""

from migrator.lab.errors import LabError, LabUnavailable, PortTaken, ServerDied
from migrator.lab.lab import Lab, ServerStatus
from migrator.lab.state import Instance, LabState, LabTls, Place, Server, Settings

__all__ = [
    "Instance",
    "Lab",
    "LabError",
    "LabState",
    "LabTls",
    "LabUnavailable",
    "Place",
    "PortTaken",
    "Server",
    "ServerDied",
    "ServerStatus",
    "Settings",
]
