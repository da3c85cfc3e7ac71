"""What can go wrong with accounts and sessions, as problems."""

from __future__ import annotations

from server.kit.problems import BadRequest, Conflict, Forbidden, NotFound, TooManyRequests, Unauthorized, Unavailable


class UsernameTaken(Conflict):
    code = "username_taken"
    title = "Somebody has this username"


class EmailTaken(Conflict):
    code = "email_taken"
    title = "Another account has verified this e-mail address"


class BadLink(BadRequest):
    code = "bad_link"
    title = "The link is not good, or not any more"


class WrongPassword(Forbidden):
    code = "wrong_password"
    title = "The present password is wrong"


class PasswordChangedMeanwhile(Conflict):
    code = "password_changed_meanwhile"
    title = "The password was changed by another request"


class LastAdmin(Conflict):
    code = "last_admin"
    title = "Nobody would be left to administer this"


class RegistrationClosed(Forbidden):
    code = "registration_closed"
    title = "Nobody can register here"


class WrongCredentials(Unauthorized):
    """The same for an unknown account and a wrong password: an answer tells nobody who has an account."""

    code = "wrong_credentials"
    title = "The name or the password is wrong"


class SecondFactorRequired(Unauthorized):
    """The password was right, and is not enough for this account. challenge: goes with the second factor to
    /api/v1/auth/login/second-factor within five minutes. factors: which the account has."""

    code = "second_factor_required"
    title = "A second factor is needed"

    def __init__(self, challenge: str, factors: list[str]) -> None:
        super().__init__("Complete the sign-in with one of the factors.", challenge=challenge, factors=factors)


class NoSuchSession(NotFound):
    code = "no_such_session"
    title = "There is no such session"


class NoSuchAccount(NotFound):
    code = "no_such_account"
    title = "There is no such account"


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
