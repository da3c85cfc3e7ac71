"""What videos refuse, and why."""

from __future__ import annotations

from server.kit.http import Problem


class NoSuchVideo(Problem):
    status = 404
    code = "no_such_video"
    title = "There is no such video"


class NotYourVideo(Problem):
    status = 403
    code = "not_yours"
    title = "This video belongs to somebody else"


class NotFailed(Problem):
    status = 409
    code = "not_failed"
    title = "The video has not failed"


class AlreadyReplacing(Problem):
    status = 409
    code = "already_replacing"
    title = "Another file is on its way to take its place"


class NotReady(Problem):
    status = 409
    code = "not_ready"
    title = "The video is still being worked on"


class NothingRecorded(Problem):
    status = 409
    code = "nothing_recorded"
    title = "There is no recording to make a video of"


class SourceGone(Problem):
    status = 409
    code = "source_gone"
    title = "The uploaded file is not there any more"


class AlreadyPublished(Problem):
    status = 409
    code = "already_published"
    title = "The video is published already"


class QuotaReached(Problem):
    status = 409
    code = "quota_reached"
    title = "Your account holds as much video as it may"


class NoSuchThumbnail(Problem):
    status = 422
    code = "no_such_thumbnail"
    title = "The video has no such picture"


class NoSuchCaptions(Problem):
    status = 404
    code = "no_such_captions"
    title = "The video has no captions in this language"


class BadCaptions(Problem):
    status = 422
    code = "bad_captions"
    title = "The captions cannot be read"


class TooManyCaptions(Problem):
    status = 409
    code = "too_many_captions"
    title = "The video has captions in as many languages as it may"


class BadLanguage(Problem):
    status = 422
    code = "bad_language"
    title = "That is no language"


class BadChapters(Problem):
    status = 422
    code = "bad_chapters"
    title = "The chapters cannot be"


class BadThumbnail(Problem):
    status = 422
    code = "bad_picture"
    title = "The picture cannot be used"
