"""The templates of all pages in one environment: every value is escaped, and styles and scripts stand in the page itself."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lifeos.escaping import escape_html

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

PAGES = Path(__file__).parent


def page_environment() -> Environment:
    """Templates of this folder. `asset(NAME)` puts one of its files into the page; a name that nobody gave is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        finalize=lambda value: Markup(escape_html(value)) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = lambda name: Markup((PAGES / name).read_text(encoding="utf-8"))
    return environment


def json_in_page(value: object) -> Markup:
    """JSON that can stand in a script element."""
    from markupsafe import Markup

    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def jpeg_address(data: bytes) -> str:
    """A small picture as an address that holds the picture itself."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
