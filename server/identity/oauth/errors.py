"""What can go wrong on the way to a provider and back, as problems."""

from __future__ import annotations

from server.kit.problems import BadRequest, Conflict, Forbidden, NotFound, Unavailable


class UnknownProvider(NotFound):
    code = "unknown_provider"
    title = "This server does not sign in with that provider"


class ProviderUnavailable(Unavailable):
    code = "provider_unavailable"
    title = "The provider cannot be reached, or answers nonsense"


class BadSignInCode(BadRequest):
    """The code is unknown, used, older than two minutes, or was made for another browser or app. Begin again."""

    code = "bad_sign_in_code"
    title = "The code is not one that can be traded here"


class LinkNeeded(Conflict):
    """An account here has verified the address that the provider vouches for. It is opened by its own means alone:
    sign in to it, then link the provider."""

    code = "link_needed"
    title = "An account with this e-mail address exists"


class LinkedElsewhere(Conflict):
    code = "linked_elsewhere"
    title = "That account is linked to another one here, or this one to another there"


class AccountDisabled(Forbidden):
    code = "account_disabled"
    title = "This account cannot sign in"
