"""What the lab tells a person when it cannot do what was asked."""

from __future__ import annotations

from migrator.errors import MigratorError


class LabError(MigratorError):
    """The lab cannot be started, found or stopped as asked; nothing outside its folder was touched."""

    exit_code = 30  # the cause is a server that does not come up, so it counts as Milvus before a run began


class LabUnavailable(LabError):
    """This machine cannot run the lab: another platform, or the extra is not installed."""


class ServerDied(LabError):
    """A server ended before it served."""


class PortTaken(ServerDied):
    """A server ended because somebody else got one of its ports first; other ports will do."""
