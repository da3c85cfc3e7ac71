"""What can go wrong with second factors, as problems."""

from __future__ import annotations

from server.kit.problems import Conflict, Forbidden, TooManyRequests, Unauthorized


class BadChallenge(Unauthorized):
    """Unknown, expired, answered already, or tried too often: begin again."""

    code = "bad_challenge"
    title = "The challenge is not valid"


class WrongFactor(Unauthorized):
    """The code or the passkey is not the account's, or was used before."""

    code = "wrong_factor"
    title = "The code or the passkey is not right"


class WrongProof(Forbidden):
    """The caller is signed in, and what was sent does not prove who is there."""

    code = "wrong_proof"
    title = "The password, code or passkey is not right"


class FactorNeeded(Forbidden):
    """An account with second factors proves itself by one of `factors`; its password alone does not do."""

    code = "factor_needed"
    title = "A second factor has to be shown"


class BadPasskey(Conflict):
    """What the browser made does not fit the options it was given."""

    code = "bad_passkey"
    title = "The passkey cannot be kept"


class FactorConflict(Conflict):
    code = "factor_conflict"
    title = "The second factors of the account do not allow this"


class LastWayIn(Conflict):
    """Without this nobody could sign in to the account again."""

    code = "last_way_in"
    title = "This is the only way to sign in"


class CodesLocked(TooManyRequests):
    """Too many wrong answers for this account, from whatever address. Passkeys and recovery codes still work."""

    code = "codes_locked"
    title = "Too many wrong answers"


class PasskeysUnavailable(Conflict):
    code = "passkeys_unavailable"
    title = "This server's address cannot have passkeys"
