"""The routes of the page: ``/`` and ``/facts.json``.

The page is the same for every model, and names none: whoever has no token sees no more than that. Everything that it
shows comes from ``/facts.json`` and from predictions.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from envbuild.request import JSON
from envbuild.server.crew import Crew
from envbuild.server.page.facts import facts
from envbuild.server.served import Served
from envbuild.settings.serving import ServingSettings

_HERE: Final = Path(__file__).resolve().parent


def routes(served: Served, crew: Crew, settings: ServingSettings) -> list[Route]:
    """``/`` and ``/facts.json``."""
    del crew, settings
    page = Page(served)
    return [
        Route("/", page.page, methods=["GET"]),
        Route("/facts.json", page.facts, methods=["GET"]),
    ]


class Page:
    """The page, and what it asks for first; each made when somebody asks for it first."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def page(self, request: Request) -> Response:
        """The page itself, with a policy that lets its own script and style alone run."""
        del request
        return HTMLResponse(self._html, headers=self._headers)

    async def facts(self, request: Request) -> Response:
        """What the page shows of the model."""
        del request
        return Response(self._facts, media_type=JSON)

    @cached_property
    def _facts(self) -> bytes:
        return json.dumps(facts(self._served)).encode()

    @cached_property
    def _parts(self) -> tuple[str, str]:
        return (_HERE / "page.css").read_text("utf-8"), (_HERE / "page.js").read_text("utf-8")

    @cached_property
    def _html(self) -> str:
        style, script = self._parts
        html = (_HERE / "page.html").read_text("utf-8")
        return html.replace("/* page.css */", style).replace("/* page.js */", script)

    @cached_property
    def _headers(self) -> dict[str, str]:
        style, script = map(_hash, self._parts)
        policy = (
            "default-src 'none'",
            f"script-src {script}",
            f"style-src {style}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
        return {
            "Content-Security-Policy": "; ".join(policy),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        }


def _hash(text: str) -> str:
    """A text as a policy names it (Content Security Policy Level 3, hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
