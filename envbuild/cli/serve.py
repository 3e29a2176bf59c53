"""``envbuild serve``: a model behind HTTP."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.failure import say_by
from envbuild.cli.options import (
    ModelCommand,
    lock_options,
    model_argument,
    output_options,
    settings_from,
    worker_options,
)
from envbuild.cli.output import Output, open_output

if TYPE_CHECKING:
    from envbuild.pipeline import Built
    from envbuild.server.served import Served
    from envbuild.settings import Settings
    from envbuild.settings.serving import ServingSettings

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("serve", cls=ModelCommand)
@model_argument
@click.option("--host", help="The address to listen at (default: 127.0.0.1).")
@click.option("--port", type=int, help="The port (default: 8080; 0 takes a free one).")
@click.option("--uds", type=_FILE, help="A Unix socket in place of an address.")
@click.option("--workers", type=int, help="How many workers load the model (default: as many as cores).")
@click.option("--queue", type=int, help="How many requests may wait (default: 100); more get 429.")
@click.option("--batch-size", type=int, help="Put so many waiting requests to the model at once (default: 1).")
@click.option("--batch-wait", type=float, metavar="SECONDS", help="How long a request waits for others (default: 0).")
@click.option("--request-timeout", type=float, metavar="SECONDS", help="How long a request may take (default: 60).")
@click.option("--max-body", metavar="SIZE", help="The longest body of a request (default: 100 MiB); more get 413.")
@click.option("--token", help="What callers have to say as a bearer token; better in ENVBUILD_TOKEN.")
@click.option("--certfile", type=_FILE, help="TLS: the certificate.")
@click.option("--keyfile", type=_FILE, help="TLS: its key.")
@click.option("--root-path", metavar="PATH", help="Where a proxy has this server, as /models/heart.")
@click.option("--name", help="The model's name in paths (default: its directory's).")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="How the log is written (default: text).")
@click.option("--no-page", is_flag=True, default=None, help="Leave out the page to try the model on.")
@click.option("--no-probe", is_flag=True, default=None, help="Be ready without asking the model its input example.")
@lock_options
@worker_options
@output_options
def command(model: str, **options: Any) -> None:
    """Serve MODEL over HTTP, from its own environment, until SIGTERM or Ctrl-C.

    The protocols of MLflow, SageMaker, Azure ML and KServe, a description of the API, and a page to try the model on
    (docs/serve.md).
    """
    from envbuild import pipeline
    from envbuild.server import saying
    from envbuild.settings.serving import ServingSettings

    serving = ServingSettings.from_environ(**{one.name: options.pop(one.name) for one in fields(ServingSettings)})
    saying.use(serving.log_format)
    if saying.is_json():
        say_by(saying.say_error)
    with open_output(options, "serve", saying.say_line if saying.is_json() else None) as output:
        settings = settings_from(options)
        _check_extra()
        asked = pipeline.ask(model, settings, output.report)
        output.notices(asked.spec.notices)
        built = pipeline.provide(asked, settings, output.report)
        output.notices((*built.notices, *pipeline.absent_variables(settings)))
        output.rest()
        _serve(built, settings, serving, output)


def _serve(built: Built, settings: Settings, serving: ServingSettings, output: Output) -> None:
    from envbuild.server.serving import serve

    served = _served(built, settings, serving.name)

    def say(url: str | None) -> None:
        content = {
            "url": url,
            "uds": None if serving.uds is None else str(serving.uds),
            "name": served.name,
            "workers": serving.workers,
            "batch_size": serving.batch_size,
            "environment": str(served.environment),
            "lock_hash": built.environment.lock_hash,
        }
        output.result(content, "", built.notices)

    try:
        serve(served, serving, on_listening=say)
    finally:
        built.lease.release()


def _served(built: Built, settings: Settings, name: str | None) -> Served:
    from envbuild import pipeline
    from envbuild.server import saying
    from envbuild.server.served import Served

    model = built.locked.asked.model
    return Served(
        model=model,
        name=name or model.name,
        lock=built.locked.lock,
        environment=built.environment.path,
        start=lambda: pipeline.worker(built, settings, saying.of_model()),
    )


def _check_extra() -> None:
    """Look whether what the HTTP side needs is here.

    :raises UsageError: it is not.
    """
    import importlib.util

    from envbuild.errors import UsageError

    lacking = [name for name in ("starlette", "uvicorn", "httptools") if importlib.util.find_spec(name) is None]
    if lacking:
        raise UsageError(f"serving needs {', '.join(lacking)}", hint="pip install 'envbuild[serve]'")
