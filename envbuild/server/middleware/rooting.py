"""Rooting: the path under which a proxy has the server, cut off by the proxy or not."""

from __future__ import annotations

from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send


class Rooting:
    """Wraps an application: its routes answer below the root path, and without it as well.

    A path that has it already is left as it is, any other gets it, as ASGI wants ``path`` and ``root_path`` to be
    (ASGI specification, HTTP connection scope).
    """

    def __init__(self, application: ASGIApp, root_path: str) -> None:
        self._application = application
        self._root = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._root and scope["type"] == "http":
            path = scope["path"]
            scope["root_path"] = self._root
            if path == self._root:
                scope["path"] = f"{self._root}/"
            elif not path.startswith(f"{self._root}/"):
                scope["path"] = self._root + path
        await self._application(scope, receive, send)


def path_below_root(scope: Scope) -> str:
    """The path as the routes see it."""
    path, root = cast("str", scope["path"]), scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path
