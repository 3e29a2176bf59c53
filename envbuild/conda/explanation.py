"""Why there is no set of packages: py-rattler's tree, cut to what a person can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from envbuild.conda.part import spec_name

# What it says before and behind what it is about; each has one meaning.
_PHRASES = (
    (r" \*(?=[ ,.]|$)", ""),
    (r",? (which )?cannot be installed because there are no viable options:$", ""),
    (r",? (which )?can be installed with any of the following options:$", ""),
    (r" would require$", " requires"),
    (r" would constrain$", " allows only"),
    (r"^No candidates were found for (.+?)\.$", r"no channel has \1"),
    (r", for which no candidates were found\.$", ", which no channel has"),
    (r" is excluded because the package is uploaded after the cutoff date of (\S+).*$", r" is younger than \1"),
    (r" is excluded because due to strict channel priority.*$", " is in a channel of lower priority alone"),
    (r", which conflicts with .*$", ", which conflicts with the others"),
)
_TREE = re.compile(r"^(?P<depth>(?:[│ ] {2}|[├└]─ )*)(?P<text>.*)$")
_MISSING = re.compile(r"^(?P<need>(?P<name>[^\s<>=!~]+).*), which no channel has$")
_MOST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why specs cannot be met."""

    heart: str
    """One sentence, or a few with semicolons between them."""
    lines: tuple[str, ...]
    """All that the solver says."""

    @property
    def is_of_date(self) -> bool:
        """Whether a later date would help, at least in part."""
        return " is younger than " in self.heart

    @property
    def is_of_machine(self) -> bool:
        """Whether it needs what the machine has not, at least by what was said of it."""
        return ", and the machine has " in self.heart


def explanation(words: str, specs: Sequence[str], virtual_packages: Mapping[str, str]) -> Explanation:
    """The heart of what the solver says.

    :param specs: what was asked for.
    :param virtual_packages: what the machine has, by name.
    """
    said = words.removeprefix("Cannot solve the request because of:").strip()
    lines = tuple(line.rstrip() for line in said.splitlines() if line.strip())
    ways = ((*way[:-1], _completed(way[-1], specs, virtual_packages)) for way in _ways(lines))
    chains = list(dict.fromkeys(map(_sentence, ways)))
    more = f"; and {len(chains) - _MOST} more reasons" if len(chains) > _MOST else ""
    return Explanation(heart="; ".join(chains[:_MOST]) + more, lines=lines)


def _ways(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """Each way from what was asked for to what it fails at."""
    way: list[str] = []
    nodes = [(len(found["depth"]) // 3, _cleaned(found["text"])) for line in lines if (found := _TREE.match(line))]
    nodes = [node for node in nodes if node[1] != "The following packages are incompatible"]
    base = min((depth for depth, _ in nodes), default=0)
    for number, (depth, text) in enumerate(nodes):
        way[depth - base :] = [text]
        is_leaf = number + 1 == len(nodes) or nodes[number + 1][0] <= depth
        if is_leaf:
            yield tuple(way)


def _cleaned(text: str) -> str:
    for pattern, instead in _PHRASES:
        text = re.sub(pattern, instead, text)
    return text


def _sentence(way: Sequence[str]) -> str:
    said = ""
    for text in way:
        if said.endswith((" requires", " allows only")):
            said = f"{said} {text}"
        elif not said or text.split(" ")[0] == said:
            said = text
        else:
            said = f"{said}: {text}"
    return said


def _completed(end: str, specs: Sequence[str], virtual_packages: Mapping[str, str]) -> str:
    """What has no candidates may be on a channel, and be ruled out by another spec; or be no package at all."""
    found = _MISSING.match(end)
    if found is None:
        return end
    need, name = found["need"], found["name"]
    if name.startswith("__"):
        return f"{need}, and the machine has {virtual_packages.get(name, 'none')}"
    asked = next((spec for spec in specs if spec_name(spec) == name and spec.lower() != name), None)
    return end if asked is None else f"{need}, and {asked} is asked for"
