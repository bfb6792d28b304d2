"""The report of a batch as one HTML file: the pictures to look at. Needs no network, works from a folder.

It is rendered piece by piece, so that the thumbnails of thousands of pictures are never in memory together.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evals.judging.variety import variety_rows
from lifeos.escaping import escape_html
from tools.production.filing import BatchFolder
from tools.production.report_document import time_and_money
from tools.production.report_text import describe_decision, format_score, likeness_line, quote_path, weighted_gates
from tools.production.thumbnails import read_thumbnail

TEMPLATE_FOLDER = Path(__file__).parent
TEMPLATE = "batch_report.html.j2"
PAGES = Path(__file__).resolve().parents[1] / "pages"
"""What the pages share: their look, and the large view with its keys."""


def render_html(document: Mapping[str, Any], folder: BatchFolder) -> Iterator[str]:
    """The pieces of the file, in order."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=True,
        finalize=lambda value: Markup(escape_html(value)) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = lambda name: Markup((PAGES / name).read_text(encoding="utf-8"))
    environment.filters["score"] = format_score
    environment.filters["decided"] = describe_decision
    environment.filters["percent"] = lambda value: f"{value:.0%}"

    def thumbnail(image: Mapping[str, Any]) -> str:
        small = read_thumbnail(folder.thumbnails / f"{image['file']}.jpg", folder.root / (image["path"] or ""))
        return "data:image/jpeg;base64," + base64.b64encode(small).decode("ascii") if small else ""

    def link(image: Mapping[str, Any]) -> str:
        return quote_path(image["path"])

    places = {image["file"]: place for place, image in enumerate(document["images"], 1)}
    template = environment.get_template(TEMPLATE)
    yield from template.generate(
        document=document,
        likeness=likeness_line(document),
        thumbnail=thumbnail,
        link=link,
        places=places,
        variety=variety_rows(document["sameness"]),
        time_and_money=time_and_money(document),
        weighted=weighted_gates(document),
    )
