"""Rules about an answer: versions that the index lets stand side by side, and that do not work so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from packaging.version import Version

from envbuild.repairs.attempt import Attempt
from envbuild.requirement import version_of

# numba states which numpy it works with in its documentation ("Version support information") and as an upper bound from
# 0.54 on. A resolver that has chosen numpy first goes back to a release of before, which cannot even be imported.
_NUMBA_SAYS, _NUMPY_TOO_NEW = Version("0.54"), Version("1.21")


def numba_bound(attempt: Attempt, versions: Mapping[str, str]) -> Iterator[Attempt]:
    """A numba that states no bound beside a numpy that is beyond it: a newer numba, else an older numpy.

    :param versions: what was resolved, by name.
    """
    numba, numpy = (version_of(versions.get(name, "")) for name in ("numba", "numpy"))
    if numba is None or numpy is None or numba >= _NUMBA_SAYS or numpy < _NUMPY_TOO_NEW or attempt.bounds:
        return
    for bound in (f"numba>={_NUMBA_SAYS}", f"numpy<{_NUMPY_TOO_NEW}"):
        message = f"numba {numba} cannot be imported beside numpy {numpy}, and says nothing of it; {bound} is taken"
        yield replace(attempt, bounds=(bound,)).noting("numba-bound", message)
