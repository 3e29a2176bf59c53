"""Spark: what a worker needs for pyspark, and a local session of its that meets nothing outside of it.

The variables and properties are Spark's own ("Spark Configuration": environment variables, ``spark-defaults.conf``). All
are defaults: what the model's own code says of its session counts before them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from envbuild.bridge.environ import PrivateDirectories
from envbuild.bridge.options import WorkerOptions
from envbuild.errors import SystemPackageMissing

if TYPE_CHECKING:
    from envbuild.bridge.java import Need
    from envbuild.lock import Lock
    from envbuild.model import Model

_LOADER: Final = "mlflow.spark"
_H2O: Final = "mlflow.h2o"
# From which release on, the oldest and the newest Java that it runs on, and those that its documentation names. Hadoop's
# client before 3.4.2 does not start on Java 23, nor Spark before 3.5 on 21.
_JAVAS: Final = (
    ("4.2", 17, None, (17, 21, 25)),
    ("4.1", 17, None, (17, 21)),
    ("4.0", 17, 22, (17, 21)),
    ("3.5", 8, 22, (8, 11, 17)),
    ("3.3", 8, 17, (8, 11, 17)),
    ("3.0", 8, 11, (8, 11)),
    ("0", 8, 8, (8,)),
)


def prepared(options: WorkerOptions, model: Model, lock: Lock | None) -> WorkerOptions:
    """The options with what pyspark needs, where it is in the model's environment, or h2o's Java.

    :param lock: what the environment was built from; ``None`` where nobody knows.
    :raises SystemPackageMissing: the model is loaded by Spark or h2o, and there is no Java for it.
    """
    loader, version = model.pyfunc.loader_module, _version("pyspark", model, lock)
    if loader not in (_LOADER, _H2O) and not version:
        return options
    from envbuild.bridge import java  # most models need none

    if loader == _H2O:
        chosen = java.found(java.Need(library=f"h2o {_version('h2o', model, lock)}".strip()), options)
        return replace(options, java=str(chosen.home), why=f"{options.why}; Java {chosen.major} ({chosen.home})")
    need = need_of(version)
    try:
        chosen = java.found(need, options)
    except SystemPackageMissing:
        if loader == _LOADER:
            raise
        # Perhaps its code starts a session, and perhaps not.
        return replace(options, spark=True)
    said = "" if chosen.major in need.documented or not need.documented else f", which {need.library} does not document"
    why = f"{options.why}; Java {chosen.major} ({chosen.home}){said}"
    return replace(options, spark=True, java=str(chosen.home), why=why)


def need_of(version: str) -> Need:
    """Which Java a release of pyspark runs on; of one that nobody can read, any."""
    from packaging.version import InvalidVersion, Version

    from envbuild.bridge.java import Need

    library = f"pyspark {version}".strip()
    try:
        release = Version(version)
    except InvalidVersion:
        return Need(library=library)
    for since, oldest, newest, documented in _JAVAS:
        if release >= Version(f"{since}.dev0"):
            bounds = {} if newest is None else {"newest": newest}
            return Need(library=library, oldest=oldest, documented=documented, **bounds)
    return Need(library=library)


def variables(options: WorkerOptions, python: Path, private: PrivateDirectories) -> dict[str, str]:
    """The worker's variables for Java and Spark, and the file of defaults that they name.

    :param python: the environment's interpreter, as it is called there.
    :param private: the worker's own directories; the file is written there.
    """
    found = {} if options.java is None else {"JAVA_HOME": options.java}
    if not options.spark:
        return found
    folder, temporary = private.root / "spark", private.temporary
    folder.mkdir()
    (folder / "spark-defaults.conf").write_text(_defaults(temporary))
    return {
        **found,
        "SPARK_CONF_DIR": str(folder),
        "SPARK_LOCAL_DIRS": str(temporary),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": "localhost",
        "SPARK_SUBMIT_OPTS": _java_options(private),
        "PYSPARK_PYTHON": str(python),
        "PYSPARK_DRIVER_PYTHON": str(python),
        # Where mlflow puts what it copies for Spark to read; else below /tmp.
        "MLFLOW_DFS_TMP": str(temporary / "mlflow"),
    }


def _defaults(temporary: Path) -> str:
    properties = {
        # Two sessions want the same port for it, and nobody looks at it.
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.warehouse.dir": (temporary / "spark-warehouse").as_uri(),
    }
    return "".join(f"{name} {value}\n" for name, value in properties.items())


def _java_options(private: PrivateDirectories) -> str:
    """Java's own places; it goes by neither TMPDIR nor HOME."""
    places = {
        "java.io.tmpdir": private.temporary,
        "derby.system.home": private.temporary,
        "user.home": private.home,
    }
    said = [
        '-D{}="{}"'.format(name, str(path).replace("\\", "\\\\").replace('"', '\\"')) for name, path in places.items()
    ]
    return " ".join((*said, "-XX:-UsePerfData"))


def _version(name: str, model: Model, lock: Lock | None) -> str:
    """The version of a library, by the lock, else by what a flavor says; empty where nobody knows."""
    for package in () if lock is None else lock.packages:
        if package.name == name:
            return package.version or ""
    stated = (facts.get(f"{name}_version") for facts in model.flavors.values())
    return next((str(version) for version in stated if version is not None), "")
