"""The HTTP conventions of the product, once: declared routes, OpenAPI, problems, pages, request ids."""

from __future__ import annotations

from server.kit.auth import Authenticator, Caller
from server.kit.http.call import Call
from server.kit.http.edge import Edge, Observer
from server.kit.http.install import install
from server.kit.http.page import Page, PageQuery, decode_cursor, encode_cursor
from server.kit.http.routes import Access, Route, Routes
from server.kit.http.runner import runner
from server.kit.problems import Problem

__all__ = [
    "Access",
    "Authenticator",
    "Call",
    "Caller",
    "Edge",
    "Observer",
    "Page",
    "PageQuery",
    "Problem",
    "Route",
    "Routes",
    "decode_cursor",
    "encode_cursor",
    "install",
    "runner",
]
