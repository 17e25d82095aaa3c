"""Memory that the caller gives for results lies apart from all that the program meets besides.

Machine code compares the ranges at every call.
"""

from __future__ import annotations

__all__ = ["Ranges"]


class Ranges:
    """The memory of one call: ranges of arguments and results, some of which must lie apart."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.apart: list[int] = []  # numbers of those that nothing else may meet

    def place(self, nbytes: int, apart: bool) -> int:
        """The number of a range."""
        self.sizes.append(nbytes)
        if apart:
            self.apart.append(len(self.sizes) - 1)
        return len(self.sizes) - 1

    def table(self) -> str:
        """Where the code keeps the starts of the ranges (at the head of the function)."""
        return f"  %starts = alloca [{max(len(self.sizes), 1)} x i64], align 8"

    def constants(self) -> list[str]:
        """The numbers that :meth:`check` reads."""
        return [
            f"@given_{name} = internal constant [{len(numbers)} x i64] "
            f"[{', '.join(f'i64 {n}' for n in numbers)}]"
            for name, numbers in (("sizes", self.sizes), ("apart", self.apart))
            if numbers
        ]

    def check(self, otherwise: str) -> str:
        """Code that goes on at ``disjoint`` where every range of ``apart`` meets no other."""
        if not self.apart:
            return "  br label %disjoint\ndisjoint:"
        return f"""  br label %ranges
ranges:
  br label %outer
outer:
  %r = phi i64 [ 0, %ranges ], [ %rnext, %outernext ]
  %rp = getelementptr i64, ptr @given_apart, i64 %r
  %mine = load i64, ptr %rp, align 8
  %lowp = getelementptr i64, ptr %starts, i64 %mine
  %low = load i64, ptr %lowp, align 8
  %lengthp = getelementptr i64, ptr @given_sizes, i64 %mine
  %length = load i64, ptr %lengthp, align 8
  %high = add i64 %low, %length
  br label %inner
inner:
  %s = phi i64 [ 0, %outer ], [ %snext, %innernext ]
  %startp = getelementptr i64, ptr %starts, i64 %s
  %start = load i64, ptr %startp, align 8
  %sizep = getelementptr i64, ptr @given_sizes, i64 %s
  %size = load i64, ptr %sizep, align 8
  %end = add i64 %start, %size
  %other = icmp ne i64 %s, %mine
  %below = icmp ult i64 %start, %high
  %above = icmp ult i64 %low, %end
  %both = and i1 %below, %above
  %meet = and i1 %both, %other
  br i1 %meet, label %{otherwise}, label %innernext
innernext:
  %snext = add i64 %s, 1
  %smore = icmp ult i64 %snext, {len(self.sizes)}
  br i1 %smore, label %inner, label %outernext
outernext:
  %rnext = add i64 %r, 1
  %rmore = icmp ult i64 %rnext, {len(self.apart)}
  br i1 %rmore, label %outer, label %disjoint
disjoint:"""
