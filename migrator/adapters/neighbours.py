"""Copying between two buckets of one S3 service through obstore, whose copy knows one bucket only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.adapters.store_endpoint import StoreEndpoint


def has_neighbours(endpoint: StoreEndpoint) -> bool:
    """Whether objects can be copied out of other buckets too: obstore makes nobody but S3 do that."""
    return endpoint.bucket is not None and endpoint.speaks_s3


def copier_of(endpoint: StoreEndpoint, bucket: str) -> StoreEndpoint:
    """How to reach the bucket of `endpoint` so that what is copied comes out of `bucket`.

    obstore names the store's bucket as a copy's source, and in the address it is sent to. An address that has a bucket
    in it already gets no other: then the named bucket is the source's alone.
    """
    address = endpoint.bucket_url
    if not endpoint.is_virtual_hosted:
        address = f"{address}/{endpoint.bucket}"
    return replace(endpoint, bucket=bucket, address=address)
