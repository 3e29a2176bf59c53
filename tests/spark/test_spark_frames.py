"""DataFrames with a model's answers, in sessions of two releases of Spark: what goes in, what comes out, what is said."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import REPO
from sparks import Driver, Failed

# Spark is installed for them, twice.
pytestmark = pytest.mark.slow
MODELS = REPO / "tests" / "models"
ERAS = ("py36_mlflow1_2", "py38_mlflow1_30", "py38_mlflow2_1", "py310_mlflow2_17", "py311_mlflow3_17")


def table_of(era: str, name: str = "heart") -> dict[str, Any]:
    body = json.loads((MODELS / era / f"{name}.input.json").read_text())
    return dict(body.get("dataframe_split") or body)


def expected(era: str, name: str = "heart") -> Any:
    return json.loads((MODELS / era / f"{name}.expected.json").read_text())


# Eras


def test_models_of_two_eras_are_scored_in_one_job(driver: Driver) -> None:
    first, last = ERAS[0], ERAS[-1]
    table = table_of(first)
    rows = driver.run(
        """
        df = spark.createDataFrame([tuple(row) for row in data], columns)
        once = predict(df, first)
        both = predict(once, last, output="later", columns=columns)
        result = [list(row) for row in both.select("prediction", "later").collect()]
        """,
        first=MODELS / first / "heart",
        last=MODELS / last / "heart",
        **table,
    )
    assert rows == [list(pair) for pair in zip(expected(first), expected(last))]


@pytest.mark.parametrize("era", [pytest.param(era, marks=() if era == ERAS[1] else pytest.mark.soak) for era in ERAS])
def test_every_era_answers_what_it_answers_without_spark(newest: Driver, era: str) -> None:
    for name in ("heart", "iris"):
        got = newest.run(
            """
            df = spark.createDataFrame([tuple(row) for row in data], columns)
            frame = predict(df, model, keep=[])
            result = [frame.columns, [row[0] for row in frame.collect()]]
            """,
            model=MODELS / era / name,
            **table_of(era, name),
        )
        assert got == [["prediction"], expected(era, name)]


# What goes in


def rows_shown(driver: Driver, model: Path, sql: str, **options: Any) -> list[dict[str, Any]]:
    """Each row as the model saw it."""
    shown = driver.run(
        """
        frame = predict(spark.sql(sql), model, keep=[], result_type="string", **options)
        result = [row[0] for row in frame.collect()]
        """,
        sql=sql,
        model=model,
        options=options,
    )
    return [dict(ast.literal_eval(row)) for row in shown]


@pytest.mark.parametrize("kind", ["arrow", "json"])
def test_values_of_every_type_reach_the_model_as_what_they_are(
    driver: Driver, acting: Mapping[str, Path], kind: str
) -> None:
    sql = """
        SELECT true AS truth, CAST(7 AS TINYINT) AS tiny, 9007199254740993 AS big, CAST(1.5 AS FLOAT) AS small,
            2.5D AS real, 12345678901234567.89 AS exact, 'ä☃' AS words, X'000102' AS bytes, DATE'2020-02-29' AS day,
            TIMESTAMP'2020-06-01 12:00:00' AS moment, TIMESTAMP_NTZ'2020-03-29 02:30:00' AS wall,
            array(1.5D, NULL) AS list, named_struct('a', 1, 'when', TIMESTAMP'2020-06-01 12:00:00') AS thing,
            array(array('x'), array()) AS deep
    """
    (row,) = rows_shown(driver, acting[kind], sql)
    # What a session in Berlin says to be noon is noon to the model.
    assert row == {
        "truth": True,
        "tiny": 7,
        "big": 2**53 + 1,
        "small": 1.5,
        "real": 2.5,
        "exact": "12345678901234567.89",
        "words": "ä☃",
        "bytes": b"\x00\x01\x02",
        "day": "2020-02-29",
        "moment": "2020-06-01 12:00:00",
        "wall": "2020-03-29 02:30:00",
        "list": [1.5, None],
        "thing": [("a", 1), ("when", "2020-06-01 12:00:00")],
        "deep": [["x"], []],
    }


@pytest.mark.parametrize("kind", ["arrow", "json"])
def test_what_is_null_is_missing_to_the_model(newest: Driver, acting: Mapping[str, Path], kind: str) -> None:
    types = ("boolean", "bigint", "double", "string", "binary", "date", "timestamp", "decimal(10,2)", "array<double>")
    sql = f"SELECT {', '.join(f'CAST(NULL AS {one}) AS c{at}' for at, one in enumerate(types))}"
    (row,) = rows_shown(newest, acting[kind], sql)
    assert row == {f"c{at}": None for at in range(len(types))}


def test_columns_are_matched_to_the_signature_by_name(newest: Driver) -> None:
    table = table_of(ERAS[-1])
    got = newest.run(
        """
        df = spark.createDataFrame([tuple(row) for row in data], columns)
        mixed = df.select(F.lit("no concern").alias("extra"), *[F.col(c).alias(c.upper()) for c in reversed(columns)])
        result = [row[0] for row in predict(mixed, model, keep=[]).collect()]
        """,
        model=MODELS / ERAS[-1] / "heart",
        **table,
    )
    assert got == expected(ERAS[-1])


def test_what_the_signature_demands_and_is_not_there_is_said_before_anything_runs(newest: Driver) -> None:
    with pytest.raises(Failed) as caught:
        newest.run("predict(spark.range(3).withColumn('age', F.col('id')), model)", model=MODELS / ERAS[-1] / "heart")
    assert caught.value.code == "input-mismatch"
    assert "'sex', 'cp'" in caught.value.message
    assert "'age'" not in caught.value.message


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("predict(df, model, keep=['y'])", "no column 'y'"),
        ("predict(df, model, columns=['y'])", "no column 'y'"),
        ("predict(df, model, columns=[])", "no columns"),
        ("predict(df, model, output='X', result_type='double')", "a column 'X' already"),
        ("predict(df, model, result_type='nonsense')", "none of Spark's"),
        ("predict(df, model, result_type=7)", "no int"),
        ("predict(df, model, on_error='hope')", "neither stop, skip nor null"),
        ("predict(df, model, chunk_rows=0)", "a chunk of 0 rows"),
        ("predict(df, model, ship='post')", "ship='post'"),
        ("predict(df.select('x', 'x'), model)", "several columns of one name"),
        ("predict(df.where('x > 99'), model)", "no rows"),
        ("predict(spark.sql(\"SELECT INTERVAL '1' MONTH AS m\"), model)", "cannot be sent"),
        ("udf(spark, model)", "no signature"),
        ("udf(spark, model, 'double', on_error='skip')", "neither stop nor null"),
        ("udf(spark, model, 'double')()", "names no columns"),
    ],
)
def test_what_cannot_be_is_said(newest: Driver, acting: Mapping[str, Path], code: str, words: str) -> None:
    with pytest.raises(Failed) as caught:
        newest.run("df = spark.range(3).withColumnRenamed('id', 'x')\n" + code, model=acting["arrow"])
    assert caught.value.code == "usage"
    assert words in caught.value.message


# What comes out


KINDS = """
    whole bigint, real double, words string, truth boolean, bytes binary, day date, moment timestamp, utc timestamp,
    exact decimal(20,2), list array<double>, thing struct<a: int, b: array<string>>, map map<string, int>
"""


@pytest.mark.parametrize("kind", ["arrow", "json"])
@pytest.mark.parametrize("how", ["columns", "struct", "function"])
def test_answers_of_every_type_are_columns_of_it(
    driver: Driver, acting: Mapping[str, Path], kind: str, how: str
) -> None:
    code = {
        "columns": "frame = predict(df, model, result_type=kinds, **options)",
        "struct": "frame = predict(df, model, result_type=kinds, output='p', **options).select('x', 'p.*')",
        "function": "frame = df.withColumn('p', udf(spark, model, kinds, **options)('x')).select('x', 'p.*')",
    }[how]
    got = driver.run(
        f"""
        df = spark.range(1, 4).withColumnRenamed("id", "x")
        {code}
        frame = frame.withColumn("moment", F.col("moment").cast("string")).withColumn("utc", F.col("utc").cast("string"))
        result = [row.asDict(recursive=True) for row in frame.orderBy("x").collect()]
        for row in result:
            row["bytes"] = None if row["bytes"] is None else bytes(row["bytes"]).hex()
        """,
        model=acting[kind],
        kinds=KINDS,
        options={"set_env": ["ACT=kinds"]},
    )
    full = {
        "whole": 2**53 + 1,
        "real": 1.5,
        "words": "ä☃",
        "truth": True,
        "bytes": "000102",
        "day": "2020-02-29",
        "moment": "2020-03-29 01:30:00",
        # What says where it is meant is that very moment, shown in Berlin.
        "utc": "2020-06-01 14:00:00",
        "exact": "12345678901234567.89",
        "list": [1.5, None],
        "thing": {"a": 1, "b": ["x"]},
        "map": {"k": 1},
    }
    assert got == [{"x": 1, **full}, {"x": 2, **full}, {"x": 3, **dict.fromkeys(full)}]


@pytest.mark.parametrize(
    ("act", "result_type", "schema", "answer"),
    [
        ("doubled", None, "double", [2.0, 4.0]),
        ("doubled", "string", "string", ["2.0", "4.0"]),
        ("doubled", "int", "int", [2, 4]),
        ("doubled", "decimal(5,1)", "decimal(5,1)", ["2.0", "4.0"]),
        ("large", None, "array<double>", [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]),
        ("large", "array<float>", "array<float>", [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]),
        ("large", "a int, b int, c double", "a int, b int, c double", [[1, 2, 3.0], [2, 4, 6.0]]),
        ("table", None, "label string, score double", [["a", 0.5], ["b", 1.0]]),
        ("table", "score float", "score float", [[0.5], [1.0]]),
        ("table", "struct<label: string, score: double>", "label string, score double", [["a", 0.5], ["b", 1.0]]),
    ],
)
# Answers of two thousand values and more cross as Arrow, if they can.
@pytest.mark.parametrize("rows", [2, 2500])
def test_the_type_is_as_it_is_said_or_as_the_first_rows_show(
    newest: Driver, acting: Mapping[str, Path], act: str, result_type: str | None, schema: str, answer: Any, rows: int
) -> None:
    got = newest.run(
        """
        df = spark.range(1, rows + 1, 1, 1).withColumnRenamed("id", "x")
        frame = predict(df, model, keep=[], result_type=result_type, set_env=["ACT=" + act])
        asked = T._parse_datatype_string(schema)
        wanted = [f.dataType for f in asked.fields] if isinstance(asked, T.StructType) else [asked]
        assert [f.dataType for f in frame.schema.fields] == wanted, frame.schema
        collected = frame.collect()
        assert len(collected) == rows
        result = [list(row) if len(row) > 1 or "score" in schema else row[0] for row in collected[:2]]
        """,
        model=acting["arrow"],
        act=act,
        result_type=result_type,
        schema=schema,
        rows=rows,
    )
    assert got == answer


@pytest.mark.parametrize("rows", [20, 2500])
@pytest.mark.parametrize(
    ("act", "result_type", "code", "words"),
    [
        ("table", "double", "output-invalid", "'label', 'score'"),
        ("table", "lable string", "output-invalid", "not 'lable'"),
        ("table", "label int", "output-invalid", "'label' is not all int32"),
        ("large", "double", "output-invalid", "not all double"),
        ("large", "a double, b double", "output-invalid", "no table of 2 columns"),
        ("short", "double", "output-invalid", "values for"),
    ],
)
def test_an_answer_that_is_not_what_it_was_said_to_be_is_said(
    newest: Driver, acting: Mapping[str, Path], act: str, result_type: str, code: str, words: str, rows: int
) -> None:
    with pytest.raises(Failed) as caught:
        newest.run(
            """
            df = spark.range(0, rows, 1, 1).withColumnRenamed("id", "x")
            predict(df, model, result_type=result_type, set_env=["ACT=" + act]).collect()
            """,
            model=acting["arrow"],
            act=act,
            result_type=result_type,
            rows=rows,
        )
    assert f"error[{code}]: partition 0, row" in caught.value.message
    assert words in caught.value.message


# Functions


def test_a_function_takes_columns_as_they_are_given(driver: Driver) -> None:
    got = driver.run(
        """
        df = spark.createDataFrame([tuple(row) for row in data], columns)
        score = udf(spark, model)
        turned = [F.col(c) for c in columns]
        spark.udf.register("heart", score.function)
        df.createOrReplaceTempView("hearts")
        named = ", ".join(reversed(columns))
        frames = {
            "signature": df.select(score()),
            "names": df.select(score(*reversed(columns))),
            "columns in order": df.select(score(*turned)),
            "struct": df.select(score(F.struct(*reversed(columns)))),
            "renamed": df.select([F.col(c).alias(c + "_") for c in columns]).select(score(*[c + "_" for c in columns])),
            "sql": spark.sql(f"SELECT heart(struct({named})) FROM hearts"),
        }
        result = {name: [row[0] for row in frame.collect()] for name, frame in frames.items()}
        """,
        model=MODELS / ERAS[-1] / "heart",
        **table_of(ERAS[-1]),
    )
    assert len(got) == 6
    assert {name: answer for name, answer in got.items() if answer != expected(ERAS[-1])} == {}


def test_a_function_says_what_it_lacks(newest: Driver) -> None:
    with pytest.raises(Failed) as caught:
        newest.run(
            "spark.range(3).select(udf(spark, model)(F.struct(F.col('id').alias('age')))).collect()",
            model=MODELS / ERAS[-1] / "heart",
        )
    assert "error[input-mismatch]" in caught.value.message
    assert "'sex', 'cp'" in caught.value.message


# Rows that fail

PICKY = """
    df = spark.range(0, 40, 1, 2).withColumnRenamed("id", "x")
    frame = predict(df, model, result_type="double", chunk_rows=8, set_env=["ACT=" + act], **options)
    result = [list(row) for row in frame.orderBy("x").collect()]
"""


def test_a_row_that_fails_is_named(driver: Driver, acting: Mapping[str, Path]) -> None:
    with pytest.raises(Failed) as caught:
        driver.run(PICKY, model=acting["arrow"], act="picky", options={})
    assert (
        "error[model-raised]: partition 0, row 14: the model's predict raised an exception: ValueError: 13 brings bad luck"
        in caught.value.message
    )


@pytest.mark.parametrize("act", ["picky", "dies"])
def test_a_row_that_fails_is_left_out_or_null(newest: Driver, acting: Mapping[str, Path], act: str) -> None:
    skipped, nulled = (
        newest.run(PICKY, model=acting["arrow"], act=act, options={"on_error": how}) for how in ("skip", "null")
    )
    # What ends the worker takes its chunk with it.
    bad = range(13, 14) if act == "picky" else range(8, 16)
    assert skipped == [[x, 2.0 * x] for x in range(40) if x not in bad]
    assert nulled == [[x, None if x in bad else 2.0 * x] for x in range(40)]


def test_a_function_gives_nulls_for_rows_that_fail(driver: Driver, acting: Mapping[str, Path]) -> None:
    got = driver.run(
        """
        df = spark.range(0, 20, 1, 2).withColumnRenamed("id", "x")
        score = udf(spark, model, "double", on_error="null", set_env=["ACT=picky"])
        result = [row[0] for row in df.select(score(F.struct("x"))).collect()]
        """,
        model=acting["arrow"],
    )
    assert got == [None if x == 13 else 2.0 * x for x in range(20)]


def test_a_model_is_kept_from_more_memory_than_it_may_have(newest: Driver, acting: Mapping[str, Path]) -> None:
    with pytest.raises(Failed) as caught:
        newest.run(PICKY, model=acting["arrow"], act="eats", options={"max_memory": "1GB"})
    assert "error[out-of-memory]: partition 0, rows 9 to 16" in caught.value.message


def test_chunks_are_as_large_as_is_said_and_empty_partitions_are_none(
    newest: Driver, acting: Mapping[str, Path]
) -> None:
    got = newest.run(
        """
        df = spark.range(0, 25, 1, 1).withColumnRenamed("id", "x").repartition(1).union(
            spark.range(0).withColumnRenamed("id", "x"))
        frame = predict(df, model, result_type="double", chunk_rows=7, set_env=["ACT=doubled"])
        result = [frame.count(), sorted(row.prediction for row in frame.collect())]
        """,
        model=acting["json"],
    )
    assert got == [25, [2.0 * x for x in range(25)]]
