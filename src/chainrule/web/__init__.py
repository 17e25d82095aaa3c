"""Pages: everything about one derivation as a single HTML file that needs no network."""

from chainrule.web.explanation import Explanation, SmallCase
from chainrule.web.page import to_html

__all__ = ["Explanation", "SmallCase", "to_html"]
