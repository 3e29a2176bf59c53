"""A model of Spark's own, predicted by Spark: its worker has a Spark and a session of its own within an executor's task."""

from __future__ import annotations

import json

import pytest
from flavor import MODELS, question, wrong_in
from sparks import Driver, Failed

SPARK = MODELS / "flavors_mlflow2_17" / "spark"
# Its environment alone has a gigabyte.
pytestmark = pytest.mark.flavors
PREDICTED = """
    df = spark.createDataFrame([[at, *row] for at, row in enumerate(rows)], "at int, a double, b double, c double")
    frame = predict(df.repartition(2, "at"), model, **options)
    result = [row.prediction for row in frame.orderBy("at").collect()]
    own = spark.range(3).count()
    result = [result, own, frame.count(), spark.version]
"""


def test_a_model_of_spark_is_predicted_beside_the_session_that_asks(driver: Driver) -> None:
    """Spark 3.5 and 4.1 outside, 3.5 within; twice, and both sessions go on."""
    rows = json.loads(question(SPARK).read_text())["dataframe_split"]["data"]
    for _ in range(2):
        answer, own, count, version = driver.run(PREDICTED, model=SPARK, rows=rows, options={})
        assert wrong_in(SPARK, answer) == [], version
        assert (own, count) == (3, len(rows))


def test_without_java_for_the_worker_it_says_so(newest: Driver) -> None:
    rows = json.loads(question(SPARK).read_text())["dataframe_split"]["data"]
    nowhere = {"set_env": ["JAVA_HOME=/nonexistent"]}
    with pytest.raises(Failed, match="JAVA_HOME") as caught:
        newest.run(PREDICTED, model=SPARK, rows=rows, options=nowhere)
    assert "error[system-package-missing]" in caught.value.message
