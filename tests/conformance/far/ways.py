"""Runs in an era's Python: parses each table in all its forms with the worker's parser, and prints what came of them.

``python ways.py WORKER_FOLDER CASES``; a case is ``{"kinds", "columns", "arrow"}``, its bodies in base64, ``arrow`` null
where it does not go by Arrow. Prints ``{"arrow": COUNT, "differ": [[FORM, KINDS, BODY, GENERAL, FOUND], ...]}``.
"""

import base64
import importlib
import json
import sys
import types
import warnings

PACKAGE = "_envbuild_worker"


def shown(parser, body, content_type):
    """A table in every detail, or of what kind its refusal is."""
    try:
        frame = parser.parse(body, content_type).data
    except Exception as error:  # noqa: BLE001 - whatever the worker refuses it with
        return type(error).__name__
    columns = [frame.iloc[:, place] for place in range(frame.shape[1])]
    return repr(
        (
            [(str(column.dtype), list(map(repr, column.tolist()))) for column in columns],
            list(frame.columns),
            str(frame.columns.dtype),
            repr(frame.index),
        )
    )


def main():
    """Parse all cases."""
    warnings.simplefilter("ignore")
    package = types.ModuleType(PACKAGE)
    package.__path__ = [sys.argv[1]]
    sys.modules[PACKAGE] = package
    parsing, exact = (importlib.import_module(PACKAGE + "." + name) for name in ("parsing", "exact"))
    at_once, differ, by_arrow = exact.table, [], 0
    with open(sys.argv[2]) as file:
        cases = json.load(file)
    for case in cases:
        parser = parsing.Parser({"inputs": [{"name": name, "type": kind} for name, kind in case["kinds"].items()]})
        body = base64.b64decode(case["columns"])
        exact.table = lambda *_: None
        general = shown(parser, body, parsing.COLUMNS)
        exact.table = at_once
        found = {"at once": shown(parser, body, parsing.COLUMNS)}
        if case["arrow"] and parsing.FRAME in parsing.readable_types():
            by_arrow += 1
            found["arrow"] = shown(parser, base64.b64decode(case["arrow"]), parsing.FRAME)
        for form, table in found.items():
            if table != general:
                differ.append([form, case["kinds"], body.decode("utf-8", "replace"), general, table])
    print(json.dumps({"arrow": by_arrow, "differ": differ}))


main()
