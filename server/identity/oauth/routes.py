"""Signing in with an account elsewhere: /api/v1/auth/oauth/…"""

from __future__ import annotations

from aiohttp import hdrs, web

from server.identity.errors import RegistrationClosed, SecondFactorRequired, UsernameTaken
from server.identity.factors.errors import LastWayIn
from server.identity.oauth.errors import (
    AccountDisabled,
    BadSignInCode,
    LinkedElsewhere,
    LinkNeeded,
    ProviderUnavailable,
    UnknownProvider,
)
from server.identity.oauth.flow import FLOW_SECONDS, Flow
from server.identity.oauth.models import (
    Links,
    OneTimeCodeBody,
    ProviderItem,
    Providers,
    SignedInElsewhere,
    SignInLink,
    SignInStartBody,
    Started,
    TicketQuery,
)
from server.identity.oauth.service import Oauth
from server.identity.privacy.errors import AccountLeaving
from server.kit.http import Access, Call, Routes
from server.kit.problems import Invalid, NotFound


def routes(oauth: Oauth) -> Routes:
    api = Routes("accounts", "Accounts and sessions.")

    def remember(call: Call, flow: Flow | None) -> None:
        if flow is None:
            return
        for name in oauth.flows.surplus(call.request.cookies):
            call.set_cookie(name, "", max_age=0, secure=oauth.flows.secure)
        name, value = oauth.flows.cookie_name(flow.state), oauth.flows.seal(flow)
        call.set_cookie(name, value, max_age=FLOW_SECONDS, secure=oauth.flows.secure)

    def forget(call: Call) -> None:
        for name in oauth.flows.browsers(call.request.cookies):
            if oauth.flows.tame(name):
                call.set_cookie(name, "", max_age=0, secure=oauth.flows.secure)

    @api.get("/api/v1/auth/oauth", access=Access.OPEN, summary="The providers that people can sign in with")
    async def providers(call: Call) -> Providers:
        return Providers(items=[ProviderItem(key=each.key, title=each.title) for each in oauth.providers.values()])

    @api.post(
        "/api/v1/auth/oauth/{provider}/start",
        access=Access.OPEN,
        limits="auth",
        summary="Begin to sign in with a provider",
        errors=(UnknownProvider, ProviderUnavailable, Invalid),
        example_body=SignInStartBody(redirect="/studio"),
        example_result=Started(url="https://github.com/login/oauth/authorize?…"),
    )
    async def start(call: Call, provider: str, body: SignInStartBody) -> Started:
        """Send the browser to `url`. It comes back to our page /account/signin with `#code=…`, for
        `POST /api/v1/auth/oauth/token` in the same browser, or with `#error=` expired, denied, unavailable or failed.

        An app, or a page of another origin, gives its own address as `redirect` (the operator has to name it in
        OAUTH_APP_REDIRECTS) and a `code_challenge`, opens `url` in a browser, and gets `?code=…` or `?error=…`."""
        url, flow = await oauth.start(provider, body)
        remember(call, flow)
        return Started(url=url)

    @api.post(
        "/api/v1/auth/oauth/{provider}/link",
        access=Access.USER,
        keys=False,
        step_up=True,
        limits="auth",
        summary="Begin to link an account elsewhere to this one",
        errors=(UnknownProvider, ProviderUnavailable, Invalid),
        example_body=SignInStartBody(redirect="/account"),
        example_result=Started(url="https://github.com/login/oauth/authorize?…"),
    )
    async def start_link(call: Call, provider: str, body: SignInStartBody) -> Started:
        """As `start`; what comes back is `link=…`, for `POST /api/v1/auth/oauth/links`."""
        url, flow = await oauth.start(provider, body, link_to=call.user.user_id)
        remember(call, flow)
        return Started(url=url)

    @api.get(
        "/api/v1/auth/oauth/{provider}/begin",
        access=Access.OPEN,
        limits="auth",
        status=303,
        summary="An app's browser sets out",
    )
    async def set_out(call: Call, provider: str, query: TicketQuery) -> web.StreamResponse:
        """Where `start` sends the browser of an app: it gets its cookie here and goes on to the provider."""
        location, flow = await oauth.begin(provider, query.ticket)
        remember(call, flow)
        return web.Response(status=303, headers={hdrs.LOCATION: location})

    @api.get(
        "/api/v1/auth/oauth/{provider}/callback",
        access=Access.OPEN,
        limits="auth",
        status=303,
        summary="Where a provider sends the browser back to",
    )
    async def callback(call: Call, provider: str) -> web.StreamResponse:
        """For providers: takes their `code`, `state`, `iss` or `error`. Leads on to our page or to the app."""
        query = call.request.query
        said = {name: query.getall(name) for name in query}
        location = await oauth.callback(provider, said, call.request.cookies)
        return web.Response(status=303, headers={hdrs.LOCATION: location})

    @api.post(
        "/api/v1/auth/oauth/token",
        access=Access.OPEN,
        limits="auth",
        summary="Trade the code of a sign-in for tokens",
        errors=(
            BadSignInCode,
            SecondFactorRequired,
            LinkNeeded,
            RegistrationClosed,
            AccountDisabled,
            AccountLeaving,
            UsernameTaken,
        ),
        example_body=OneTimeCodeBody(code="0dT2Ui…"),
    )
    async def token(call: Call, body: OneTimeCodeBody) -> SignedInElsewhere:
        """The code is good once, for two minutes, in the browser that began, or with the app's `code_verifier`.
        Somebody unknown gets a new account, which has a username that can be changed. An account that is there already
        is never opened because of its e-mail address: `link_needed` says to sign in and link."""
        signed_in = await oauth.sign_in(body, call.request.cookies, call.origin)
        forget(call)
        return signed_in

    @api.get(
        "/api/v1/auth/oauth/links", access=Access.USER, keys=False, summary="The accounts elsewhere that open this one"
    )
    async def links(call: Call) -> Links:
        return Links(items=await oauth.links(call.user.user_id))

    @api.post(
        "/api/v1/auth/oauth/links",
        access=Access.USER,
        keys=False,
        limits="auth",
        status=201,
        summary="Link the account elsewhere that a code stands for",
        errors=(BadSignInCode, LinkedElsewhere, NotFound),
        example_body=OneTimeCodeBody(code="0dT2Ui…"),
    )
    async def link(call: Call, body: OneTimeCodeBody) -> SignInLink:
        """Only for the account that began, which had shown a factor then."""
        made = await oauth.link(body, call.request.cookies, call.user, call.origin)
        forget(call)
        return made

    @api.delete(
        "/api/v1/auth/oauth/{provider}",
        access=Access.USER,
        keys=False,
        step_up=True,
        summary="Unlink an account elsewhere",
        errors=(NotFound, LastWayIn),
    )
    async def unlink(call: Call, provider: str) -> None:
        """Ends the other sessions that it has opened. The last way into an account stays."""
        await oauth.unlink(provider, call.user, call.origin)

    return api
