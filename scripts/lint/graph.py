"""Who uses whom, as names, and the circles in that."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TypeAlias

Graph: TypeAlias = Mapping[str, Set[str]]


@dataclass(frozen=True)
class Exempt:
    """One arrow that is against the rules, and why it is there all the same."""

    user: str
    used: str
    reason: str


def circles(graph: Graph) -> list[list[str]]:
    """One circle through each knot of the graph: its names in order, the first again at the end."""
    found: list[list[str]] = []
    seen: set[str] = set()
    for name in sorted(graph):
        if name in seen:
            continue
        way_back = way(graph, name, name)
        if way_back:
            found.append([name, *way_back])
            seen |= {
                other for other in graph if way(graph, name, other) and way(graph, other, name)
            }
    return found


def way(graph: Graph, start: str, end: str) -> list[str]:
    """The names on a shortest way from `start`, without it, to `end`; empty if there is none."""
    ways: list[list[str]] = [[start]]
    reached: set[str] = set()
    for path in ways:
        for used in sorted(graph.get(path[-1], set()) - reached):
            reached.add(used)
            ways.append([*path, used])
            if used == end:
                return [*path[1:], used]
    return []


def without(graph: Graph, exempt: tuple[Exempt, ...]) -> dict[str, set[str]]:
    """The graph without the arrows that are excepted."""
    excepted = {(one.user, one.used) for one in exempt}
    return {
        user: {used for used in uses if (user, used) not in excepted}
        for user, uses in graph.items()
    }
