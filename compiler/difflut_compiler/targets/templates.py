"""Loading the templates: undefined names are errors, and every error names template and line."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from difflut_compiler._resources import data


@cache
def environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(str(data("templates"))),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - hardware text, not HTML
    )


def add_templates(folder: Path) -> None:
    """Look for templates in ``folder``, too, after the compiler's own."""
    loader = environment().loader
    assert isinstance(loader, FileSystemLoader)
    loader.searchpath.append(str(folder))


def render(template: str, **context: object) -> str:
    """Fill ``templates/<template>``."""
    return environment().get_template(template).render(**context)
