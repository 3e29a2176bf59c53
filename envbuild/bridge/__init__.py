"""The host's end of the pipe to a worker; ``docs/bridge.md`` states the protocol."""

from envbuild.bridge.worker import Prediction, Ready, Worker, WorkerOptions

__all__ = ["Prediction", "Ready", "Worker", "WorkerOptions"]
