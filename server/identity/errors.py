"""What can go wrong with accounts and sessions, as problems."""

from __future__ import annotations

from server.kit.problems import Conflict, Forbidden, TooManyRequests, Unauthorized, Unavailable


class UsernameTaken(Conflict):
    code = "username_taken"
    title = "Somebody has this username"


class EmailTaken(Conflict):
    code = "email_taken"
    title = "Another account has verified this e-mail address"


class RegistrationClosed(Forbidden):
    code = "registration_closed"
    title = "Nobody can register here"


class WrongCredentials(Unauthorized):
    """The same for an unknown account and a wrong password: an answer tells nobody who has an account."""

    code = "wrong_credentials"
    title = "The name or the password is wrong"


class BadRefreshToken(Unauthorized):
    code = "bad_refresh_token"
    title = "The refresh token is not valid"


class RefreshTokenReused(Unauthorized):
    """A refresh token was used twice, so two parties have it: the session has ended for both. Sign in again."""

    code = "refresh_token_reused"
    title = "The refresh token was used before"


class TooManyAttempts(TooManyRequests):
    code = "too_many_attempts"
    title = "Too many attempts from this address"


class HashingBusy(Unavailable):
    code = "busy"
    title = "Too many people are signing in at once"
