"""One depot of each kind, by name."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.services.azure import azurite
from tests.support.services.depot import LOCAL, Depot
from tests.support.services.google import google
from tests.support.services.rgw import rados_gateway
from tests.support.services.s3 import keyed_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def depot_of(kind: str, folder: Path) -> Iterator[Depot]:
    """A bucket of a service that is started for it: `local`, `s3`, `azure`, `google` or `rgw`."""
    match kind:
        case "local":
            yield LOCAL
        case "s3":
            with keyed_s3("s3", folder) as service:
                yield service.depot("Some_Bucket")
        case "azure":
            with azurite(folder) as service:
                yield service.depot("some-container")
        case "google":
            with google(folder) as service:
                yield service.depot("some-bucket")
        case _:
            with rados_gateway("rgw") as service:
                yield service.depot("some-bucket")
