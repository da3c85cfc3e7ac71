"""The built-in pages: static files served from memory. Facade: `install_pages`."""

from __future__ import annotations

from server.web.routes import install_pages

__all__ = ["install_pages"]
