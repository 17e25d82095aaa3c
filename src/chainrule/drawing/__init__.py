"""Computational graphs as pictures: laid out in layers, written as SVG and DOT."""

from .graphing import Graph, graph

__all__ = ["Graph", "graph"]
