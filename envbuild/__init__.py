"""envbuild gives an MLflow model back the environment that it was born in, and predicts in it.

.. code-block:: python

    import envbuild

    envbuild.predict("./model", frame)  # one answer

    with envbuild.load_model("./model", workers=2) as model:  # many, from two workers
        model.predict(frame)

    async with envbuild.load_model_async("./model") as model:  # likewise, in asyncio
        await model.predict(frame)

``inspect``, ``lock`` and ``build`` give the steps before that one by one; ``export_bundle`` puts all that a model needs
into one file, ``push`` and ``pull`` share what was built. Errors are of :mod:`envbuild.errors`.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envbuild.api import (
        LoadedModel,
        batch,
        build,
        check,
        diff,
        explain,
        export_bundle,
        inspect,
        load_model,
        lock,
        predict,
        pull,
        push,
    )
    from envbuild.asynchronous import AsyncLoadedModel, load_model_async
    from envbuild.errors import EnvbuildError

__version__ = "0.1.0"
__all__ = [
    "AsyncLoadedModel",
    "EnvbuildError",
    "LoadedModel",
    "__version__",
    "batch",
    "build",
    "check",
    "diff",
    "explain",
    "export_bundle",
    "inspect",
    "load_model",
    "load_model_async",
    "lock",
    "predict",
    "pull",
    "push",
]


class _Package(types.ModuleType):
    """The package itself: its ``lock`` is the function, although there is a module of that name."""

    @property
    def lock(self) -> Any:
        """The public function."""
        from envbuild import api

        return api.lock

    @lock.setter
    def lock(self, module: types.ModuleType) -> None:
        """Python sets a submodule's name when it is imported; here that would hide the function."""


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Hand out the public names, importing what they need at their first use: `envbuild --help` needs none of it."""
    if name == "EnvbuildError":
        from envbuild.errors import EnvbuildError

        return EnvbuildError
    if name in ("AsyncLoadedModel", "load_model_async"):
        from envbuild import asynchronous

        return getattr(asynchronous, name)
    if name in __all__:
        from envbuild import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
