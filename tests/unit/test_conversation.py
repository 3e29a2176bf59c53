"""Conversations with a program that stays: steps, answers, and its end at any moment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually, is_gone

from envbuild import process
from envbuild.conversation import Conversation, Died

# Says its number, and does as it is told.
PROGRAM = """
import json, os, signal, sys, time

for line in sys.stdin:
    asked = json.loads(line)
    for number in range(asked.get("steps", 0)):
        print(json.dumps({"step": {"number": number}}))
    if "words" in asked:
        print(*asked["words"], sep="\\n", file=sys.stderr, flush=True)
    if "nonsense" in asked:
        print(asked["nonsense"], flush=True)
    if "signal" in asked:
        os.kill(os.getpid(), asked["signal"])
    if "sleep" in asked:
        sys.stdout.flush()
        time.sleep(asked["sleep"])
    print(json.dumps({"pid": os.getpid(), "text": "x" * asked.get("size", 0), "asked": len(line)}), flush=True)
"""
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def conversation(tmp_path: Path) -> Iterator[Conversation]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    made = Conversation([sys.executable, "-I", str(program)], {"PATH": os.defpath})
    yield made
    made.close()


@pytest.fixture
def steps() -> list[Any]:
    return []


@pytest.fixture
def ask(conversation: Conversation, steps: list[Any]) -> Ask:
    return lambda **asked: conversation.ask(asked, steps.append)


def test_one_program_answers_all_questions_of_any_size(ask: Ask) -> None:
    first = ask(size=3_000_000)
    assert len(first["text"]) == 3_000_000
    second = ask(long="y" * 3_000_000)
    assert second["asked"] > 3_000_000
    assert second["pid"] == first["pid"] != os.getpid()


def test_steps_come_in_their_order_before_the_answer(ask: Ask, steps: list[Any]) -> None:
    ask(steps=300)
    assert steps == [{"number": number} for number in range(300)]


@pytest.mark.parametrize("asked", [{"signal": int(signal.SIGKILL)}, {"nonsense": "no JSON"}, {"nonsense": "[1]"}])
def test_one_that_dies_or_talks_nonsense_is_said_with_its_last_words_and_the_next_question_has_another(
    ask: Ask, asked: dict[str, Any]
) -> None:
    before = ask()["pid"]
    with pytest.raises(Died) as caught:
        ask(words=[f"line {number}" for number in range(9)], **asked)
    assert str(caught.value) == " line 4 line 5 line 6 line 7 line 8"
    assert caught.value.returncode == -signal.SIGKILL
    assert is_gone(before)
    assert ask()["pid"] != before


def test_what_it_said_and_did_not_answer_is_not_the_next_ones(ask: Ask) -> None:
    with pytest.raises(Died):
        ask(nonsense='{"text": "half')
    assert ask()["text"] == ""


def test_one_that_takes_too_long_is_ended(conversation: Conversation, ask: Ask) -> None:
    before = ask()["pid"]
    with pytest.raises(process.TimedOutWaiting):
        conversation.ask({"sleep": 60}, lambda step: None, timeout=0.2)
    assert is_gone(before)


def test_who_is_interrupted_ends_it(conversation: Conversation, ask: Ask) -> None:
    before = ask()["pid"]

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversation.ask({"steps": 1, "sleep": 60}, interrupted)
    assert is_gone(before)


def test_closed_it_is_gone_and_leaves_nothing_open(conversation: Conversation, ask: Ask) -> None:
    before, pid = open_files(), ask()["pid"]
    conversation.close()
    assert is_gone(pid)
    eventually(lambda: open_files() <= before, "its pipes are closed")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
