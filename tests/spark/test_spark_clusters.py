"""A standalone cluster of two nodes, each with an empty store of its own: who builds what, what stays, what is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import textwrap
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import REPO, cli, cli_environ
from sparks import Cluster, Driver, Failed, model_workers
from waiting import eventually

# A cluster is started for them, and each has an application of its own: half a minute each, seven in all.
slow, soak = pytest.mark.slow, pytest.mark.soak
On = Callable[..., Driver]
DOUBLED = """
    df = spark.range(0, rows, 1, parts).withColumnRenamed("id", "x")
    frame = predict(df, model, result_type="double", ship=ship, set_env=["ACT=" + act], **options)
    result = [row[1] for row in frame.orderBy("x").collect()]
"""


@pytest.fixture(autouse=True)
def empty_stores(spark_cluster: Cluster) -> None:
    for node in spark_cluster.nodes:
        shutil.rmtree(node.home, ignore_errors=True)
        node.home.mkdir()


def doubled(driver: Driver, model: Path, ship: str, *, rows: int = 400, parts: int = 8, act: str = "doubled") -> Any:
    return driver.run(DOUBLED, model=model, ship=ship, rows=rows, parts=parts, act=act, options={})


def lock_hash(model: Path, home: Path) -> str:
    done = cli("lock", model, "--json", environ=cli_environ(home))
    return str(json.loads(done.stdout)["lock_hash"])


@slow
def test_a_bundle_is_all_that_nodes_need_and_each_builds_once(
    spark_cluster: Cluster, on_cluster: On, acting: Mapping[str, Path], shared_home: Path
) -> None:
    """The nodes' index answers nobody, and four tasks begin at once."""
    driver = on_cluster()
    assert doubled(driver, acting["arrow"], "auto") == [2.0 * x for x in range(400)]
    wanted = lock_hash(acting["arrow"], shared_home)
    for node in spark_cluster.nodes:
        (environment,) = node.environments()
        assert environment.parent.name == wanted
        done = cli("verify", wanted, environ=cli_environ(node.home))
        assert done.returncode == 0, done.stderr
    before = [node.environments()[0].stat().st_mtime_ns for node in spark_cluster.nodes]
    assert doubled(driver, acting["arrow"], "bundle") == [2.0 * x for x in range(400)]
    assert [node.environments()[0].stat().st_mtime_ns for node in spark_cluster.nodes] == before


@soak
def test_a_model_is_sent_and_built_from_the_nodes_own_index(
    spark_cluster: Cluster, on_cluster: On, acting: Mapping[str, Path]
) -> None:
    with pytest.raises(Failed) as caught:
        doubled(on_cluster(), acting["arrow"], "model")
    assert "error[build-download-failed]" in caught.value.message
    public = on_cluster(spark__executorEnv__ENVBUILD_INDEX_URL="")
    assert doubled(public, acting["arrow"], "model") == [2.0 * x for x in range(400)]
    assert [len(node.environments()) for node in spark_cluster.nodes] == [1, 1]


@soak
def test_nothing_is_sent_where_all_is_at_the_same_place(
    spark_cluster: Cluster, on_cluster: On, acting: Mapping[str, Path]
) -> None:
    assert doubled(on_cluster(), acting["json"], "nothing") == [2.0 * x for x in range(400)]
    assert [node.environments() for node in spark_cluster.nodes] == [[], []]


@soak
def test_a_model_of_python_3_6_and_one_of_3_11_are_scored_in_one_job(on_cluster: On) -> None:
    models = REPO / "tests" / "models"
    eras = ("py36_mlflow1_2", "py311_mlflow3_17")
    body = json.loads((models / eras[0] / "heart.input.json").read_text())
    table = body.get("dataframe_split") or body
    got = on_cluster().run(
        """
        df = spark.createDataFrame([tuple(row) for row in data], columns).repartition(4)
        df = predict(df, first, output="first", columns=columns)
        df = predict(df, last, output="last", columns=columns)
        result = sorted(map(list, df.select(*columns, "first", "last").collect()))
        """,
        first=models / eras[0] / "heart",
        last=models / eras[1] / "heart",
        columns=table["columns"],
        data=table["data"],
    )
    first, last = (json.loads((models / era / "heart.expected.json").read_text()) for era in eras)
    assert got == sorted([*row, one, other] for row, one, other in zip(table["data"], first, last))


@soak
def test_another_kind_of_machine_is_noticed_and_said(on_cluster: On, acting: Mapping[str, Path]) -> None:
    driver = on_cluster()
    with pytest.raises(Failed) as caught:
        driver.run(
            DOUBLED, model=acting["arrow"], ship="bundle", rows=4, parts=2, act="doubled",
            options={"platforms": ["linux/arm64"]},
        )  # fmt: skip
    assert "aarch64" in caught.value.message
    assert "error[b" in caught.value.message
    both = {"platforms": ["linux/arm64", "linux/amd64"]}
    got = driver.run(DOUBLED, model=acting["arrow"], ship="bundle", rows=4, parts=2, act="doubled", options=both)
    assert got == [0.0, 2.0, 4.0, 6.0]


@soak
def test_workers_are_reused_from_task_to_task_and_end_with_the_executors(
    spark_cluster: Cluster, on_cluster: On, acting: Mapping[str, Path]
) -> None:
    driver = on_cluster()
    pids = [*doubled(driver, acting["arrow"], "bundle", parts=16, act="pid")]
    pids += doubled(driver, acting["arrow"], "bundle", parts=16, act="pid")
    # Two executors with two cores each: that many of Spark's processes, each with one worker.
    assert len(set(pids)) <= 4
    homes = [node.home for node in spark_cluster.nodes]
    assert {pid for home in homes for pid in model_workers(home)}
    driver.close()
    eventually(lambda: not [pid for home in homes for pid in model_workers(home)], "no worker is left")


@slow
def test_a_task_that_is_cancelled_takes_its_worker_with_it(
    spark_cluster: Cluster, on_cluster: On, acting: Mapping[str, Path]
) -> None:
    driver, homes = on_cluster(), [node.home for node in spark_cluster.nodes]
    code = """
        import threading, time
        df = spark.range(0, 8, 1, 2).withColumnRenamed("id", "x")
        frame = predict(df, model, result_type="double", ship="bundle", set_env=["ACT=slow"])
        said = []

        def job():
            try:
                frame.collect()
            except Exception as error:
                said.append(str(error))

        thread = threading.Thread(target=job)
        thread.start()
        tracker, end = spark.sparkContext.statusTracker(), time.monotonic() + 120
        while time.monotonic() < end and not is_at_work():
            time.sleep(0.1)
        result = len(is_at_work())
        spark.sparkContext.cancelAllJobs()
        thread.join(60)
        result = [result, not thread.is_alive(), bool(said)]
    """
    at_work = f"""
from pathlib import Path
def is_at_work():
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_text(errors="replace")
        except OSError:
            continue
        if {str(REPO / "envbuild" / "worker")!r} in words and any(home in words for home in {[*map(str, homes)]!r}):
            found.append(entry.parent.name)
    return found
"""
    got = driver.run(at_work + textwrap.dedent(code), model=acting["arrow"])
    assert got[0] > 0
    assert got[1:] == [True, True]
    eventually(lambda: not [pid for home in homes for pid in model_workers(home)], "no worker is left")


@soak
def test_executors_that_are_killed_do_no_harm(
    spark_cluster: Cluster, on_cluster: On, acting: Mapping[str, Path]
) -> None:
    driver, homes = on_cluster(), [node.home for node in spark_cluster.nodes]
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        """The first while it builds, others while they predict."""
        while not over.wait(0.5) and len(killed) < 3:
            ready = any(node.home.joinpath("store").exists() for node in spark_cluster.nodes)
            at_work = [pid for home in homes for pid in model_workers(home)]
            if (ready and not killed) or (at_work and killed):
                for pid in spark_cluster.executors()[:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        got = doubled(driver, acting["arrow"], "bundle", rows=1600, parts=160, act="paced")
    finally:
        over.set()
        thread.join()
    assert got == [2.0 * x for x in range(1600)]
    assert len(killed) == 3
    driver.close()
    eventually(lambda: not [pid for home in homes for pid in model_workers(home)], "no worker is left")
    for node in spark_cluster.nodes:
        for environment in node.environments():
            done = cli("verify", environment.parent.name, environ=cli_environ(node.home))
            assert done.returncode == 0, done.stderr


@soak
def test_batch_is_done_by_the_cluster(
    spark_cluster: Cluster, acting: Mapping[str, Path], shared_home: Path, python_of: Any, tmp_path: Path
) -> None:
    from test_spark_batch import by_spark

    source = tmp_path / "rows.csv"
    source.write_text("id,x\n" + "".join(f"{x},{x}\n" for x in range(500)))
    done = by_spark(
        python_of("4.1"), shared_home, "batch", acting["json"], source, tmp_path / "out.jsonl", "--keep", "id",
        "--result-type", "double", "--set-env", "ACT=doubled", "--json", "--master", spark_cluster.url,
        "--conf", "spark.executor.memory=512m", "--conf", "spark.driver.host=127.0.0.1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 500
    parts = sorted((tmp_path / "out.jsonl").glob("part-*"))
    written = [json.loads(line) for path in parts for line in path.read_text().splitlines()]
    assert written == [{"id": x, "prediction": 2.0 * x} for x in range(500)]
    assert any(node.environments() for node in spark_cluster.nodes)
