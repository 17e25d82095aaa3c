"""Which way a function is derived: as it is, or as loops over elements that are re-rolled."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import DerivativeError, TraceError
from ..expr.nodes import Call
from ..expr.pausing import collection_paused
from ..formula.conditions import compares_names
from ..formula.symbolic import FormulaError
from ..simplify.reroll import PatternError
from ..trace.session import ManyElements
from .carried import carried_name, chains
from .loops import PLANS, LoopError, LoopPlan, rebound, refers_to_arrays
from .signature import function_name, wanted_leaves
from .tracing import Loops, trace
from .writer import Options, Writer

if TYPE_CHECKING:
    from .signature import Signature

__all__ = ["looped", "written"]

_FEW = 4  # elements read one by one: more may be a loop


@collection_paused()
def written(signature: Signature, wrt: str | Sequence[str] | None, options: Options) -> Writer:
    """The writer of a derivation, checked if the options say so."""
    try:
        writer = _written(signature, wrt, options)
    except (IndexError, ValueError) as error:
        first = error
    else:
        if not compares_names(writer.derivation.condition):
            return writer
        try:  # what holds for one order of sizes only: data larger than windows
            return _written(replace(signature, falling=True), wrt, options)
        except (IndexError, ValueError, TypeError, DerivativeError):
            return writer
    if len(signature.names) > 1:  # a kernel that is larger than its image …
        try:
            return _written(replace(signature, falling=True), wrt, options)
        except (IndexError, ValueError, TypeError):
            pass
    if not isinstance(first, IndexError):
        raise first
    for k in range(len(signature.paths)):
        if k not in signature.integers:  # what is used as an index holds whole numbers
            changed = replace(signature, integers={**signature.integers, k: None})
            try:
                return _written(changed, wrt, options)
            except (IndexError, TypeError):
                continue
    raise first


def _written(signature: Signature, wrt: str | Sequence[str] | None, options: Options) -> Writer:
    """As the function is, or as loops over elements where it is none or that is shorter."""
    wanted = wanted_leaves(signature, wrt)
    failed: Exception | None = None
    writer: Writer | None = None
    plain = Writer(signature, wanted, options)
    try:
        writer = _finished(plain)
    except ManyElements:
        pass
    except (TypeError, ValueError, IndexError) as error:
        failed = error
    if writer is not None and writer.elements < _FEW:
        return writer
    try:
        other = looped(signature, wanted, options)
    except (LoopError, DerivativeError) as error:
        if writer is not None:
            return writer
        if isinstance(failed, ValueError) and str(failed).startswith("setting an array element"):
            raise error from None  # y = np.zeros(…) was meant
        if isinstance(error, LoopError) and error.carried and _says_more(error, failed):
            raise error from None
        if isinstance(failed, FormulaError) and _is_operation(failed, plain.elements):
            raise failed from None
        if isinstance(error, LoopError) and error.elements and _says_more(error, failed):
            raise error from None
        raise failed or error from None
    if writer is not None and _length(writer) <= _length(other):
        return writer
    return other


def _is_operation(error: FormulaError, elements: int) -> bool:
    """Whether an operation stands in the way, not a loop over elements."""
    return isinstance(error.node, Call) or (error.node is not None and not elements)


def _says_more(error: LoopError, failed: Exception | None) -> bool:
    """Whether what stands in the way of loops is what the user wants to know."""
    if isinstance(failed, TraceError):  # math.sqrt(s), or a branch, that loops can be traced with
        return str(failed).partition("\n")[0] != str(error).partition("\n")[0]
    return failed is None or isinstance(failed, FormulaError | ValueError)


def _finished(writer: Writer) -> Writer:
    derivation = writer.write()
    if writer.options.check:
        derivation.check()
        return writer
    checker = writer.checker()
    if writer.loops is not None:
        checker.value(writer.value)  # its extents are guesses from two small sizes
    if writer.loops is None or writer.options.conditions:
        derivation.condition = checker.condition()
    return writer


def _length(writer: Writer) -> int:
    derivation = writer.derivation
    return len(derivation.value.text) + sum(len(text) for _, text, _ in derivation.lines())


def looped(signature: Signature, wanted: list[int], options: Options) -> Writer:
    """The writer of a function written element by element; raises LoopError."""
    bare = replace(signature, function=rebound(signature.function))
    first: Exception | None = None
    failing = LoopPlan(PLANS[0], False)
    captures = (True, False) if refers_to_arrays(signature.function) else (False,)
    names = len(signature.names)
    plans = [pairs for pairs in PLANS if names <= len(pairs)] or [PLANS[0]]
    for arrays, pairs in itertools.product(captures, plans):
        found: list[Writer] = []
        for counting in (True, False):  # counters that are used as numbers: x**i, or 1, x, x²
            plan = LoopPlan(pairs, arrays, counting)
            writer = Writer(bare, wanted, options, plan)
            try:
                found.append(_finished(writer))
            except (PatternError, TypeError, ValueError, IndexError, DerivativeError) as error:
                if first is None or (counting and _better(error, first)):
                    first, failing = error, plan
            if not writer.counters:
                break
        if found:
            return min(found, key=_length)
        if not signature.names and arrays == captures[-1]:
            break
    assert first is not None
    raise _explained(first, bare, wanted, failing) from first


def _better(error: Exception, before: Exception) -> bool:
    """Whether an error says more: a pattern, rather than a size that does not fit."""
    return _says(error) > _says(before)


def _says(error: Exception) -> int:
    if isinstance(error, PatternError):
        return 3
    return 2 if isinstance(error, TraceError) else 0 if isinstance(error, IndexError) else 1


def _explained(
    error: Exception, signature: Signature, wanted: list[int], plan: LoopPlan
) -> LoopError:
    """The error with the user's line, found by tracing once more."""
    elements = 0
    where = ""
    name = function_name(signature.function)
    lengths: list[dict[str, int]] = []
    pair = plan.sizes(signature.names)
    for sizes in pair:
        loops = Loops(plan.arrays, plan.counting, {})
        with suppress(PatternError, TypeError, ValueError, IndexError):
            trace(signature, sizes, wanted, "gradients", loops)
        if loops.unrolled is not None and loops.lines is not None:
            lengths.append(chains([loops.unrolled], loops.lines))
    if len(lengths) == 2 and not isinstance(error, TraceError):
        longer = {n: k for n, k in lengths[1].items() if 1 < lengths[0].get(n, 0) < k}
        if longer:
            line = max(longer, key=lambda n: longer[n])
            return LoopError(
                f"{name} is no tensor expression: it carries {carried_name(line)} from step to "
                f"step of a loop over a named extent\n  at {line}\n  instead: {_RECURSION}",
                carried=True,
            )
    for sizes in pair:
        loops = Loops(plan.arrays, plan.counting, {})
        try:
            again = trace(signature, sizes, wanted, "gradients", loops)
            elements = max(elements, again.elements)
        except PatternError as found:
            assert loops.lines is not None
            elements = 1
            lines = [loops.lines[n] for n in found.nodes if n in loops.lines]
            where = f"\n  at {lines[0]}" if lines else ""
            break
        except (TypeError, ValueError, IndexError):
            continue
    if isinstance(error, TraceError):
        return LoopError(str(error), elements)
    return LoopError(
        f"{name} is no tensor expression: {error}{where}\n  instead: {_INSTEAD}", elements
    )


_RECURSION = (
    "write the loop with chainrule.scan, for derivatives by numbers, or give its length as a "
    "number: its steps are written out then"
)
_INSTEAD = (
    "index with loop counters, sums of them and constants (x[i, k], x[i + b], x[2 * i]); where a "
    "loop carries a value from step to step, give its length as a number or write it with "
    "chainrule.scan"
)
