"""What can go wrong with profiles and avatars, as problems."""

from __future__ import annotations

from server.kit.problems import Conflict, Invalid, NotFound, TooManyRequests, UnsupportedMediaType


class NoSuchPerson(NotFound):
    code = "no_such_person"
    title = "Nobody has this username"


class UsernameLately(Conflict):
    """`retry_at` says when it may be changed again."""

    code = "username_changed_lately"
    title = "The username was changed not long ago"


class NotAPicture(UnsupportedMediaType):
    """Told by the file's content, whatever its name or declared type."""

    code = "not_a_picture"
    title = "The file is no picture of a kind that is taken"


class BadPicture(Invalid):
    """Damaged, incomplete, or of more pixels than are decoded."""

    code = "bad_picture"
    title = "The picture cannot be used"


class TooManyPictures(TooManyRequests):
    code = "too_many_pictures"
    title = "Too many pictures are being sent"
