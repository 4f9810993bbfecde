"""Copying between two buckets of one S3 service through obstore, whose copy knows one bucket only."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.adapters.objects import StoreEndpoint


def has_neighbours(endpoint: StoreEndpoint) -> bool:
    """Whether other buckets have an address too: an endpoint that only the environment knows has none for us."""
    is_hidden = endpoint.ambient and any(name.upper().startswith("AWS_ENDPOINT") for name in os.environ)
    return endpoint.endpoint is not None or not is_hidden


def copier_of(endpoint: StoreEndpoint, bucket: str) -> StoreEndpoint:
    """How to reach the bucket of `endpoint` so that what is copied comes out of `bucket`.

    obstore names the store's bucket as a copy's source, and in the address it is sent to. A virtual-host address has
    its bucket in it already: then obstore adds none, and the named bucket is the source's alone.
    """
    service = endpoint.endpoint or f"https://s3.{endpoint.region or 'us-east-1'}.amazonaws.com"
    scheme, _, host = service.rstrip("/").partition("://")
    own = f"{endpoint.bucket}.{host}" if endpoint.virtual_host_style else f"{host}/{endpoint.bucket}"
    return replace(endpoint, bucket=bucket, endpoint=f"{scheme}://{own}", virtual_host_style=True)
