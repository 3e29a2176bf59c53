"""Bodies generated from generated signatures get the answer that the era's own pyfunc gives."""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

import old_bodies
import pytest
import strategies
from comparing import REFUSED, SAME, UNEXPLAINED, Counted, compare, compare_with_server, generated
from differences import DIFFERENCES, OF_SERVERS_OF_1, Difference
from eras import ERAS, SERVER_OF_1, TODAY
from hypothesis import strategies as st
from kit import REPO
from loaders import mixed
from sides import Sides

from envbuild.bridge.loaders import ALLOWED

QUICK = ("1.30", TODAY)
SIZE = 8
"""Bodies for one signature."""
SEED = 20261122
MANY, LARGE = 200, 600
"""Examples in the slow tier, and by command."""
OLD = tuple(era for era in ERAS if SERVER_OF_1 in ERAS[era].knows)
LISTED = json.loads(ALLOWED.read_text(encoding="utf-8"))["mlflow"]
SIZES = [pytest.param(MANY, marks=pytest.mark.slow), pytest.param(LARGE, marks=pytest.mark.soak)]
Tally = Callable[..., Counted]


def _run(sides: Sides, against: str, examples: int, start: int, *, strict: bool) -> Counted:
    """Compare with the era's ``pyfunc`` or its ``server``; or our own enforcing with its pyfunc.

    :param against: of our own enforcing: ``direct`` follows today's rules, ``auto`` the era's, with the kinds of signatures
        for which a direct load is taken.
    """
    knows = sides.era.knows
    if against == "auto":
        changes = {"direct": True, "mlflow": sides.era.minor}
        signatures = mixed(LISTED[sides.era.minor]["signatures"]).map(lambda specs: {"inputs": specs})
        known = signatures.flatmap(lambda one: st.lists(strategies.bodies(one), min_size=SIZE, max_size=SIZE))
        return generated(known, partial(compare, sides, **changes), examples=examples, start=start, strict=strict)
    if against == "server":
        known = old_bodies.batches(knows, SIZE)
        return generated(known, partial(compare_with_server, sides), examples=examples, start=start, strict=strict)
    compared = partial(compare, sides, **({"direct": True} if against == "direct" else {}))
    return generated(strategies.batches(knows, SIZE), compared, examples=examples, start=start, strict=strict)


@pytest.mark.slow
@pytest.mark.parametrize("era", QUICK)
def test_generated_bodies_get_the_eras_own_answer(era: str, sides_of: Callable[[str], Sides]) -> None:
    counted = _run(sides_of(era), "pyfunc", 120, SEED, strict=True)
    assert counted.verdicts[SAME] > 200
    assert counted.verdicts[REFUSED] > 200


@pytest.mark.slow
def test_generated_bodies_of_1_get_the_answer_of_its_own_server(sides_of: Callable[[str], Sides]) -> None:
    assert _run(sides_of("1.30"), "server", 120, SEED, strict=True).verdicts[SAME] > 200


@pytest.mark.slow
def test_without_mlflow_our_own_enforcing_gives_the_answer_of_mlflow_3(sides_of: Callable[[str], Sides]) -> None:
    assert _run(sides_of(TODAY), "direct", 120, SEED, strict=True).verdicts[SAME] > 200


@pytest.mark.sampled(2)
@pytest.mark.parametrize("era", QUICK)
def test_where_a_direct_load_is_taken_our_own_enforcing_gives_the_eras_answer(
    era: str, sides_of: Callable[[str], Sides]
) -> None:
    counted = _run(sides_of(era), "auto", 100, SEED, strict=True)
    assert counted.verdicts[SAME] > 200
    assert counted.verdicts[REFUSED] > 200


@pytest.fixture(scope="session")
def tally(sides_of: Callable[[str], Sides]) -> Tally:
    """The counts of a large run, which is made once."""
    known: dict[tuple[str, str, int], Counted] = {}

    def count(era: str, against: str, examples: int = LARGE) -> Counted:
        asked = (era, against, examples)
        if asked not in known:
            known[asked] = _run(sides_of(era), against, examples, SEED + 1, strict=False)
        return known[asked]

    return count


@pytest.mark.parametrize("examples", SIZES)
@pytest.mark.parametrize("era", ERAS)
def test_every_difference_among_many_bodies_is_a_named_one(era: str, examples: int, tally: Tally) -> None:
    assert not tally(era, "pyfunc", examples).unexplained


@pytest.mark.parametrize("examples", SIZES)
@pytest.mark.parametrize("era", OLD)
def test_every_difference_from_a_server_of_1_is_a_named_one(era: str, examples: int, tally: Tally) -> None:
    assert not tally(era, "server", examples).unexplained


@pytest.mark.parametrize("examples", SIZES)
@pytest.mark.parametrize("era", ERAS)
def test_every_difference_where_a_direct_load_is_taken_is_a_named_one(era: str, examples: int, tally: Tally) -> None:
    assert not tally(era, "auto", examples).unexplained


@pytest.mark.parametrize("examples", SIZES)
def test_every_difference_of_our_own_enforcing_is_a_named_one(examples: int, tally: Tally) -> None:
    assert not tally(TODAY, "direct", examples).unexplained


@pytest.mark.soak
def test_every_named_difference_occurs_among_many_bodies(tally: Tally, sides_of: Callable[[str], Sides]) -> None:
    rare = Counter(one.verdict for one in compare(sides_of("2.22"), strategies.RARE))
    rare.update(one.verdict for one in compare(sides_of("1.30"), strategies.RARE_OF_1))
    rarely_served = Counter(
        one.verdict for one in compare_with_server(sides_of("1.30"), strategies.RARE_OF_SERVERS_OF_1)
    )
    assert not rare[UNEXPLAINED] + rarely_served[UNEXPLAINED]
    of_pyfunc = sum((tally(era, "pyfunc").verdicts for era in ERAS), tally(TODAY, "direct").verdicts + rare)
    of_servers = sum((tally(era, "server").verdicts for era in OLD), rarely_served)
    assert not _absent(DIFFERENCES, of_pyfunc)
    assert not _absent(OF_SERVERS_OF_1, of_servers)


def _absent(differences: Iterable[Difference], counts: Counter[str]) -> list[str]:
    return [difference.name for difference in differences if not counts[difference.name]]


@pytest.mark.soak
@pytest.mark.parametrize("era", ERAS)
def test_any_body_gets_the_eras_own_answer(era: str, sides_of: Callable[[str], Sides]) -> None:
    start = int(os.environ.get("CONFORMANCE_SEED") or random.randrange(10**9))
    print(f"CONFORMANCE_SEED={start}")
    for against in ("pyfunc", *(["server"] if era in OLD else []), *(["direct"] if era == TODAY else [])):
        _run(sides_of(era), against, int(os.environ.get("CONFORMANCE_EXAMPLES", "5000")), start, strict=True)


def test_the_page_has_the_differences_as_they_are() -> None:
    page = (REPO / "docs" / "conformance.md").read_text(encoding="utf-8")
    for difference in (*DIFFERENCES, *OF_SERVERS_OF_1):
        assert f"| `{difference.name}` | {difference.reason} |" in page
    assert len(re.findall(r"^\| `", page, re.MULTILINE)) == len({*DIFFERENCES, *OF_SERVERS_OF_1})
