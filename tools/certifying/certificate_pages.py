"""A certificate as text for a terminal and as one HTML file that needs nothing else."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifeos.escaping import escape_line
from lifeos.images import read_picture
from lifeos.pages.page_templates import page_environment, picture_address
from tools.certifying.chain import Certificate, ChainLink

TEMPLATE = "certificate.html.j2"
THUMBNAIL = 480
"""Pixels of the longer side of the small picture in the page."""


def render_text(certificate: Certificate, *, public: bool) -> str:
    """A line for each link, what it rests on below it, and the summary last."""
    named = "" if public else f" {escape_line(certificate.name)}"
    lines = [f"certificate of the picture{named}", f"  SHA-256 {certificate.sha256}", ""]
    for link in certificate.links:
        lines.append(f"{link.state.upper() if link.state == 'broken' else link.state:9} {link.title}: {escape_line(link.said)}")
        lines += [f"          {escape_line(name)}: {escape_line(value)}" for name, value in shown_facts(link, public=public).items()]
    return "\n".join([*lines, "", certificate.summary, f"checked {certificate.checked} by {certificate.software}"])


def shown_facts(link: ChainLink, *, public: bool) -> dict[str, Any]:
    """What a link rests on, as far as it may be shown; nothing that is empty."""
    told: Mapping[str, Any] = link.facts if public else {**link.facts, **link.private}
    return {name: value for name, value in told.items() if value not in ("", None)}


def render_page(certificate: Certificate, picture: Path, *, public: bool) -> str:
    """The page, with a small copy of the picture in it, of pixels alone."""
    facts = {id(link): shown_facts(link, public=public) for link in certificate.links}
    return (
        page_environment()
        .get_template(TEMPLATE)
        .render(certificate=certificate, facts=lambda link: facts[id(link)], picture=_thumbnail(picture), public=public)
    )


def _thumbnail(picture: Path) -> str:
    from PIL import Image

    small = Image.fromarray(read_picture(picture).rgb)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return picture_address(buffer.getvalue())
