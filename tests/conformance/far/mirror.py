"""A model whose answer is the exact description of what it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import exact


class Mirror:
    """Knows params, as models since MLflow 2.6 may."""

    def predict(self, data: Any, params: Any = None) -> str:
        return exact.as_text(data, params)


class OldMirror:
    """As every model before it."""

    def predict(self, data: Any) -> str:
        return exact.as_text(data, None)


class Plain:
    """Gives back what it was given, for what an era's server makes of an answer."""

    def predict(self, data: Any) -> Any:
        return data


KINDS = {"mirror": Mirror, "old": OldMirror, "plain": Plain}


def _load_pyfunc(path: str) -> Any:
    return KINDS[Path(path).name]()
