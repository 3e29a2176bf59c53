"""What a training job does with a model's files, done by an MLflow of whatever release: orders in, URIs out."""

from __future__ import annotations

import json
import sys
from typing import Any

from mlflow.tracking import MlflowClient


def main() -> None:
    client, found = MlflowClient(), []
    for order in json.load(sys.stdin):
        found.append(_done(client, order))
    print(json.dumps(found))


def _done(client: MlflowClient, order: dict[str, Any]) -> dict[str, str]:
    if "move" in order:
        client.set_registered_model_alias(order["name"], order["move"], order["version"])
        return {}
    run = client.create_run("0")
    run_id = run.info.run_id
    client.log_artifacts(run_id, order["folder"], "model")
    if not client.search_registered_models(f"name = '{order['name']}'"):
        client.create_registered_model(order["name"])
    source = f"{run.info.artifact_uri}/model"
    version = client.create_model_version(order["name"], source, run_id)
    client.set_registered_model_alias(order["name"], "prod", version.version)
    said = {"run": run_id, "source": source, "version": str(version.version)}
    if hasattr(client, "create_logged_model"):
        logged = client.create_logged_model("0", name=f"own-{order['name']}", source_run_id=run_id)
        client.log_model_artifacts(logged.model_id, order["folder"])
        client.finalize_logged_model(logged.model_id, "READY")
        said["model_id"] = logged.model_id
    return said


if __name__ == "__main__":
    main()
