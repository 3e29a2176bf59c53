"""A model that does what a variable says, in an environment that has pyarrow and in one that has not."""

from __future__ import annotations

from pathlib import Path

from tiny import write_model

LOADER = '''
import datetime, decimal, os, time

import pandas


class Acting:
    def predict(self, data):
        return getattr(self, os.environ.get("ACT", "shown"))(data)

    def shown(self, data):
        """What each row is, in Python's words; numpy's are told as Python's own."""
        rows = []
        for row in data.to_dict("records"):
            rows.append(repr(sorted((name, self.told(value)) for name, value in row.items())))
        return rows

    def told(self, value):
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, list):
            return [self.told(one) for one in value]
        if isinstance(value, dict):
            return sorted((name, self.told(one)) for name, one in value.items())
        if value is None or value is pandas.NaT or (isinstance(value, float) and value != value):
            return None
        return str(value) if isinstance(value, (datetime.date, decimal.Decimal)) else value

    def doubled(self, data):
        return data["x"] * 2.0

    def table(self, data):
        x = data["x"]
        return pandas.DataFrame({"label": ["a" if one % 2 else "b" for one in x], "score": x / 2.0})

    def picky(self, data):
        if (data["x"] == 13).any():
            raise ValueError("13 brings bad luck")
        return data["x"] * 2.0

    def kinds(self, data):
        """A value of every kind in each row, and a null of each in every third."""
        full = {
            "whole": 2**53 + 1, "real": 1.5, "words": "ä\\u2603", "truth": True, "bytes": "AAEC",
            "day": "2020-02-29", "moment": "2020-03-29T01:30:00", "utc": "2020-06-01T12:00:00+00:00",
            "exact": "12345678901234567.89", "list": [1.5, None], "thing": {"a": 1, "b": ["x"]}, "map": {"k": 1},
        }
        return [dict.fromkeys(full) if x % 3 == 0 else full for x in data["x"]]

    def pid(self, data):
        return [os.getpid()] * len(data)

    def slow(self, data):
        time.sleep(600)

    def paced(self, data):
        time.sleep(0.1)
        return data["x"] * 2.0

    def eats(self, data):
        if (data["x"] == 13).any():
            return [len(bytearray(3 * 2**30))] * len(data)
        return data["x"] * 2.0

    def dies(self, data):
        if (data["x"] == 13).any():
            os._exit(3)
        return data["x"] * 2.0

    def short(self, data):
        return [1.0] * (len(data) - 1)

    def large(self, data):
        return data["x"].to_numpy().reshape(-1, 1) * [1.0, 2.0, 3.0]


def _load_pyfunc(path):
    return Acting()
'''
PANDAS = {"arrow": ("3.11", ("pandas==2.2.3", "numpy==1.26.4", "pyarrow==17.0.0")),
          "json": ("3.6", ("pandas==0.25.3", "numpy==1.19.5"))}  # fmt: skip


def acting_model(place: Path, kind: str, more: str = "") -> Path:
    """:param kind: ``arrow`` or ``json``, by what its environment can read."""
    python, pins = PANDAS[kind]
    return write_model(place, pip=pins, python=python, created=None, loader=LOADER, build_dependencies=(), more=more)
