"""Puts declared routes onto an aiohttp application, with all that every address shares."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aiohttp import web

from server.kit.audit import Audit
from server.kit.auth import Authenticator
from server.kit.http.address import ClientAddress
from server.kit.http.classes import route_classes
from server.kit.http.crosssite import CrossSiteGuard
from server.kit.http.cursors import PURPOSE, CursorSigner, has_field
from server.kit.http.documents import Documents
from server.kit.http.edge import AnyHandler, Edge, Observer, Tracer
from server.kit.http.headers import Cors
from server.kit.http.idempotency import Idempotency
from server.kit.http.openapi import document
from server.kit.http.routes import Route, Routes
from server.kit.http.wrapper import wrap
from server.kit.limits import Limits
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Database

MEDIA_PREFIXES = ("/live/", "/videos/")
QUIET = ("/health", "/health/live", "/health/ready", "/health/startup", "/metrics")


def install(
    app: web.Application,
    routes: Sequence[Routes],
    *,
    authenticator: Authenticator,
    settings: Settings,
    secrets: Secrets | None = None,
    database: Database | None = None,
    audit: Audit | None = None,
    limits: Limits | None = None,
    observer: Observer | None = None,
    tracer: Tracer | None = None,
    media_prefixes: Sequence[str] = MEDIA_PREFIXES,
    quiet: Collection[str] = QUIET,
    unavailable: tuple[type[Exception], ...] = (),
    not_found_page: AnyHandler | None = None,
    title: str = "Social Flow",
    version: str = "1",
) -> Edge:
    """Call once an application, before it starts; routes may be added to the router directly before and after.

    secrets: signs cursors, seals stored answers. database: for routes that are idempotent or audited. audit: for those
    that are audited. A route that needs one which is not given is a TypeError.
    media_prefixes: paths whose handlers get neither log lines nor headers from here. unavailable: exceptions (such as
    a lost connection to the database) that become 503 and not 500. limits: how often callers call is counted there;
    its owner starts and closes it; without, in this process. not_found_page: answers browsers that ask for an unknown
    page outside /api. Raises SettingError for TRUSTED_PROXIES, CORS_ORIGINS and RATE_LIMIT_… that cannot be, TypeError
    for a route of a class that is none.
    """
    declared = [route for group in routes for route in group.routes]
    _check_needs(declared, secrets=secrets, database=database, audit=audit)
    classes, limits = route_classes(settings), limits or Limits()
    cors = Cors(settings.cors_origins)
    https = settings.public_url.startswith("https://")
    edge = Edge(
        authenticator=authenticator,
        addresses=ClientAddress(settings.trusted_proxies),
        cors=cors,
        observer=observer,
        media_prefixes=media_prefixes,
        quiet=quiet,
        unavailable=unavailable,
        not_found_page=not_found_page,
        cross_site=CrossSiteGuard(settings.public_url, cors.origins),
        hsts=f"max-age={settings.hsts_seconds}" if https and settings.hsts_seconds else "",
        step_up_seconds=settings.step_up_seconds,
        cursors=CursorSigner(secrets.key(PURPOSE)) if secrets is not None and _pages(declared) else None,
        database=database,
        audit=audit,
        idempotency=Idempotency(
            database, secrets, hours=settings.idempotency_hours, wait=settings.idempotency_wait_seconds
        )
        if database is not None and secrets is not None
        else None,
        tracer=tracer,
    )
    for path, on_path in _by_path(declared).items():
        for route in on_path:
            if route.limits not in classes:
                raise TypeError(f"{route.method} {path}: limits={route.limits!r} is none of {', '.join(classes)}")
            handler = wrap(route, edge, classes[route.limits], limits)
            if route.method == "OPTIONS":
                handler = _unless_preflight(edge, handler)
            edge.declared.add(handler)
            if route.method == "GET":
                app.router.add_get(path, handler)
            else:
                app.router.add_route(route.method, path, handler)
        app.router.add_route("*", path, _refuse(edge, [route.method for route in on_path]))
    documents = Documents(document(routes, title=title, version=version), routes)
    app.router.add_get("/openapi.json", documents.openapi)
    app.router.add_get("/problems/{code}", documents.problem)
    app.middlewares.append(edge.middleware)
    return edge


def _by_path(declared: Sequence[Route]) -> dict[str, list[Route]]:
    """The more of a path is fixed, the earlier: /live/{id}/chat/replay is no message of the name replay."""
    paths: dict[str, list[Route]] = {}
    for route in sorted(declared, key=lambda route: ["{" in part for part in route.path.split("/")]):
        paths.setdefault(route.path, []).append(route)
    return paths


def _refuse(edge: Edge, methods: Sequence[str]) -> AnyHandler:
    """All other methods of a path end here: aiohttp would go on to the next that fits, as /live/{id} does /live/key."""
    allowed = {*methods, *(["HEAD"] if "GET" in methods else [])}

    async def refuse(request: web.Request) -> web.StreamResponse:
        if (preflight := edge.cors.preflight(request, media=False)) is not None:
            return preflight
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


def _unless_preflight(edge: Edge, handler: AnyHandler) -> AnyHandler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return edge.cors.preflight(request, media=False) or await handler(request)

    return handle


def _pages(declared: Sequence[Route]) -> bool:
    return any(has_field(route.query, "cursor") or has_field(route.result, "next_cursor") for route in declared)


def _check_needs(declared: Sequence[Route], **given: object) -> None:
    needs = {
        "secrets": _pages(declared) or any(route.idempotent for route in declared),
        "database": any(route.idempotent or route.audit for route in declared),
        "audit": any(route.audit for route in declared),
    }
    if missing := [name for name, needed in needs.items() if needed and given[name] is None]:
        raise TypeError(f"these routes need {', '.join(missing)}")
