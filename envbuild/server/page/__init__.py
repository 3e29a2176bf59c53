"""The page: one small page to try the model on, and what it knows of the model."""

from envbuild.server.page.routes import routes

__all__ = ["routes"]
