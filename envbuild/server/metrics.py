"""Metrics: how the server does, for Prometheus (its text formats 0.0.4 and 1.0.0, and OpenMetrics)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import envbuild
from envbuild.server.crew import Crew
from envbuild.server.middleware.account import Account
from envbuild.server.resources import memory_below
from envbuild.server.served import Served

UNKNOWN: Final = "unknown"
"""The label of every path that is no route's."""
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """One server's, in a registry of its own."""

    def __init__(self, served: Served, crew: Crew) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Histogram(
            "envbuild_request_seconds",
            "Requests, from their head to the last byte of the answer.",
            ("route", "status"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._in_flight = Gauge("envbuild_requests_in_flight", "Requests that are not answered yet.", registry=registry)
        self._waited = Histogram(
            "envbuild_queue_seconds", "How long a request waited for a worker.", buckets=_SECONDS, registry=registry
        )
        self._predicted = Histogram(
            "envbuild_predict_seconds", "How long a request was with a worker.", buckets=_SECONDS, registry=registry
        )
        self._batches = Histogram(
            "envbuild_batch_requests", "Requests put to a worker together.", buckets=_SIZES, registry=registry
        )
        self._failures = Counter("envbuild_failures", "Answers that are errors.", ("code",), registry=registry)
        registry.register(_OfCrew(crew))
        ProcessCollector(registry=registry)
        _tell_build(served, registry)
        self._labels = _Labels()

    def know(self, routes: Iterable[BaseRoute]) -> None:
        """Tell requests apart by these routes."""
        self._labels = _Labels(routes)

    def routes(self) -> list[Route]:
        """``/metrics``."""
        return [Route("/metrics", self.scrape, methods=["GET"])]

    def batch(self, size: int, waited: float) -> None:
        """Note requests that go to a worker together; how long each has waited is noted at its end."""
        del waited
        self._batches.observe(size)

    def begun(self) -> None:
        """Note a request."""
        self._in_flight.inc()

    def ended(self, path: str, account: Account, seconds: float) -> None:
        """Note the end of a request."""
        self._in_flight.dec()
        status = account.status
        # Without a status nobody was left to have an answer.
        kind = "none" if status is None else f"{status // 100}xx"
        self._requests.labels(self._labels.of(path), kind).observe(seconds)
        if account.waited is not None and account.predicted is not None:
            self._waited.observe(account.waited)
            self._predicted.observe(account.predicted)
        if status is not None and status >= 400:
            self._failures.labels(account.failure or f"http-{status}").inc()

    async def scrape(self, request: Request) -> Response:
        """The metrics, in the form that is asked for; no worker is asked anything."""
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (TypeError, ValueError):  # a version that is none
            encode, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
        # The kernel counts a large worker's memory for many milliseconds.
        text = await asyncio.get_running_loop().run_in_executor(None, encode, self._registry)
        return Response(text, headers={"Content-Type": content_type})


class _Labels:
    """Labels of paths: the route's template, so that there are never more of them than routes."""

    def __init__(self, routes: Iterable[BaseRoute] = ()) -> None:
        known = [route for route in routes if isinstance(route, Route)]
        self._plain = {route.path: route.path for route in known if "{" not in route.path}
        self._others = [(route.path_regex, route.path) for route in known if "{" in route.path]

    def of(self, path: str) -> str:
        plain = self._plain.get(path)
        if plain is not None:
            return plain
        return next((label for pattern, label in self._others if pattern.match(path)), UNKNOWN)


class _OfCrew(Collector):
    """What is not noted as it happens but looked up when it is asked for."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def describe(self) -> Sequence[Metric]:
        """Nothing: to be asked for it at the registration would look at workers that are just beginning."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The queue and the workers."""
        crew, predictors = self._crew, self._crew.predictors
        ready = sum(predictor.trouble() is None for predictor in predictors)
        yield GaugeMetricFamily("envbuild_queue_length", "Requests that wait for a worker.", crew.waiting)
        yield GaugeMetricFamily("envbuild_workers", "Workers that there should be.", len(predictors))
        yield GaugeMetricFamily("envbuild_workers_ready", "Workers that have the model loaded.", ready)
        yield GaugeMetricFamily("envbuild_workers_busy", "Workers that have a request.", crew.busy)
        restarts = CounterMetricFamily("envbuild_worker_restarts", "Workers begun anew.", labels=("worker",))
        memory = GaugeMetricFamily(
            "envbuild_worker_memory_bytes", "Memory of a worker and all that it started.", labels=("worker",)
        )
        for number, predictor in enumerate(predictors):
            restarts.add_metric((str(number),), predictor.restarts)
            if (pid := predictor.pid) is not None:
                memory.add_metric((str(number),), memory_below(pid))
        yield restarts
        yield memory


def _tell_build(served: Served, registry: CollectorRegistry) -> None:
    lock = served.lock
    facts = {
        "version": envbuild.__version__,
        "model": served.name,
        "lock_hash": "" if lock is None else lock.hash,
        "python": "" if lock is None else lock.python,
    }
    info = Gauge("envbuild_build_info", "What is served, by what.", tuple(facts), registry=registry)
    info.labels(**facts).set(1)
