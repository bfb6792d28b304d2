"""The templates of all pages in one environment: every value is escaped, and styles and scripts stand in the page itself.

A page is a document (what the JSON of its command says too) and a template `NAME.html.j2` of this folder, which extends
`page.html.j2`: it sets `title`, names the `styles` and `scripts` that it needs beside those of all pages, and fills `main`. `macros.j2` has
what pages share: head, notices, tiles, terms that explain themselves (`terms.py`), footer. A script finds the document with
`JSON.parse(document.getElementById("told").textContent)` and these parts:

    page.js        h() builds elements, explain() terms, PageState keeps what is chosen in the address
    line_chart.js  LineChart: lines over numbers or categories, with bands of their intervals and points to choose
    heat_map.js    HeatMap: rows by columns, the value in each cell
    viewer.js      Viewer: the large view with its keys, alone or beside another picture; swipe.js: both in one frame
    charts.js      limits to move, and the pose map of a batch

`write_page` writes it whole or not at all. What the script shows must also be in the page without it, as far as that is text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifeos.escaping import escape_html
from lifeos.files import write_text
from lifeos.pages.terms import TERMS
from lifeos.picture_formats import HEAD_BYTES, format_of

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

PAGES = Path(__file__).parent
MARK = b'<meta name="generator" content="LifeOS Production">'


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
    environment.globals["terms"] = TERMS
    return environment


def write_page(
    path: Path,
    template: str,
    document: Mapping[str, Any],
    *,
    page_data: object = None,
    filters: Mapping[str, Callable[..., object]] | None = None,
    **values: object,
) -> None:
    """Write a page, whole or not at all: `template` with `document`, and with `values` by their names.

    `page_data` is what its script finds as JSON, the document itself where nothing is given. Raises OSError.
    """
    environment = page_environment()
    environment.filters.update(filters or {})
    told = json_in_page(document if page_data is None else page_data)
    write_text(path, environment.get_template(template).render(document=document, page_data=told, **values))


def is_page_of_ours(path: Path) -> bool:
    """Whether a file is a page that was written here, which may be replaced unasked. Raises OSError where it cannot be read."""
    with open(path, "rb") as file:
        return MARK in file.read(2048)


def json_in_page(value: object) -> Markup:
    """JSON that can stand in a script element."""
    from markupsafe import Markup

    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def picture_address(data: bytes) -> str:
    """A small picture, JPEG or WebP, as an address that holds the picture itself."""
    kind = "webp" if format_of(data[:HEAD_BYTES]) == "WEBP" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
