"""What envbuild needs on this machine, and what single models need: is it there, and does it do?

Nothing is changed by looking: no store is made, nothing is fetched and nothing is left behind. No check raises, and
none is waited for longer than its time.

``finding``       what is found, and what a check is
``looking``       checks side by side
``ground``        the platform, uv, temporary and open files
``pythons``       which Pythons are here or can be fetched
``place``         the store's directory and its file system
``network``       the indexes, the place of curated environments
``programs``      what single models need: compilers, git, Java, a GPU
``surroundings``  Docker, what workers can be kept from, the extras of envbuild
"""

from __future__ import annotations

from itertools import groupby

from envbuild.doctor import ground, network, place, programs, pythons, surroundings
from envbuild.doctor.finding import Check, Finding, Group
from envbuild.doctor.looking import side_by_side
from envbuild.progress import Report, silent
from envbuild.settings import Settings

__all__ = ["Finding", "Group", "examine"]

_STORE, _PYTHONS, _NETWORK = "Store", "Pythons", "Network"
_ITSELF, _MODELS, _MORE = "envbuild itself", "For some models", "For more than predicting"

CHECKS = (
    Check(group=_ITSELF, name="system", look=ground.system, seconds=5.0, needed=True),
    Check(group=_ITSELF, name="uv", look=ground.pinned_uv, seconds=10.0, needed=True),
    Check(group=_ITSELF, name="temporary files", look=ground.temporary_files, seconds=10.0, needed=True),
    Check(group=_ITSELF, name="open files", look=ground.open_files, seconds=5.0),
    Check(group=_STORE, name="store", look=place.store, seconds=15.0, needed=True),
    # Each is run once to say what it is; a slow disk has some twenty of them.
    Check(group=_PYTHONS, name="Pythons", look=pythons.pythons, seconds=60.0, needed=True),
    Check(group=_NETWORK, name="index", look=network.index, seconds=10.0, needed=True),
    Check(group=_NETWORK, name="further indexes", look=network.further_indexes, seconds=10.0, needed=True),
    Check(group=_NETWORK, name="curated environments", look=network.environments, seconds=10.0),
    Check(group=_MODELS, name="compiler", look=programs.compiler, seconds=15.0),
    Check(group=_MODELS, name="git", look=programs.git, seconds=10.0),
    Check(group=_MODELS, name="Java", look=programs.java, seconds=10.0),
    Check(group=_MODELS, name="GPU", look=programs.gpu, seconds=10.0),
    Check(group=_MORE, name="Docker", look=surroundings.docker, seconds=10.0),
    Check(group=_MORE, name="confinement", look=surroundings.confinement, seconds=20.0),
    Check(group=_MORE, name="extras", look=surroundings.extras, seconds=10.0),
)
# There is nothing to look at where these settings are not set.
_ONLY_WHERE_SET = {"further indexes": "extra_index_url", "curated environments": "environments"}


def examine(settings: Settings, report: Report = silent) -> tuple[Group, ...]:
    """Look at everything, side by side, and say what was found, in groups."""
    checks = [
        check for check in CHECKS if check.name not in _ONLY_WHERE_SET or getattr(settings, _ONLY_WHERE_SET[check.name])
    ]
    found = list(side_by_side(checks, settings, report))
    return tuple(
        Group(name=name, findings=tuple(finding for _, finding in pairs))
        for name, pairs in groupby(found, key=lambda pair: pair[0].group)
    )
