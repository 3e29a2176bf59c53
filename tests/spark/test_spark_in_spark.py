"""A model of Spark's own, predicted by Spark: its worker has a Spark and a session of its own within an executor's task."""

from __future__ import annotations

import json

import pytest
from kit import REPO
from sparks import Driver, Failed

SPARK = REPO / "tests" / "models" / "flavors_mlflow2_17" / "spark"
# Its environment alone has a gigabyte.
pytestmark = pytest.mark.flavors
PREDICTED = """
    df = spark.createDataFrame([[at, *row] for at, row in enumerate(rows)], "at int, a double, b double, c double")
    frame = predict(df.repartition(2, "at"), model, **options)
    result = [row.prediction for row in frame.orderBy("at").collect()]
    own = spark.range(3).count()
    result = [result, own, frame.count(), spark.version]
"""


def known() -> tuple[list[list[float]], list[float]]:
    """The example's rows and its answers."""
    asked, expected = (json.loads(SPARK.with_name(f"spark.{what}.json").read_text()) for what in ("input", "expected"))
    return asked["dataframe_split"]["data"], expected


def test_a_model_of_spark_is_predicted_beside_the_session_that_asks(driver: Driver) -> None:
    """Spark 3.5 and 4.1 outside, 3.5 within; twice, and both sessions go on."""
    rows, expected = known()
    for _ in range(2):
        answer, own, count, version = driver.run(PREDICTED, model=SPARK, rows=rows, options={})
        assert answer == pytest.approx(expected), version
        assert (own, count) == (3, len(rows))


def test_without_java_for_the_worker_it_says_so(newest: Driver) -> None:
    rows, _ = known()
    nowhere = {"set_env": ["JAVA_HOME=/nonexistent"]}
    with pytest.raises(Failed, match="JAVA_HOME") as caught:
        newest.run(PREDICTED, model=SPARK, rows=rows, options=nowhere)
    assert "error[system-package-missing]" in caught.value.message
