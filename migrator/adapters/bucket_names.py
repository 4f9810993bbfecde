"""The buckets that there are at a service, for whoever named one that there is not."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import obstore
from obstore.exceptions import BaseError

from migrator.adapters.creating import trusted_authorities
from migrator.adapters.store_opening import service_root

if TYPE_CHECKING:
    from migrator.adapters.store_endpoint import StoreEndpoint

_NAME = re.compile(r"<Bucket>(?:(?!</Bucket>).)*?<Name>([A-Za-z0-9._-]{1,255})</Name>", re.DOTALL)


def find_bucket_names(endpoint: StoreEndpoint) -> tuple[str, ...] | None:
    """The names of the buckets, sorted; None where the service does not tell it, or not to these credentials.

    obstore signs the address of the service's root, as it signs every request; it cannot send that request itself.
    """
    if endpoint.bucket is None or not endpoint.speaks_s3 or endpoint.credentials == "none":
        return None
    try:
        url = obstore.sign(service_root(endpoint), "GET", "", timedelta(minutes=5))
        answer = httpx.get(url, timeout=10, verify=trusted_authorities(endpoint))
    except (httpx.HTTPError, BaseError, ValueError):
        return None
    return tuple(sorted(_NAME.findall(answer.text))) if answer.status_code == 200 else None
