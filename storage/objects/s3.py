"""Objects on an S3 server, by aiobotocore. Owns one client, from `start` to `close`.

Depends on nothing that small servers do not have: a ranged GET may be answered 200 with everything, no conditional
put, and a multipart upload that the server has forgotten is begun again from the file.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import aiohttp
from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from aiobotocore.session import get_session  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from storage.objects.store import StoreError, check_key, check_prefix

_log = logging.getLogger(__name__)

_SINGLE = 16 * 1024 * 1024
"""Up to this many bytes an object is one request; above it is uploaded in parts."""
_PART = 8 * 1024 * 1024
_MOST_PARTS = 9_000
_QUICK = 64 * 1024
"""Up to this many bytes a digest is worked out in the loop."""
_UPLOAD_ATTEMPTS = 3
LARGEST_COPY = 5 * 1024**3
"""Bytes that S3 copies in one request."""
_COPIED_PART = 512 * 1024 * 1024
_ABSENT = ("404", "NoSuchKey", "NotFound")


class S3Store:
    """endpoint: http(s)://host[:port]; the bucket is made when it is not there."""

    def __init__(self, endpoint: str, bucket: str, *, region: str, access_key: str, secret_key: str) -> None:
        self._endpoint = endpoint
        self._bucket = bucket
        self._region = region
        self._access_key = access_key
        self._secret_key = secret_key
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def start(self) -> None:
        """Make the client and, if the server is there, the bucket. A server that is away is only logged."""
        config = AioConfig(
            signature_version="s3v4",
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
            retries={"mode": "standard", "max_attempts": 3},
            # bodies are held by Content-MD5, which is worked out beside the loop; signing them would read them in it
            s3={"addressing_style": "path", "payload_signing_enabled": False},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self._client = await self._stack.enter_async_context(
            get_session().create_client(
                "s3",
                endpoint_url=self._endpoint,
                region_name=self._region,
                aws_access_key_id=self._access_key or None,
                aws_secret_access_key=self._secret_key or None,
                config=config,
            )
        )
        try:
            await self._make_bucket()
        except StoreError as error:
            _log.warning("%s; what is written waits in the spool", error)

    async def close(self) -> None:
        self._client = None
        await self._stack.aclose()

    def describe(self) -> dict[str, object]:
        return {"kind": "s3", "endpoint": self._endpoint, "bucket": self._bucket}

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        check_key(key)
        for attempt in (1, 2):
            try:
                with self.said(f"put {key}"):
                    await self.client.put_object(
                        Bucket=self._bucket,
                        Key=key,
                        Body=data,
                        ContentType=content_type,
                        ContentMD5=await _digest(data),
                    )
                return
            except StoreError as error:
                if attempt == 2 or code_of(error.__cause__) != "NoSuchBucket":
                    raise
                await self._make_bucket()

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        check_key(key)
        try:
            size = (await asyncio.to_thread(path.stat)).st_size
            if size <= _SINGLE:
                await self.put(key, await asyncio.to_thread(path.read_bytes), content_type)
                return
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or error}") from error
        for attempt in range(1, _UPLOAD_ATTEMPTS + 1):
            try:
                await self._put_parts(key, path, size, content_type)
                return
            except StoreError as error:
                if attempt == _UPLOAD_ATTEMPTS or code_of(error.__cause__) not in ("NoSuchUpload", "NoSuchBucket"):
                    raise
                await self._make_bucket()

    async def put_open(self, key: str, file: IO[bytes], size: int, digest: bytes) -> None:
        """Store `size` bytes of an open file from its beginning. digest: their MD5. The file stays open."""
        check_key(key)
        tag = base64.b64encode(digest).decode()
        for attempt in (1, 2):
            try:
                with self.said(f"put {key}"):
                    await self.client.put_object(
                        Bucket=self._bucket, Key=key, Body=file, ContentLength=size, ContentMD5=tag
                    )
                return
            except StoreError as error:
                if attempt == 2 or code_of(error.__cause__) != "NoSuchBucket":
                    raise
                await self._make_bucket()
                file.seek(0)

    async def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes | None:
        check_key(key)
        begin = start or 0
        if end is not None and end <= begin:
            return b"" if await self.size(key) is not None else None
        ranged = start is not None or end is not None
        # The last byte is part of an HTTP range.
        extra = {"Range": f"bytes={begin}-{'' if end is None else end - 1}"} if ranged else {}
        try:
            with self.said(f"get {key}"):
                answer = await self.client.get_object(Bucket=self._bucket, Key=key, **extra)
                async with answer["Body"] as body:
                    data: bytes = await body.read()
        except StoreError as error:
            code = code_of(error.__cause__)
            if code in _ABSENT or code == "NoSuchBucket":
                return None
            if code in ("InvalidRange", "416"):
                return b""
            raise
        # Small servers answer 200 where 206 is right: with Content-Range they still sent the range, without it all.
        if ranged and answer["ResponseMetadata"]["HTTPStatusCode"] == 200 and not answer.get("ContentRange"):
            return data[begin:end]
        return data

    async def size(self, key: str) -> int | None:
        check_key(key)
        try:
            with self.said(f"head {key}"):
                answer = await self.client.head_object(Bucket=self._bucket, Key=key)
        except StoreError as error:
            if code_of(error.__cause__) in (*_ABSENT, "NoSuchBucket"):
                return None
            raise
        return int(answer["ContentLength"])

    async def copy(self, source: str, destination: str) -> bool:
        try:
            with self.said(f"copy {check_key(source)} to {check_key(destination)}"):
                await self.client.copy_object(
                    Bucket=self._bucket, Key=destination, CopySource={"Bucket": self._bucket, "Key": source}
                )
        except StoreError as error:
            code = code_of(error.__cause__)
            if code in (*_ABSENT, "NoSuchBucket"):
                return False
            # above 5 GiB servers refuse, each with words of its own
            size = await self.size(source) if isinstance(error.__cause__, ClientError) else None
            if size is None or size <= LARGEST_COPY:
                raise
            await copy_in_parts(self, source, destination, size)
        return True

    async def delete(self, keys: Collection[str]) -> None:
        wanted = [check_key(key) for key in keys]
        for at in range(0, len(wanted), 1000):
            objects = [{"Key": key} for key in wanted[at : at + 1000]]
            with self.said(f"delete {len(objects)} objects"):
                answer = await self.client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
                )
            errors = [error for error in answer.get("Errors", ()) if error.get("Code") not in _ABSENT]
            if errors:
                raise StoreError(f"S3 {self._endpoint}: delete {errors[0].get('Key')}: {errors[0].get('Message')}")

    async def delete_prefix(self, prefix: str) -> int:
        if not check_prefix(prefix):
            raise ValueError("an empty prefix would delete everything")
        count = 0
        batch: list[str] = []
        async for key, _ in self.list(prefix):
            batch.append(key)
        for at in range(0, len(batch), 1000):
            await self.delete(batch[at : at + 1000])
            count += len(batch[at : at + 1000])
        return count

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        check_prefix(prefix)
        token: dict[str, str] = {}
        while True:
            try:
                with self.said(f"list {prefix}"):
                    page = await self.client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **token)
            except StoreError as error:
                if code_of(error.__cause__) == "NoSuchBucket":
                    return
                raise
            for item in page.get("Contents", ()):
                yield item["Key"], int(item["Size"])
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def folders(self, prefix: str, after: str, most: int) -> Sequence[str]:
        check_prefix(prefix)
        names: list[str] = []
        # the next character behind a slash: nothing below the last one is looked at again
        more = {"StartAfter": f"{prefix}{after}0"} if after else {}
        while len(names) < most:
            try:
                with self.said(f"list {prefix}"):
                    page = await self.client.list_objects_v2(
                        Bucket=self._bucket, Prefix=prefix, Delimiter="/", MaxKeys=min(most, 1000), **more
                    )
            except StoreError as error:
                if code_of(error.__cause__) == "NoSuchBucket":
                    return []
                raise
            found = [item["Prefix"].removeprefix(prefix).rstrip("/") for item in page.get("CommonPrefixes", ())]
            names += [name for name in found if name > after]
            if not page.get("IsTruncated"):
                break
            more = {"ContinuationToken": page["NextContinuationToken"]}
        return sorted(names)[:most]

    @property
    def bucket(self) -> str:
        return self._bucket

    @property
    def client(self) -> Any:
        """aiobotocore's. Raises StoreError when there is none."""
        if self._client is None:
            raise StoreError("the S3 store is not started")
        return self._client

    async def _make_bucket(self) -> None:
        with self.said(f"bucket {self._bucket}"):
            try:
                await self.client.head_bucket(Bucket=self._bucket)
                return
            except ClientError as error:
                if code_of(error) not in (*_ABSENT, "NoSuchBucket"):
                    raise
            where = (
                {}
                if self._region == "us-east-1"
                else {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
            )
            try:
                await self.client.create_bucket(Bucket=self._bucket, **where)
            except ClientError as error:
                if code_of(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    async def _put_parts(self, key: str, path: Path, size: int, content_type: str) -> None:
        part_size = max(_PART, -(-size // _MOST_PARTS))
        name = {"Bucket": self._bucket, "Key": key}
        with self.said(f"put {key}"):
            upload = (await self.client.create_multipart_upload(**name, ContentType=content_type))["UploadId"]
            try:
                parts = []
                for number, at in enumerate(range(0, size, part_size), 1):
                    body = await asyncio.to_thread(_read, path, at, part_size)
                    parts.append({"PartNumber": number, "ETag": await self.put_part(key, upload, number, body)})
                await self.client.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": parts})
            except BaseException:
                await self.forget_upload(key, upload)
                raise

    async def put_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        """Of a multipart upload; its tag. Raises what the libraries raise."""
        answer = await self.client.upload_part(
            Bucket=self._bucket,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            Body=data,
            ContentMD5=await _digest(data),
        )
        return str(answer["ETag"])

    async def forget_upload(self, key: str, upload: str) -> None:
        """Parts of a multipart upload nobody finishes are paid for; a server that is away cleans up by its own rules.
        Never raises."""
        with contextlib.suppress(BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError):
            await self.client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)

    @contextmanager
    def said(self, what: str) -> Iterator[None]:
        """Whatever the libraries raise becomes a StoreError that says what was tried; its cause is the original."""
        try:
            yield
        except (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise StoreError(f"S3 {self._endpoint}: {what}: {error or type(error).__name__}") from error


async def copy_in_parts(
    store: S3Store, source: str, destination: str, size: int, part_size: int = _COPIED_PART
) -> None:
    """An object of `size` bytes by a multipart upload of ranges of it, one after the other. Raises StoreError."""
    name = {"Bucket": store.bucket, "Key": destination}
    origin = {"Bucket": store.bucket, "Key": source}
    with store.said(f"copy {source} to {destination}"):
        kind = (await store.client.head_object(**origin))["ContentType"]
        upload = (await store.client.create_multipart_upload(**name, ContentType=kind))["UploadId"]
        try:
            parts = []
            for number, at in enumerate(range(0, size, part_size), 1):
                answer = await store.client.upload_part_copy(
                    **name,
                    UploadId=upload,
                    PartNumber=number,
                    CopySource=origin,
                    CopySourceRange=f"bytes={at}-{min(at + part_size, size) - 1}",
                )
                tag = str(answer.get("CopyPartResult", {}).get("ETag") or "")
                if not tag:  # small servers answer 200, with an empty part
                    raise StoreError(f"{source} is too large for this store to copy")
                parts.append({"PartNumber": number, "ETag": tag})
            await store.client.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            await store.forget_upload(destination, upload)
            raise


def code_of(error: BaseException | None) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


async def _digest(data: bytes) -> str:
    """For Content-MD5: the store refuses what did not come whole."""
    if len(data) > _QUICK:
        found = await asyncio.to_thread(hashlib.md5, data, usedforsecurity=False)
    else:
        found = hashlib.md5(data, usedforsecurity=False)
    return base64.b64encode(found.digest()).decode()


def _read(path: Path, at: int, length: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(at)
        return file.read(length)
