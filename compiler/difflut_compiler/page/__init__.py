"""The page about a compile, ``report.html``: one file with everything in it, for people."""

from difflut_compiler.page.render import render_page, write_page

__all__ = ["render_page", "write_page"]
