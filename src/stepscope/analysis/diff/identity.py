"""Identity: which process and which thread of one trace is which of another, by what they are called and what they do.

Never by pid, tid or time. A process is known by its rank and its name, the profiled one by being that; a thread by its
name without numbers, so that a pool is one thread whose order is free. Lanes belong to the thread they are lanes of.
What is left over on both sides and does alike is the same under another name.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from stepscope.analysis.diff.words import Words
from stepscope.model.trace import Trace, Track

__all__ = ["Group", "Naming", "identify"]

_LANE = re.compile(r" \((?:overlap|depth) \d+\)\Z")
_RANK = re.compile(r"\brank[ _:=#-]*(\d{1,9})", re.IGNORECASE)
# How much of what two threads do must be alike for them to be one under two names.
ALIKE = 0.5


class Group(NamedTuple):
    """Tracks that are compared as one.

    Attributes:
        process, thread: what they are called; a counter has no thread.
    """

    process: str
    thread: str


class Naming(NamedTuple):
    """The groups of all traces.

    Attributes:
        tracks: for base and head, for each trace, the group of each track.
        renamed: (process, thread's name in base, in head) of each thread that is the same under another name.
        free: groups whose order is free.
    """

    tracks: tuple[list[list[Group]], list[list[Group]]]
    renamed: list[tuple[str, str, str]]
    free: frozenset[Group]


class _Owner(NamedTuple):
    """What a process is known by."""

    rank: int
    own: bool
    name: str


def identify(base: Sequence[Trace], head: Sequence[Trace], words: Words) -> Naming:
    """Name every track of two sides, so that what is the same has the same name."""
    sides = base, head
    owners = tuple([_owners(trace, words) for trace in traces] for traces in sides)
    names = _match_processes(*({owner for trace in side for owner in trace.values()} for side in owners))
    given = tuple(
        [
            [Group(names[at][owner[track.pid]], _thread_name(track, words)) for track in trace.tracks]
            for trace, owner in zip(traces, owners[at], strict=True)
        ]
        for at, traces in enumerate(sides)
    )
    same, renamed = _match_threads(sides, given, words)
    named = (
        [[same.get(group, group) for group in groups] for groups in given[0]],
        [[same.get(group, group) for group in groups] for groups in given[1]],
    )
    return Naming(named, renamed, _free(sides, named))


def _owners(trace: Trace, words: Words) -> dict[int, _Owner]:
    """What each process of a trace is known by."""
    pids = {track.pid: track.process for track in trace.tracks}
    origin, owners = trace.origin, {}
    for pid, name in pids.items():
        own = pid == origin.pid or len(pids) == 1
        text = re.sub(rf"(?<!\d){pid}(?!\d)", "*", words.normal(name, "process"))
        ranked = _RANK.search(name)
        rank = origin.rank if own and origin.rank else int(ranked.group(1)) if ranked else 0
        owners[pid] = _Owner(rank, own, text)
    return owners


def _match_processes(base: set[_Owner], head: set[_Owner]) -> tuple[dict[_Owner, str], dict[_Owner, str]]:
    """What each process is called in findings; the same in both if it is the same."""
    left, right = sorted(base), sorted(head)
    pairs: list[tuple[_Owner, _Owner]] = []
    keys: tuple[Callable[[_Owner], object], ...] = (
        lambda owner: owner,
        lambda owner: (owner.rank, owner.name),
        lambda owner: (owner.rank, owner.own or owner),
    )
    for key in keys:
        known = {key(owner): owner for owner in reversed(right)}
        for owner in list(left):
            if (other := known.pop(key(owner), None)) is not None:
                pairs.append((owner, other))
                left.remove(owner)
                right.remove(other)
    if len(left) == len(right) == 1 and not pairs:
        pairs.append((left.pop(), right.pop()))
    names: tuple[dict[_Owner, str], dict[_Owner, str]] = ({}, {})
    ranks = {owner.rank for owner in base | head}
    for one, other in pairs:
        shown = min(one.name, other.name)
        ranked = len(ranks) > 1 and one.rank == other.rank and not _RANK.search(shown)
        names[0][one] = names[1][other] = f"{shown} (rank {one.rank})" if ranked else shown
    for at, rest in enumerate((left, right)):
        for owner in rest:
            ranked = len(ranks) > 1 and not _RANK.search(owner.name)
            names[at][owner] = f"{owner.name} (rank {owner.rank})" if ranked else owner.name
    return names


def _thread_name(track: Track, words: Words) -> str:
    if track.kind == "counter":
        return ""
    return words.normal(_LANE.sub("", track.name), "thread")


def _match_threads(
    sides: tuple[Sequence[Trace], Sequence[Trace]], given: tuple[list[list[Group]], ...], words: Words
) -> tuple[dict[Group, Group], list[tuple[str, str, str]]]:
    """Threads that are one under two names, with the one of both that they go by; and who was renamed."""
    present = [{group for groups in side for group in groups if group.thread} for side in given]
    left, right = sorted(present[0] - present[1]), sorted(present[1] - present[0])
    same: dict[Group, Group] = {}
    taken: set[Group] = set()
    renamed: list[tuple[str, str, str]] = []
    if not left or not right:
        return same, renamed
    done = [_contents(side, groups, words) for side, groups in zip(sides, given, strict=True)]
    scores = [
        (-_likeness(done[0][one], done[1][other]), one, other)
        for one in left
        for other in right
        if one.process == other.process
    ]
    # By likeness, then by both names in order, so that it does not matter which side is base.
    for score, one, other in sorted(scores, key=lambda found: (found[0], *sorted(found[1:]))):
        if -score >= ALIKE and other not in taken and one not in taken:
            taken |= {one, other}
            same[max(one, other)] = min(one, other)
            renamed.append((one.process, one.thread, other.thread))
    return same, renamed


def _contents(traces: Sequence[Trace], given: list[list[Group]], words: Words) -> dict[Group, Counter[int]]:
    """How often each name is in a group; the groups without rows too."""
    found: dict[Group, Counter[int]] = {group: Counter() for groups in given for group in groups}
    for trace, groups in zip(traces, given, strict=True):
        keys, columns = words.keys_of(trace), trace.columns
        for (track, name), count in Counter(zip(columns.track, columns.name, strict=True)).items():
            found[groups[track]][keys[name]] += count
    return found


def _likeness(one: "Counter[int]", other: "Counter[int]") -> float:
    """What share of two bags of names they have in common."""
    union = sum((one | other).values())
    return sum((one & other).values()) / union if union else 1.0


def _free(sides: Iterable[Sequence[Trace]], named: Iterable[list[list[Group]]]) -> frozenset[Group]:
    """Groups of several tracks in one trace."""
    free: set[Group] = set()
    for traces, all_groups in zip(sides, named, strict=True):
        for trace, groups in zip(traces, all_groups, strict=True):
            rows = Counter(group for group, track in zip(groups, trace.tracks, strict=True) if track.kind != "counter")
            free.update(group for group, count in rows.items() if count > 1)
    return frozenset(free)
