"""What obstore lacks for stores that speak S3, through boto3 where that is installed (the extra `s3`).

Everything goes to the address of the store, with its keys, authority and way of naming the bucket.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any

from migrator.adapters.store_credentials import Keys, key_finder
from migrator.errors import ObjectMissing, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.adapters.store_endpoint import StoreEndpoint
    from migrator.model.segment import StoredObject

PART_BYTES = 512 * 1024**2
_MOST_PARTS = 10_000
_AT_ONCE = 8
_KEYS_LAST_S = 300
"""After what time keys are looked for anew; those of roles live longer."""
_ROLES = {"assume-role-with-web-identity", "container-role", "iam-role"}
"""botocore's names of the places where a role's keys are found, and nobody's own."""


def find_service(endpoint: StoreEndpoint) -> S3Service | None:
    """The service behind a store; None where it is no S3, or nobody in particular asks, or boto3 is not installed."""
    if endpoint.bucket is None or not endpoint.speaks_s3 or endpoint.credentials == "none":
        return None
    if endpoint.iam_endpoint and os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return None  # boto3 would trade the pod's token elsewhere
    if find_spec("boto3") is None:  # importing it takes half a second, and few ever need it
        return None
    return S3Service(endpoint)


class S3Service:
    """Requests about multipart uploads."""

    def __init__(self, endpoint: StoreEndpoint) -> None:
        self._endpoint = endpoint
        self._find_keys = key_finder(endpoint)
        self._guard = Lock()
        self._made: tuple[float, Any] | None = None

    def copy_in_parts(self, bucket: str, source: StoredObject, key: str, *, part_bytes: int = PART_BYTES) -> None:
        """Let the service copy an object of any size, out of one of its buckets; nothing passes through here.

        Raises:
            ObjectMissing: There is no such object any more, or it is another one now.
            StoreError: The service said no, or nothing; no part is left.
        """
        place = {"Bucket": self._endpoint.bucket, "Key": key}
        with _translated(self._endpoint, f"copying {source.key} in parts"):
            upload = place | {"UploadId": self._client().create_multipart_upload(**place)["UploadId"]}
            try:
                parts = self._copied_parts(
                    upload, bucket, source, max(part_bytes, -(-source.size_bytes // _MOST_PARTS))
                )
                self._client().complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
            except BaseException:
                self._client().abort_multipart_upload(**upload)
                raise

    def _copied_parts(
        self, upload: dict[str, Any], bucket: str, source: StoredObject, part_bytes: int
    ) -> list[dict[str, Any]]:
        same = {} if source.etag is None else {"CopySourceIfMatch": source.etag}

        def copied(start: int) -> dict[str, Any]:
            number, end = start // part_bytes + 1, min(start + part_bytes, source.size_bytes) - 1
            answer = self._client().upload_part_copy(
                **upload,
                **same,
                PartNumber=number,
                CopySource={"Bucket": bucket, "Key": source.key},
                CopySourceRange=f"bytes={start}-{end}",
            )
            return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

        with ThreadPoolExecutor(_AT_ONCE) as workers:
            return list(workers.map(copied, range(0, source.size_bytes, part_bytes)))

    def abort_uploads(self, prefix: str) -> None:
        """End the multipart uploads below a folder that nobody finished, with the parts they hold.

        Raises:
            StoreError: The service said no, or nothing.
        """
        with _translated(self._endpoint, f"listing the unfinished uploads of {prefix}/"):
            pages = self._client().get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._endpoint.bucket, Prefix=f"{prefix}/"):
                for upload in page.get("Uploads", ()):
                    self._client().abort_multipart_upload(
                        Bucket=self._endpoint.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    def _client(self) -> Any:  # noqa: ANN401 - boto3 ships no types
        with self._guard:
            now = time.monotonic()
            if self._made is None or now - self._made[0] > _KEYS_LAST_S:
                self._made = (now, _new_client(self._endpoint, self._find_keys() or _role_s_keys(self._endpoint)))
            return self._made[1]


def _new_client(endpoint: StoreEndpoint, keys: Keys) -> Any:  # noqa: ANN401 - boto3 ships no types
    style = "virtual" if endpoint.is_virtual_hosted else "path"
    config = import_module("botocore.config").Config(
        signature_version="s3v4",
        s3={"addressing_style": style},
        connect_timeout=5,
        read_timeout=300,
        retries={"mode": "standard", "max_attempts": 3},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
    )
    session = import_module("boto3").Session(
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token,
        region_name=endpoint.region,
    )
    return session.client("s3", endpoint_url=endpoint.service_url, verify=endpoint.ca_cert or True, config=config)


def _role_s_keys(endpoint: StoreEndpoint) -> Keys:
    session = import_module("botocore.session").get_session()
    if endpoint.iam_endpoint:
        session.set_config_variable("ec2_metadata_service_endpoint", endpoint.iam_endpoint)
    resolver = session.get_component("credential_provider")
    resolver.providers = [provider for provider in resolver.providers if provider.METHOD in _ROLES]
    found = resolver.load_credentials()
    if found is None:
        raise StoreRefused(
            "no credentials of type iam: this machine has no role",
            hint=f"correct {endpoint.plan_field}.credentials, or run where the role is given",
        )
    frozen = found.get_frozen_credentials()
    return Keys(frozen.access_key, frozen.secret_key, frozen.token)


@contextmanager
def _translated(endpoint: StoreEndpoint, what: str) -> Iterator[None]:
    foreign = import_module("botocore.exceptions")
    try:
        yield
    except foreign.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status in {404, 412} and code != "NoSuchBucket":
            raise ObjectMissing(f"{what} failed in {endpoint.place}: there is no such object any more") from error
        kind = StoreUnavailable if status >= 500 or status in {408, 429} or code == "SlowDown" else StoreRefused
        hint = f"see that {endpoint.plan_field}.credentials may do this"
        raise kind(f"{what} failed in {endpoint.place}: {code} (HTTP {status})", hint=hint) from error
    except foreign.BotoCoreError as error:
        raise StoreUnavailable(
            f"{what} got no answer from {endpoint.place}: {type(error).__name__}",
            hint=f"correct {endpoint.plan_field}.endpoint, or start the service",
        ) from error
