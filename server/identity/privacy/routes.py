"""Archives and leaving over HTTP."""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from server.identity.privacy.departures import Departures, Sessions
from server.identity.privacy.errors import BadRange, ExportUnderWay, LastAdministrator, NoExport, NotLeaving
from server.identity.privacy.exports import Exports
from server.identity.privacy.models import Export, ExportBody, ExportTokenBody, ExportView, Leaving, RestoreBody
from server.kit.http import Access, Call, Routes
from server.kit.problems import NotFound

_WRITE_BYTES = 64 * 1024
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")


def routes(exports: Exports, departures: Departures, sessions: Sessions) -> Routes:
    api = Routes("profile", "Profiles, preferences, privacy, and the data of one's own account.")

    @api.post(
        "/api/v1/users/me/export",
        access=Access.USER,
        status=202,
        summary="Ask for an archive of your data",
        step_up=True,
        keys=False,
        errors=(ExportUnderWay,),
    )
    async def ask(call: Call, body: ExportBody) -> ExportView:
        """It is made in the background, one at a time; a mail to your verified address has a link to it, which is good
        for some days. An archive that is ready already is deleted."""
        return await exports.ask(call.user.user_id, media=body.media, origin=call.origin)

    @api.get("/api/v1/users/me/export", access=Access.USER, summary="How far your archive is", keys=False)
    async def show(call: Call) -> ExportView:
        return await exports.show(call.user.user_id)

    @api.get(
        "/api/v1/users/me/export/file",
        access=Access.USER,
        summary="Fetch your archive",
        step_up=True,
        keys=False,
        errors=(NoExport, BadRange),
        file_result=("application/zip",),
        ranges=True,
    )
    async def fetch(call: Call) -> web.StreamResponse:
        """A ZIP file. Takes Range for one part, to go on after a break."""
        return await _send(exports, await exports.of_user(call.user.user_id, call.origin), call)

    @api.post(
        "/api/v1/exports/file",
        access=Access.OPEN,
        summary="Fetch an archive with the link from the mail",
        limits="refresh",
        errors=(NoExport, BadRange),
        file_result=("application/zip",),
        ranges=True,
    )
    async def fetch_by_link(call: Call, body: ExportTokenBody) -> web.StreamResponse:
        """`token` is what follows # in the link."""
        return await _send(exports, await exports.of_token(body.token, call.origin), call)

    @api.delete(
        "/api/v1/users/me",
        access=Access.USER,
        status=202,
        summary="Delete your account",
        step_up=True,
        keys=False,
        errors=(LastAdministrator, NotFound),
    )
    async def leave(call: Call) -> Leaving:
        """You are signed out everywhere, and others see nothing of you from now on. Until `due_at` you may take the
        account back: sign in, or follow the link in the mail. Then all that is personal is erased."""
        return await departures.leave(call.user.user_id, sessions, call.origin)

    @api.post(
        "/api/v1/users/me/restore",
        access=Access.OPEN,
        summary="Take a deleted account back",
        limits="refresh",
        errors=(NotLeaving,),
    )
    async def restore(call: Call, body: RestoreBody) -> None:
        """`token` is `restore` of the answer to signing in, or what follows # in the mail's link. Then sign in."""
        await departures.restore(body.token, call.origin)

    return api


async def _send(exports: Exports, export: Export, call: Call) -> web.StreamResponse:
    start, end = _range(call.request, export.bytes)
    partial = (start, end) != (0, export.bytes)
    headers = {
        **call.headers,
        "Content-Type": "application/zip",
        "Content-Disposition": f'attachment; filename="social-flow-{export.asked_at:%Y-%m-%d}.zip"',
        "Cache-Control": "no-store",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "X-Request-ID": call.request_id,
    }
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{export.bytes}"
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    response.content_length = end - start
    pieces = exports.read(export, start, end)
    first = await anext(pieces, b"")  # before the head is sent: a store that is away is a 503
    await response.prepare(call.request)
    await _write(response, first)
    async for piece in pieces:
        await _write(response, piece)
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    """In parts so small that none holds the loop, and a slow client is waited for in between."""
    view = memoryview(piece)
    for start in range(0, len(piece), _WRITE_BYTES):
        await response.write(view[start : start + _WRITE_BYTES])
        await asyncio.sleep(0)  # a client that takes all at once would not be waited for


def _range(request: web.BaseRequest, size: int) -> tuple[int, int]:
    """What was asked for, as start and end. Ranges that are not understood are left out (RFC 9110, section 14.2)."""
    found = _RANGE.fullmatch(request.headers.get("Range", ""))
    if found is None:
        return 0, size
    start = int(found[1])
    end = min(size, int(found[2]) + 1) if found[2] else size
    if start >= size or start >= end:
        problem = BadRange(f"The archive has {size} bytes.")
        problem.headers["Content-Range"] = f"bytes */{size}"
        raise problem
    return start, end
