"""Programs inside a program, as items: loops over rounds, branches, parts with memory of their own.

The items of a block run again and again over the same buffers.  What changes from round to round
is where a *cursor* points: a buffer without memory, whose address the code around the block writes
into the frame (a row of an array, the carry that goes in, the carry that comes out).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .layout import Access, Buffer
from .memory import arena

if TYPE_CHECKING:
    from .fusion import Item

__all__ = ["Block", "Carry", "Choice", "Cursor", "Part", "Region", "Rounds", "While"]


@dataclass(eq=False, slots=True)
class Cursor:
    """``buffer`` lies ``first`` elements into ``of``, and ``step`` more with the round's number."""

    buffer: Buffer
    of: Buffer
    step: int = 0
    first: int = 0


@dataclass(eq=False, slots=True)
class Carry:
    """Cursors of what goes into a round and comes out of it, over two pieces that take turns.

    The first round reads ``start``.
    """

    enters: Buffer
    leaves: Buffer
    start: Buffer
    other: Buffer


class Block:
    """Items over temporaries of their own, which share one piece of memory (``space``)."""

    def __init__(
        self, items: Sequence[Item], cursors: Sequence[Cursor], known: set[Buffer]
    ) -> None:
        """``known``: buffers that belong to the program around."""
        self.items = list(items)
        self.cursors = list(cursors)
        own: dict[Buffer, None] = {}
        outside: dict[Buffer, None] = {}
        for number, item in enumerate(self.items):
            for access in item.accesses:
                buffer = access.buffer
                if buffer.role == "temp" and buffer not in known:
                    own[buffer] = None
                    buffer.meet(number)
                elif buffer.role != "cursor" or buffer in known:
                    outside[buffer] = None
        for cursor in cursors:
            outside[cursor.of] = None
        total, places = arena(list(own))
        self.space: Buffer | None = None
        if total:
            self.space = Buffer("i1", total, "temp")
            outside[self.space] = None
            for buffer, place in places.items():
                buffer.host, buffer.place = self.space, place
        #: Buffers of the program around that items meet.
        self.outside = list(outside)

    @property
    def inside(self) -> Iterator[Buffer]:
        """All buffers that items meet, in blocks within this one too."""
        for item in self.items:
            if isinstance(item, Region):
                yield from item.inside
            for access in item.accesses:
                yield access.buffer
        for cursor in self.cursors:
            yield cursor.buffer


@dataclass(eq=False, slots=True)
class Region:
    """An item made of blocks; ``results`` are buffers that it writes."""

    blocks: list[Block]
    results: list[Buffer]

    @property
    def accesses(self) -> list[Access]:
        """Of all buffers of the program around that blocks meet."""
        found = dict.fromkeys([*self.results, *(b for k in self.blocks for b in k.outside)])
        return [Access(buffer, 0, ()) for buffer in found]

    @property
    def inside(self) -> Iterator[Buffer]:
        """All buffers that blocks meet."""
        for block in self.blocks:
            yield from block.inside


@dataclass(eq=False, slots=True)
class Part(Region):
    """One block, once."""


@dataclass(eq=False, slots=True)
class Rounds(Region):
    """A block for every number of a round, ascending or (``reverse``) descending."""

    length: int
    reverse: bool
    carries: list[Carry] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class While(Region):
    """Three blocks: the test, which writes ``flag``, the round, and what follows the last one."""

    flag: Buffer
    carries: list[Carry] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Choice(Region):
    """The first of two blocks where ``flag`` is set, else the second."""

    flag: Buffer

    @property
    def accesses(self) -> list[Access]:
        """Of all buffers of the program around that blocks meet, and the flag."""
        return [*Region.accesses.__get__(self), Access(self.flag, 0, ())]
