"""The report of a batch as one HTML file: the pictures to look at. Needs no network, works from a folder.

Above `MOST_IN_ONE_FILE` pictures the small copies lie beside it, in `thumbs/`, and load as one scrolls.

It is rendered piece by piece, so that the thumbnails of thousands of pictures are never in memory together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evals.judging.variety import variety_rows
from lifeos.pages.beside import MOST_IN_ONE_FILE, put_beside
from lifeos.pages.page_templates import json_in_page, page_environment, picture_address
from tools.production.filing import BatchFolder
from tools.production.repair_report import repair_rows
from tools.production.report_document import time_and_money
from tools.production.report_text import format_score, likeness_line, quote_path, weighted_gates
from tools.production.server_costs import cost_notes, server_tables
from tools.production.thumbnails import name_beside, prune_thumbnails, read_thumbnail
from tools.production.viewed_batch import people_of, viewed_document

TEMPLATE = "batch_report.html.j2"


def render_html(document: Mapping[str, Any], folder: BatchFolder) -> Iterator[str]:
    """The pieces of the file, in order."""
    environment = page_environment()
    environment.filters["score"] = format_score
    environment.filters["percent"] = lambda value: f"{value:.0%}"
    is_one_file = len(document["images"]) <= MOST_IN_ONE_FILE

    def thumbnail(image: Mapping[str, Any]) -> str:
        small = read_thumbnail(folder, image["file"], image["path"])
        if not small:
            return ""
        return picture_address(small) if is_one_file else put_beside(small, folder.root, name_beside(small, image["file"]))

    yield from environment.get_template(TEMPLATE).generate(
        document=document,
        likeness=likeness_line(document),
        thumbnail=thumbnail,
        link=lambda image: quote_path(image["path"]),
        variety=variety_rows(document["sameness"]),
        time_and_money=time_and_money(document),
        weighted=weighted_gates(document),
        repair=repair_rows(document),
        server_tables=[table for table in server_tables(document) if table[1]],
        cost_notes=cost_notes(document),
        reviewers=sorted({name for image in document["images"] for name in people_of(image)}),
        alike=any(image["duplicate_of"] or image["nearly_same_as"] for image in document["images"]),
        viewed=json_in_page(viewed_document(document, folder.root)),
    )
    prune_thumbnails(folder, document, beside=not is_one_file)
