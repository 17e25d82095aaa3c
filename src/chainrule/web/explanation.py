"""What is shown of a derivation, whatever the format."""

from dataclasses import dataclass, field
from typing import Any

from chainrule.derive import Derivation
from chainrule.drawing import Graph
from chainrule.transforms.planning import Plan

__all__ = ["Explanation", "SmallCase"]


@dataclass(frozen=True)
class SmallCase:
    """The same derivation at small sizes, element by element."""

    sizes: dict[str, int]
    case: Any


@dataclass
class Explanation:
    """A derivation and what was asked for beside it; empty parts are not shown.

    `plan_sizes` are the sizes at which `plan` was counted, `code` source text by backend.
    """

    title: str
    derivation: Derivation
    checked: bool
    jacobians: bool = False
    hessians: bool = False
    steps: bool = False
    index: bool = False
    small: SmallCase | None = None
    plan: Plan | None = None
    plan_sizes: dict[str, int] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    graph: Graph | None = None
    notes: list[str] = field(default_factory=list)
