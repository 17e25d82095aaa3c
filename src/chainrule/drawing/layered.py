"""A layered layout (Sugiyama, Tagawa and Toda 1981): ranks, few crossings, straight long edges.

Every vertex gets a rank, by the longest path to it.  Edges over several ranks are cut into pieces
by points in between.  The order within a rank is improved by barycenters, sweeping up and down;
places across are the least-squares answer to "under the mean of your neighbours" with the order and
the distances kept, which is isotonic regression and exact a rank.

The layout knows two directions, *along* (from rank to rank) and *across*; who draws says which of
them is horizontal.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Box", "Layout", "Link", "arrange"]

_SWEEPS = 12
_STRAIGHTENING = 20  # sweeps that look one way, and then both ways
_SETTLING = 60
_POINT = 2.0  # how wide a lane is that an edge takes through a rank
_STRAIGHT = 24.0  # how much more a piece between two such points wants to be straight


@dataclass(frozen=True, slots=True)
class Box:
    """How much room a vertex takes."""

    across: float
    along: float


@dataclass(frozen=True, slots=True)
class Link:
    """An edge, with the room that its label takes."""

    source: int
    target: int
    label: Box | None = None


@dataclass(slots=True)
class Layout:
    """Centres of the vertices, and for every link the points it passes, both as (across, along).

    ``labels`` has the centre of each link's label, or None.
    """

    centres: list[tuple[float, float]]
    routes: list[list[tuple[float, float]]]
    labels: list[tuple[float, float] | None]
    across: float
    along: float


@dataclass(slots=True)
class _Place:
    """A vertex, or a point of an edge, in its rank."""

    rank: int
    across: float
    along: float
    point: bool
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    at: float = 0.0


def arrange(
    boxes: Sequence[Box], links: Sequence[Link], gap: float = 22.0, rank_gap: float = 38.0
) -> Layout:
    """Lay out an acyclic graph whose links lead from lower to higher positions."""
    ranks = _ranks(len(boxes), links)
    if any(link.label for link in links):
        ranks = [2 * rank for rank in ranks]
        rank_gap *= 0.62
    places = [
        _Place(rank, box.across, box.along, False) for rank, box in zip(ranks, boxes, strict=True)
    ]
    chains = [_chain(places, link) for link in links]
    layers: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for number in _start(places, len(boxes)):
        layers[places[number].rank].append(number)
    layers = _fewer_crossings(places, layers)
    _across(places, layers, gap)
    _straighten(places, layers, chains, gap)
    along = _along(places, layers, rank_gap)
    left = min((p.at - p.across / 2 for p in places), default=0.0)
    for place in places:
        place.at -= left
    centres = [(p.at, along[p.rank]) for p in places]
    middles: list[tuple[float, float] | None] = []
    for link, chain in zip(links, chains, strict=True):
        named = [k for k in chain[1:-1] if link.label and places[k].across > _POINT]
        middles.append(centres[named[0]] if named else None)
    return Layout(
        centres[: len(boxes)],
        [_route(places, along, layers, chain) for chain in chains],
        middles,
        max((p.at + p.across / 2 for p in places), default=0.0),
        max((along[p.rank] + p.along / 2 for p in places), default=0.0),
    )


def _ranks(count: int, links: Sequence[Link]) -> list[int]:
    """The longest path to each vertex; what has no operands moves down to its first user."""
    ranks = [0] * count
    entered = [False] * count
    users: list[list[int]] = [[] for _ in range(count)]
    for link in sorted(links, key=lambda one: one.target):
        ranks[link.target] = max(ranks[link.target], ranks[link.source] + 1)
        entered[link.target] = True
        users[link.source].append(link.target)
    for vertex in range(count):
        if not entered[vertex] and users[vertex]:
            ranks[vertex] = min(ranks[user] for user in users[vertex]) - 1
    return ranks


def _chain(places: list[_Place], link: Link) -> list[int]:
    """The places that a link passes, points for the ranks in between included."""
    first, last = places[link.source].rank, places[link.target].rank
    chain = [link.source]
    labelled = (first + last) // 2
    for rank in range(first + 1, last):
        box = link.label if link.label is not None and rank == labelled else None
        across, along = (box.across, box.along) if box else (_POINT, 0.0)
        places.append(_Place(rank, across, along, True))
        chain.append(len(places) - 1)
    chain.append(link.target)
    for one, other in itertools.pairwise(chain):
        places[one].below.append(other)
        places[other].above.append(one)
    return chain


def _start(places: list[_Place], count: int) -> list[int]:
    """A first order: depth first from the results, so that what belongs together is together."""
    seen: set[int] = set()
    order: list[int] = []
    for root in [k for k in range(count) if not places[k].below]:
        stack = [root]
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            order.append(number)
            stack.extend(reversed(places[number].above))
    return order


def _fewer_crossings(places: list[_Place], layers: list[list[int]]) -> list[list[int]]:
    best, fewest = [list(layer) for layer in layers], _crossings(places, layers)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        for rank in range(1, len(layers)) if down else range(len(layers) - 2, -1, -1):
            fixed = {k: i for i, k in enumerate(layers[rank - 1 if down else rank + 1])}
            _sort(places, layers[rank], fixed, down)
        _exchange(places, layers)
        crossings = _crossings(places, layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _sort(places: list[_Place], layer: list[int], fixed: dict[int, int], down: bool) -> None:
    """Order a rank by the mean place of the neighbours; who has none stays where it is."""
    keys: dict[int, float] = {}
    for position, number in enumerate(layer):
        near = places[number].above if down else places[number].below
        keys[number] = sum(fixed[k] for k in near) / len(near) if near else float(position)
    layer.sort(key=keys.__getitem__)


def _exchange(places: list[_Place], layers: list[list[int]]) -> None:
    """Exchange neighbours where that removes crossings."""
    order = [{k: i for i, k in enumerate(layer)} for layer in layers]
    for rank, layer in enumerate(layers):
        for i in range(len(layer) - 1):
            a, b = places[layer[i]], places[layer[i + 1]]
            now = other = 0
            for near, far in ((a.above, b.above), (a.below, b.below)):
                if near and far:
                    where = order[places[near[0]].rank]
                    mine, theirs = [where[k] for k in near], [where[k] for k in far]
                    now += sum(p > q for p in mine for q in theirs)
                    other += sum(p < q for p in mine for q in theirs)
            if other < now:
                layer[i], layer[i + 1] = layer[i + 1], layer[i]
                order[rank][layer[i]], order[rank][layer[i + 1]] = i, i + 1


def _crossings(places: list[_Place], layers: list[list[int]]) -> int:
    total = 0
    for upper, lower in itertools.pairwise(layers):
        where = {k: i for i, k in enumerate(lower)}
        seen: list[int] = []
        for number in upper:
            ends = sorted(where[k] for k in places[number].below)
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _across(places: list[_Place], layers: list[list[int]], gap: float) -> None:
    """Places across: alternate between the ranks above and below until edges are straight."""
    for layer in layers:
        at = 0.0
        for number in layer:
            at += places[number].across / 2
            places[number].at = at
            at += places[number].across / 2 + gap
        for number in layer:
            places[number].at -= (at - gap) / 2
    for sweep in range(_STRAIGHTENING + _SETTLING):
        down = sweep % 2 == 0
        both = sweep >= _STRAIGHTENING
        for layer in layers if down else layers[::-1]:
            wishes, weights = [], []
            for number in layer:
                place = places[number]
                near = place.above + place.below if both else place.above if down else place.below
                near = near or place.above or place.below
                strength = [_STRAIGHT if place.point and places[k].point else 1.0 for k in near]
                weight = sum(strength)
                mean = sum(places[k].at * s for k, s in zip(near, strength, strict=True))
                wishes.append(mean / weight if near else place.at)
                weights.append(weight if near else 0.1)
            widths = [places[number].across for number in layer]
            found = _apart(wishes, weights, widths, gap)
            for number, at in zip(layer, found, strict=True):
                places[number].at = at


def _straighten(
    places: list[_Place], layers: list[list[int]], chains: list[list[int]], gap: float
) -> None:
    """Put the points of an edge on one line as far as their neighbours leave room."""
    order = {k: (layer, i) for layer in layers for i, k in enumerate(layer)}

    def room(number: int) -> tuple[float, float]:
        layer, i = order[number]
        place = places[number]
        low, high = -math.inf, math.inf
        if i:
            before = places[layer[i - 1]]
            low = before.at + (before.across + place.across) / 2 + gap
        if i + 1 < len(layer):
            after = places[layer[i + 1]]
            high = after.at - (after.across + place.across) / 2 - gap
        return low, high

    for _ in range(3):
        for chain in chains:
            points = chain[1:-1]
            while len(points) > 1:
                low, high = -math.inf, math.inf
                count = 0
                for number in points:
                    least, most = room(number)
                    if max(low, least) > min(high, most) + 1e-9:
                        break
                    low, high = max(low, least), min(high, most)
                    count += 1
                run, points = points[: max(count, 1)], points[max(count, 1) :]
                wish = sum(places[k].at for k in run) / len(run)
                for number in run if count else []:
                    places[number].at = min(max(wish, low), max(high, low))


def _apart(
    wishes: list[float], weights: list[float], widths: list[float], gap: float
) -> list[float]:
    """Nearest to the wishes, weighted, in order and at least ``gap`` apart: pooled violators."""
    offsets = [0.0]
    for one, other in itertools.pairwise(widths):
        offsets.append(offsets[-1] + (one + other) / 2 + gap)
    pools: list[tuple[float, float, int]] = []  # mean, weight, length
    for wish, weight, offset in zip(wishes, weights, offsets, strict=False):
        mean, total, length = wish - offset, weight, 1
        while pools and pools[-1][0] > mean:
            before, heavy, many = pools.pop()
            mean = (mean * total + before * heavy) / (total + heavy)
            total += heavy
            length += many
        pools.append((mean, total, length))
    flat = [mean for mean, _, length in pools for _ in range(length)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=False)]


def _along(places: list[_Place], layers: list[list[int]], rank_gap: float) -> list[float]:
    """The centre line of each rank."""
    centres = []
    edge = 0.0
    for layer in layers:
        depth = max((places[k].along for k in layer), default=0.0)
        centres.append(edge + depth / 2)
        edge += depth + rank_gap
    return centres


def _route(
    places: list[_Place], along: list[float], layers: list[list[int]], chain: list[int]
) -> list[tuple[float, float]]:
    """The points of a link: straight through each rank that it passes."""
    first, last = places[chain[0]], places[chain[-1]]
    points = [(first.at, along[first.rank] + first.along / 2)]
    for number in chain[1:-1]:
        place = places[number]
        depth = max(places[k].along for k in layers[place.rank]) / 2
        points.append((place.at, along[place.rank] - depth))
        points.append((place.at, along[place.rank] + depth))
    points.append((last.at, along[last.rank] - last.along / 2))
    return points
