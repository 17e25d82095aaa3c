"""Pages: everything about one derivation as a single HTML file that needs no network."""

from chainrule.web.explanation import Explanation, stored
from chainrule.web.page import to_html

__all__ = ["Explanation", "stored", "to_html"]
