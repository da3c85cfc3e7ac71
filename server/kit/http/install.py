"""Puts declared routes onto an aiohttp application, with all that every address shares."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aiohttp import web

from server.kit.auth import Authenticator
from server.kit.http.address import ClientAddress
from server.kit.http.documents import Documents
from server.kit.http.edge import AnyHandler, Edge, Observer
from server.kit.http.headers import Cors
from server.kit.http.openapi import document
from server.kit.http.routes import Routes
from server.kit.http.wrapper import wrap
from server.settings import Settings

MEDIA_PREFIXES = ("/live/", "/videos/")
QUIET = ("/health", "/health/live", "/health/ready", "/health/startup", "/metrics")
BODY_TIMEOUT = 30.0


def install(
    app: web.Application,
    routes: Sequence[Routes],
    *,
    authenticator: Authenticator,
    settings: Settings,
    observer: Observer | None = None,
    media_prefixes: Sequence[str] = MEDIA_PREFIXES,
    quiet: Collection[str] = QUIET,
    unavailable: tuple[type[Exception], ...] = (),
    body_timeout: float = BODY_TIMEOUT,
    not_found_page: AnyHandler | None = None,
    title: str = "Social Flow",
    version: str = "1",
) -> Edge:
    """Call once an application, before it starts; routes may be added to the router directly before and after.

    media_prefixes: paths whose handlers get neither log lines nor headers from here. unavailable: exceptions (such as
    a lost connection to the database) that become 503 and not 500. body_timeout: seconds a whole body may take.
    not_found_page: answers browsers that ask for an unknown page outside /api. Raises SettingError for TRUSTED_PROXIES
    and CORS_ORIGINS that cannot be.
    """
    edge = Edge(
        authenticator=authenticator,
        addresses=ClientAddress(settings.trusted_proxies),
        cors=Cors(settings.cors_origins),
        observer=observer,
        media_prefixes=media_prefixes,
        quiet=quiet,
        unavailable=unavailable,
        not_found_page=not_found_page,
    )
    for group in routes:
        for route in group.routes:
            handler = wrap(route, edge, max_body=settings.max_body, body_timeout=body_timeout)
            edge.declared.add(handler)
            if route.method == "GET":
                app.router.add_get(route.path, handler)
            else:
                app.router.add_route(route.method, route.path, handler)
    documents = Documents(document(routes, title=title, version=version), routes)
    app.router.add_get("/openapi.json", documents.openapi)
    app.router.add_get("/problems/{code}", documents.problem)
    app.middlewares.append(edge.middleware)
    return edge
