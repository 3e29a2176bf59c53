"""What the worker of an environment with pyspark has around it: its own places, and nothing of the host's Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit import Kit
from tiny import wheel, write_model

import envbuild

LOADER = """
import os

class Model:
    def predict(self, data):
        folder = os.environ.get("SPARK_CONF_DIR")
        defaults = open(os.path.join(folder, "spark-defaults.conf")).read() if folder else ""
        return [dict(os.environ), defaults]

def _load_pyfunc(path):
    return Model()
"""
OF_THE_HOST = {
    "SPARK_HOME": "/opt/spark",
    "SPARK_CONF_DIR": "/opt/spark/conf",
    "HADOOP_CONF_DIR": "/etc/hadoop/conf",
    "YARN_CONF_DIR": "/etc/hadoop/conf",
    "PYSPARK_PYTHON": "/usr/bin/python3",
    "PYSPARK_SUBMIT_ARGS": "--master yarn pyspark-shell",
    "JAVA_TOOL_OPTIONS": "-Dhost=yes",
}


@pytest.fixture
def with_pyspark(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asks a model in an environment with pyspark what is around it."""
    kit.index.add(wheel("pyspark", "3.5.3"))
    model = write_model(tmp_path / "model", pip=["pyspark==3.5.3"], loader=LOADER)
    for name, value in OF_THE_HOST.items():
        monkeypatch.setenv(name, value)

    def asked(**options: Any) -> tuple[dict[str, str], dict[str, str]]:
        given = {"home": kit.home, "index_url": kit.index.url, "python_downloads": False, **options}
        with envbuild.load_model(model, **given) as loaded:
            environ, defaults = loaded.predict({"input": 1})
        return environ, dict(line.split(" ", 1) for line in defaults.splitlines())

    return asked


def test_nothing_of_the_hosts_spark_reaches_the_worker(with_pyspark: Any) -> None:
    environ, _ = with_pyspark()
    assert [name for name, value in OF_THE_HOST.items() if environ.get(name) == value] == []
    python = str(Path(environ["VIRTUAL_ENV"]) / "bin" / "python")
    assert environ["PYSPARK_PYTHON"] == environ["PYSPARK_DRIVER_PYTHON"] == python


def test_what_a_session_writes_is_written_into_the_workers_own_place(with_pyspark: Any) -> None:
    environ, defaults = with_pyspark()
    place = environ["TMPDIR"]
    assert environ["SPARK_LOCAL_DIRS"] == place
    assert f'-Djava.io.tmpdir="{place}"' in environ["SPARK_SUBMIT_OPTS"]
    assert f'-Dderby.system.home="{place}"' in environ["SPARK_SUBMIT_OPTS"]
    assert defaults["spark.sql.warehouse.dir"] == f"file://{place}/spark-warehouse"
    assert not Path(environ["SPARK_CONF_DIR"]).exists(), "it is removed with the worker"


def test_a_session_has_no_port_that_another_one_wants(with_pyspark: Any) -> None:
    environ, defaults = with_pyspark()
    assert defaults["spark.ui.enabled"] == "false"
    assert defaults["spark.driver.bindAddress"] == environ["SPARK_LOCAL_IP"] == "127.0.0.1"


def test_what_the_deployer_sets_counts_before(with_pyspark: Any) -> None:
    environ, _ = with_pyspark(set_env={"PYSPARK_PYTHON": "python3"}, pass_env=["HADOOP_CONF_DIR"])
    assert (environ["PYSPARK_PYTHON"], environ["HADOOP_CONF_DIR"]) == ("python3", "/etc/hadoop/conf")


def test_an_environment_without_pyspark_has_none_of_it(kit: Kit, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", loader=LOADER)
    with envbuild.load_model(model, home=kit.home, index_url=kit.index.url, python_downloads=False) as loaded:
        environ, _ = loaded.predict({"input": 1})
    assert [name for name in environ if name.startswith(("SPARK", "PYSPARK"))] == []
