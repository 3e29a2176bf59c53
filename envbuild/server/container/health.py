"""The health check of an image: one question to the server in this container, with as few imports as can be."""

from __future__ import annotations

import http.client
import sys

_SECONDS = 10.0


def check(port: int) -> int:
    """0 where the server says that the model is loaded and its worker lives, else 1 and the reason on stdout."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", "/ping")
        answer = connection.getresponse()
        if answer.status == http.client.OK:
            return 0
        reason = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        reason = f"nothing answers at 127.0.0.1:{port}: {error}"
    finally:
        connection.close()
    sys.stdout.write(f"{reason}\n")
    return 1
