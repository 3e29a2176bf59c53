"""Batch inference on Apache Spark: each partition in the model's own environment (docs/spark.md).

``frames`` and ``functions`` are what one calls: :func:`predict` and :func:`udf`. On the driver ``types`` says what an
answer becomes, ``columns`` which columns the model gets, and ``shipping`` how executors get the environment; they are told
by a ``recipe``. On executors ``executor`` does what it says, and ``answers`` makes columns of what the model answers.
``batch`` is ``envbuild batch --engine spark``. Spark itself is the extra ``envbuild[spark]``.
"""

from __future__ import annotations

from envbuild.spark.frames import predict
from envbuild.spark.functions import udf

__all__ = ["predict", "udf"]
