"""What uploads refuse, and why."""

from __future__ import annotations

from server.kit.problems import (
    BadRequest,
    BodyTooLarge,
    Conflict,
    Forbidden,
    NotFound,
    PreconditionFailed,
    Problem,
    RequestTimeout,
    UnsupportedMediaType,
)


class NoSuchUpload(NotFound):
    code = "no_such_upload"
    title = "There is no such upload"

    def __init__(self) -> None:
        super().__init__("There is no such upload: begin a new one.")


class UploadGone(Problem):
    """Its time is over, or its video was deleted."""

    status = 410
    code = "upload_gone"
    title = "The upload is not there any more"


class BadUpload(BadRequest):
    code = "bad_upload"
    title = "The headers of the upload are not what tus 1.0.0 has"


class WrongVersion(PreconditionFailed):
    code = "tus_version"
    title = "This is not a version of tus that the server speaks"


class WrongOffset(Conflict):
    """Ask by HEAD where to go on."""

    code = "wrong_offset"
    title = "The upload is not at this offset"


class UploadComplete(Conflict):
    code = "upload_complete"
    title = "The upload is complete"


class NotComplete(Conflict):
    code = "upload_not_complete"
    title = "A part is not complete"


class UploadLocked(Problem):
    """Another connection is bringing bytes of it."""

    status = 423
    code = "upload_locked"
    title = "The upload is being written to"

    def __init__(self) -> None:
        super().__init__("Another connection brings bytes of this upload. Wait until it has ended.")
        self.headers["Retry-After"] = "2"


class WrongChecksum(Problem):
    """What this request brought was thrown away: send it again."""

    status = 460
    code = "wrong_checksum"
    title = "The bytes are not those of the checksum"


class NotByPatch(Forbidden):
    code = "final_upload"
    title = "A final upload takes no bytes"


class UploadTooLarge(BodyTooLarge):
    code = "upload_too_large"
    title = "The upload is too large"


class NotAVideo(UnsupportedMediaType):
    code = "not_a_video"
    title = "The file is not a video that is taken here"


class TooSlow(RequestTimeout):
    """By tus it goes on where it was; only the connection has ended."""

    code = "too_slow"
    title = "The bytes come too slowly"


class BrokenBody(BadRequest):
    code = "broken_body"
    title = "The body broke off"


class TooManyUploads(Problem):
    status = 429
    code = "too_many_uploads"
    title = "There are too many uploads of yours"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.headers["Retry-After"] = "10"


class NoRoom(Problem):
    status = 503
    code = "uploads_full"
    title = "This server takes no more uploads just now"

    def __init__(self) -> None:
        super().__init__("As many uploads are under way as this server takes at once; try again in a moment.")
        self.headers["Retry-After"] = "5"
