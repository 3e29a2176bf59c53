"""A driver: code in, results out, in one session of Spark; what a notebook's kernel is to its user.

It is talked to as :mod:`envbuild.conversation` says.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F  # noqa: N812 - as its users have it
    from pyspark.sql import types as T  # noqa: N812 - likewise

    import envbuild
    import envbuild.spark

    builder = SparkSession.builder.appName("tests")
    for name, value in json.loads(sys.argv[1]).items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    known: dict[str, Any] = {"spark": spark, "F": F, "T": T, "envbuild": envbuild, "predict": envbuild.spark.predict}
    known["udf"] = envbuild.spark.udf
    for line in sys.stdin:
        request = json.loads(line)
        space = {**known, **request["values"]}
        try:
            exec(request["code"], space)
            answer = {"result": space.get("result")}
        except Exception as error:  # noqa: BLE001 - whatever the code raises is the answer
            code = getattr(error, "code", None)
            answer = {
                "error": type(error).__name__,
                "code": code if isinstance(code, str) else None,
                "message": str(error),
                "hint": getattr(error, "hint", None),
                "trace": traceback.format_exc(),
            }
        answers.write(json.dumps(answer, default=str) + "\n")
        answers.flush()
    spark.stop()


if __name__ == "__main__":
    main()
