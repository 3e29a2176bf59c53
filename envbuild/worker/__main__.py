"""The worker: loads one model in the model's own Python and predicts with it, for the bridge at the other end.

Started as ``PYTHON -I -S <this folder> HOST_PID [shared]``, as the leader of a session of its own. ``HOST_PID`` is the
process that must stay alive for the worker to go on; ``0`` means that nobody is watched (another program is the
parent). ``shared`` says that the environment shares files with others.

The protocol (version 4), over the fds 0 and 1 that the worker was started with:

* A frame is one line of JSON, the header, then exactly ``length`` bytes, the payload. Each header has ``protocol``
  (4), ``id`` (an answer has its question's), ``verb``, ``content_type`` and ``length``.
* The worker speaks first: ``ready`` (id 0) with ``{"protocol", "python", "implementation", "executable", "pid",
  "loader"}``; ``loader`` is ``mlflow`` or, in an environment without it, ``loader_module``.
* The host asks ``load`` (once; it may be sent before ``ready`` was read), ``predict`` (any number of times) and
  ``stop``.
* The header of ``predict`` may have ``content_encoding``: ``gzip``, and ``accept``, the content type that the answer
  should have: ``application/json`` (the default), ``application/jsonl`` or ``text/csv`` (a line a row of the input, CSV with a
  header line before them; ``keep`` names columns of the input that stand before the answer's own), or
  ``application/vnd.apache.arrow.stream`` (JSON, where this environment or the answer cannot be made it).
* ``predict_each`` is several requests in one frame: its header has ``parts``, a list of ``{"length", "content_type"}``
  with what else the header of ``predict`` may have, and the payloads stand one behind the other. ``predicted_each`` has
  as many ``parts``, each with ``verb`` (``predicted``, ``failed``, or ``alone``, with nothing behind it: this one is to be
  asked by itself) and ``length``.
* The payload of ``loaded`` is ``{"reads"}``, the content types that this environment can parse.
* The worker answers ``loaded``, ``predicted`` (its header has ``nulls``, the number of NaN and infinities that were
  made null, and ``rows``, the number of rows of the input where it has rows) or ``failed``, whose payload is ``{"code",
  "message", "exception"}``. ``stop`` is answered by ending with exit status 0.
* The codes of ``failed``: ``model-not-loaded``, ``input-invalid``, ``input-mismatch``, ``model-raised``,
  ``output-invalid``, ``output-too-large``, ``out-of-memory``, ``worker-protocol``.
* A frame whose header can be read but not served (its version, its verb, its order) is answered with ``failed`` and
  the worker goes on. After a header that cannot be read nobody knows where the next frame begins: the worker says
  ``failed`` and ends with exit status 3.
* End of file means that the host is gone: the whole process group is killed, in the middle of a prediction too.

The order of the start matters. The fds are moved away first, since anything after that may print; the worker ties its
life to the host's second; ``site`` comes third, since the environment's ``.pth`` files and ``sitecustomize`` run there;
only then is ``ready`` said.
"""

import importlib
import os
import sys
import types

PACKAGE = "_envbuild_worker"


def main() -> None:
    """Bring the worker up in the order that the module's docstring gives, and serve."""
    # Python put this folder first on the path; a model's ``import parsing`` must not find ours.
    folder = os.path.abspath(sys.path.pop(0))
    # This folder is the host's; the environment has its byte code already, and stays as it was built.
    sys.dont_write_bytecode = True
    package = types.ModuleType(PACKAGE, "The worker's own modules, under a name that no model has.")
    package.__path__ = [folder]
    sys.modules[PACKAGE] = package
    channel = importlib.import_module(PACKAGE + ".channel").take_over()
    importlib.import_module(PACKAGE + ".lifeline").tie(channel, int(sys.argv[1]))
    if sys.argv[2:] == ["shared"]:
        importlib.import_module(PACKAGE + ".privileges").give_up_override()
    serving = importlib.import_module(PACKAGE + ".serving")
    sys.argv[:] = [""]
    importlib.import_module("site").main()
    serving.serve(channel)


if __name__ == "__main__":
    main()
