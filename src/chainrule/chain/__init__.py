"""The chain rule over a whole graph: reverse and forward sweeps, Jacobians, costs."""
