"""Description: what the server takes and answers, for the model that it serves, as other tools read it."""

from envbuild.server.description.routes import routes

__all__ = ["routes"]
