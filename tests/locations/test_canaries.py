"""No command shows, writes or passes on what lets a deployer in anywhere: the canary report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from canaries import CANARIES, PLACES, Aviary, Ran, forms, in_bytes, in_file, report
from servers import S3Server

# Status by status: what is asked for here goes well, or wrong in the way that is meant.
EXPECTED = {"diff": {10}, "doctor": {0, 5}, "lock": {0, 3, 4}, "pull": {0, 5}}


@pytest.fixture(scope="module")
def ran(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Ran]]:
    aviary = Aviary(tmp_path_factory.mktemp("aviary"), s3)
    try:
        yield [*(aviary.ran(*words) for words in aviary.commands()), aviary.served()]
    finally:
        aviary.close()


@pytest.mark.slow
def test_every_command_does_what_it_is_asked_for(ran: list[Ran]) -> None:
    strange = [one for one in ran if one.returncode not in EXPECTED.get(one.command.split()[1], {0})]
    assert strange == []
    assert [one.command for one in ran if "Traceback" in one.words] == []


@pytest.mark.slow
def test_no_command_leaves_a_secret_anywhere(ran: list[Ran]) -> None:
    print(report(ran))
    assert [(one.command, place, one.found[place]) for one in ran for place in one.found if one.found[place]] == []


@pytest.mark.slow
def test_every_canary_was_where_it_is_asked_for(ran: list[Ran]) -> None:
    """The packages came from the three indexes, the model by netrc and the store's key."""
    done = {one.command for one in ran if one.returncode == 0}
    assert {"envbuild build ./model", "envbuild lock s3://aviary/model"} <= done
    assert "envbuild predict http://…/model.tar.gz ./in.json" in done


@pytest.mark.parametrize("canary", CANARIES.values())
def test_what_is_looked_for_can_be_found(canary: str, tmp_path: Path) -> None:
    for number, form in enumerate(forms(canary)):
        path = tmp_path / str(number)
        path.write_bytes(b"before " + form + b" behind")
        assert len(in_file(path)) == 1
    assert in_bytes(b"nothing") == ()
    assert len(PLACES) == 5
