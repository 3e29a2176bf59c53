"""Mutations: what is right, made wrong in many ways, the same ones for the same seed."""

from __future__ import annotations

import copy
import gzip
import json
import random
from typing import Any

NASTY: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**53 + 1,
    10**30,
    -(10**400),
    1.5,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    "NaN",
    "half \ud83d",
    "nul \0",
    "x" * 5000,
    "2020-02-30",
    "AAA=A",
    [],
    {},
    [[]],
    {"": None},
    [1, "a", None, [2]],
    {"a": {"b": [1, {}]}},
)
INSERTED = (b"\0", b"\n", b'"', b"[", b"}", b"\xff", b"\xed\xa0\xbd", b"1" * 500, b"[" * 3000, b'{"a":' * 3000)


def mutated_bytes(data: bytes, chance: random.Random) -> bytes:
    """One to four changes, of the kind that lines and disks make."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(changed) + 1)
        end = min(len(changed), start + chance.choice((1, 1, 2, 8, 100)))
        how = chance.randrange(6)
        if how == 0 and start < len(changed):
            changed[start] ^= 1 << chance.randrange(8)
        elif how == 1 and start < len(changed):
            changed[start] = chance.randrange(256)
        elif how == 2:
            changed[start:start] = chance.choice(INSERTED)
        elif how == 3:
            del changed[start:end]
        elif how == 4:
            changed[start:start] = changed[start:end]
        elif chance.random() < 0.3:
            del changed[start:]
    return bytes(changed)


def mutated_value(value: Any, chance: random.Random) -> Any:
    """A value with something in it replaced, left out, doubled or wrapped."""
    holders = list(_holders(value))
    if not holders or chance.random() < 0.05:
        return copy.deepcopy(chance.choice(NASTY))
    holder = chance.choice(holders)
    key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    how = chance.randrange(6)
    if how <= 2:
        holder[key] = copy.deepcopy(chance.choice(NASTY))
    elif how == 3:
        del holder[key]
    elif how == 4:
        holder[key] = [holder[key]] if chance.random() < 0.5 else {"a": holder[key]}
    elif isinstance(holder, dict):
        holder[chance.choice(("data", "inputs", "columns", "params", "é", ""))] = holder[key]
    else:
        holder.insert(key, holder[chance.randrange(len(holder))])
    return value


def _holders(value: Any) -> Any:
    """The containers in a value that hold something."""
    if isinstance(value, (dict, list)) and value:
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from _holders(part)


def mutated_json(value: Any, chance: random.Random) -> bytes:
    """The JSON of a mutated value, now and then with a key twice."""
    changed = json.loads(json.dumps(value))
    for _ in range(chance.randint(1, 3)):
        changed = mutated_value(changed, chance)
    text = json.dumps(changed, ensure_ascii=chance.random() < 0.8)
    if chance.random() < 0.05:
        text = text.replace("{", '{"inputs": 1, ', 1)
    return text.encode("utf-8", "surrogatepass")


def mutated_gzip(data: bytes, chance: random.Random) -> bytes:
    """Something compressed, and then mutated, or the other way round."""
    if chance.random() < 0.5:
        return gzip.compress(mutated_bytes(data, chance), mtime=0)
    return mutated_bytes(gzip.compress(data, mtime=0), chance)
