"""/health/…, and /metrics for those who may read it."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any

from aiohttp import web

from server.kit.http import Access, Call, Problem, Routes
from server.kit.http.wrapper import bearer
from server.kit.problems import Forbidden, Unauthorized
from server.ops.health import Health, Report
from server.ops.metrics import Metrics
from server.settings import Settings


class NotReady(Problem):
    """The problem's `parts` say what fails and why."""

    status = 503
    code = "not_ready"
    title = "This process should get no requests now"


def routes(health: Health, metrics: Metrics, settings: Settings) -> Routes:
    api = Routes("operation", "Health and figures.")

    def permit(call: Call) -> None:
        if settings.metrics_token:
            token = bearer(call.request) or ""
            if not hmac.compare_digest(token.encode(), settings.metrics_token.encode()):
                raise Unauthorized("Send METRICS_TOKEN as Authorization: Bearer …")
        elif not is_private(call.address) or _hidden(call):
            raise Forbidden("Without METRICS_TOKEN this is answered to loopback and private addresses only.")

    @api.get("/health/live", access=Access.OPEN, limits="none", summary="The process answers")
    async def live(call: Call) -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/health/startup", access=Access.OPEN, limits="none", summary="The start is complete", errors=(NotReady,))
    async def startup(call: Call) -> dict[str, str]:
        if not health.started:
            raise NotReady("The process is still starting.")
        return {"status": "ok"}

    @api.get(
        "/health/ready", access=Access.OPEN, limits="none", summary="Whether to send requests here", errors=(NotReady,)
    )
    async def ready(call: Call) -> Report:
        """What is not needed for service (such as room for recordings) may fail: the status is then `degraded`."""
        report = await health.report()
        if not report.ready:
            failing = [f"{name}: {part.reason}" for name, part in report.parts.items() if not part.ok]
            raise NotReady("; ".join(failing) or f"The process is {report.status}.", parts=report.parts)
        return report

    @api.get("/health", access=Access.OPEN, limits="none", summary="As /health/ready", errors=(NotReady,))
    async def summary(call: Call) -> Report:
        return await ready(call)

    @api.get(
        "/health/detailed",
        access=Access.OPEN,
        limits="none",
        summary="What every part says of itself",
        errors=(Unauthorized, Forbidden),
    )
    async def detailed(call: Call) -> dict[str, Any]:
        """For operators: guarded like /metrics. Always 200; `status` says how it is."""
        permit(call)
        report = await health.report()
        return {"status": report.status, "parts": report.parts, "details": health.details()}

    @api.get(
        "/metrics",
        access=Access.OPEN,
        limits="none",
        summary="Figures for Prometheus",
        errors=(Unauthorized, Forbidden),
        file_result=("text/plain",),
    )
    async def figures(call: Call) -> web.Response:
        permit(call)
        body, content_type = metrics.render()
        return web.Response(body=body, headers={"Content-Type": content_type})

    return api


_OF_PROXIES = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "Via")


def _hidden(call: Call) -> bool:
    """A proxy that is not trusted stands in between, so who asks is not known."""
    return call.address == (call.request.remote or "") and any(name in call.request.headers for name in _OF_PROXIES)


def is_private(address: str) -> bool:
    """Loopback, private networks, link-local, and a Unix socket."""
    if not address:
        return True
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback or (parsed.is_private and not parsed.is_unspecified) or parsed.is_link_local
