"""The language.

::

    node  ::= Leaf slot | Const scalar | Term | Sum | Map op node… | Box node | Call op node…
    Term  ::= coef · Π node[sub, …]  →  [sub, …]   for labels below their extents,
                                                   wherever every constraint (a sub) is ≥ 0
    Sum   ::= Σ coef · node
    sub   ::= label | integer + Σ integer·key
    key   ::= label | mod(n, sub) | div(n, sub) | node[sub, …]

Nodes are immutable and interned (:mod:`.nodes`); subscripts are in :mod:`.subs`; terms under
construction in :mod:`.draft`; constructors in :mod:`.build`; walks in :mod:`.walk`; the names of
elementwise functions in :mod:`.ops`; the typing rules, as a checker, in :mod:`.verify`.
"""
