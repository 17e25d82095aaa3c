"""What is shown of a derivation, whatever the format."""

from dataclasses import dataclass, field

from chainrule.derive import Derivation
from chainrule.drawing import Graph
from chainrule.formula.costs import polynomial
from chainrule.formula.derivation import Definition, JacobianForm
from chainrule.formula.smallcase import SmallCase
from chainrule.transforms.planning import Plan

__all__ = ["Explanation", "stored"]


@dataclass
class Explanation:
    """A derivation and what was asked for beside it; empty parts are not shown.

    `plan_sizes` are the sizes at which `plan` was counted, `code` source text by backend,
    `pictures` the structure of each Jacobian as HTML, at `picture_sizes`.
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
    pictures: dict[str, str] = field(default_factory=dict)
    picture_sizes: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def conventions(self) -> str:
        """How the formulas are to be read."""
        text = f"{self.derivation.layout} layout, vectors are {self.derivation.convention}s"
        return text + (", checked" if self.checked else ", not checked")

    def rows(self) -> list[Definition]:
        """Value, shared parts and gradients, in an order in which they can be computed."""
        derivation = self.derivation
        named = {part.name for part in derivation.parts}
        value = [] if derivation.value.name in named else [derivation.value]
        return [*derivation.parts, *value, *derivation.gradients.values()]


def stored(form: JacobianForm) -> str:
    """How many numbers a Jacobian keeps, in the names of sizes: `N·D + N·M`."""
    return polynomial(form.stored, form.extents)
