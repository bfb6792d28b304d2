"""Every page that the product writes, each as one row: how to make it with little, and what to look at in it. A new page is a new row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.pages.comparison_scene import make_comparison
from tests.pages.parts_page import write_parts
from tests.tools.cost.cost_logs import write_costs
from tests.tools.dataset.spoilt_page import write_spoilt_page
from tests.tools.production.scenes import finish
from tests.tools.reviewing.scenes_of_review import TOKEN, make_desk, make_reviewed, plan_of, serving
from tests.tools.sweep.swept_page import curve_page, settings_page, write_swept

VIEWER_IS_OPEN = "document.querySelector('.viewer') && !document.querySelector('.viewer').hidden"


@dataclass(frozen=True, slots=True)
class Look:
    """What is done in the page before it is looked at, and what is true when that is done."""

    act: str
    until: str


@dataclass(frozen=True, slots=True)
class ProductPage:
    """`make`: writes or serves the page with what it needs in a folder, and gives its address. It is looked at as it opens, too."""

    name: str
    make: Callable[[Path], AbstractContextManager[str]]
    ready: str = "true"
    looks: tuple[Look, ...] = ()


@contextmanager
def batch_report(folder: Path) -> Iterator[str]:
    batch = make_reviewed(folder)
    finish(plan_of(folder), batch)
    yield (batch.root / "batch_report.html").as_uri()


@contextmanager
def review(folder: Path) -> Iterator[str]:
    with serving(make_desk(make_reviewed(folder))) as caller:
        yield f"http://127.0.0.1:{caller.port}/?token={TOKEN}"


@contextmanager
def certificate(folder: Path) -> Iterator[str]:
    from PIL import Image

    from tools.certifying.certificate_pages import render_page
    from tools.certifying.chain import BROKEN, MISSING, VERIFIED, Certificate, ChainLink

    Image.new("RGB", (64, 96), (120, 90, 60)).save(folder / "copy.png")
    links = [ChainLink(state, f"link {state}", state, "A sentence.", {"a fact": "value"}) for state in (VERIFIED, MISSING, BROKEN)]
    made = Certificate("copy.png", "a" * 64, True, tuple(links), "2026-11-30T00:00:00Z", "LifeOS Production")
    page = folder / "certificate.html"
    page.write_text(render_page(made, folder / "copy.png", public=False), encoding="utf-8")
    yield page.as_uri()


@contextmanager
def cycle_report(folder: Path) -> Iterator[str]:
    from tools.cycle.cycle_pages import write_pages
    from tools.cycle.cycle_record import DONE, FAILED, CycleRecord, StepRecord

    steps = [
        StepRecord("agent", DONE, artefacts=["a"], seconds=1.5),
        StepRecord("scorecard", FAILED, "why", "python x.py", 1, 2.0, "x.log"),
    ]
    write_pages(folder / "cycle_report.json", CycleRecord("c1", "f", "2026-02-11T15:00:00Z", status=FAILED, steps=steps), {})
    yield (folder / "cycle_report.html").as_uri()


@contextmanager
def dataset(folder: Path) -> Iterator[str]:
    yield write_spoilt_page(folder).as_uri()


@contextmanager
def comparison(folder: Path) -> Iterator[str]:
    yield make_comparison(folder).as_uri()


@contextmanager
def cost(folder: Path) -> Iterator[str]:
    yield write_costs(folder).as_uri()


@contextmanager
def sweep_over_checkpoints(folder: Path) -> Iterator[str]:
    yield write_swept(folder, curve_page(references_trained=True)).as_uri()


@contextmanager
def sweep_over_settings(folder: Path) -> Iterator[str]:
    yield write_swept(folder, settings_page()).as_uri()


@contextmanager
def shared_parts(folder: Path) -> Iterator[str]:
    yield write_parts(folder).as_uri()


VIEWER_LOOKS = (
    Look("document.querySelector('.grid .frame').click()", VIEWER_IS_OPEN),
    Look("document.querySelector('.viewer [aria-label=Keys]').click()", "!document.querySelector('.sheet').hidden"),
)

PAGES = (
    ProductPage(
        "batch report",
        batch_report,
        looks=(
            Look(
                "document.querySelectorAll('details').forEach(each => { each.open = true; })",
                "document.querySelectorAll('#map circle').length > 0",
            ),
            *VIEWER_LOOKS,
        ),
    ),
    ProductPage("review", review, ready="document.querySelectorAll('.card').length > 0", looks=VIEWER_LOOKS),
    ProductPage("certificate", certificate),
    ProductPage("cycle report", cycle_report),
    ProductPage(
        "dataset",
        dataset,
        looks=(
            Look(
                "document.querySelectorAll('details').forEach(each => { each.open = true; })",
                "document.querySelectorAll('.pairs img').length === 2",
            ),
        ),
    ),
    ProductPage(
        "comparison",
        comparison,
        looks=(
            Look("document.querySelector('#tables').open = true", "document.querySelector('#tables').open"),
            Look("document.querySelector('.pair .frame').click()", VIEWER_IS_OPEN),
        ),
    ),
    ProductPage(
        "cost",
        cost,
        ready="document.querySelectorAll('.point').length > 0 && document.querySelector('.heat') !== null",
    ),
    ProductPage(
        "sweep over checkpoints",
        sweep_over_checkpoints,
        ready="document.querySelectorAll('#curve .point').length > 0",
        looks=(
            Look(
                "document.querySelectorAll('details').forEach(each => { each.open = true; })",
                "document.querySelectorAll('[open]').length > 2",
            ),
            Look(
                "document.querySelector('#heat td.marked button').click()", "document.querySelector('#shown').textContent === '3 pictures'"
            ),
        ),
    ),
    ProductPage(
        "sweep over settings", sweep_over_settings, ready="document.querySelectorAll('#heat button').length > 0", looks=VIEWER_LOOKS[:1]
    ),
    ProductPage(
        "shared parts",
        shared_parts,
        ready="document.querySelectorAll('.point').length > 0",
        looks=(
            Look(
                "document.querySelectorAll('details').forEach(each => { each.open = true; })",
                "document.querySelectorAll('[open]').length > 2",
            ),
            Look("document.querySelector('#look').click(); viewer.toggle('swipe')", VIEWER_IS_OPEN),
        ),
    ),
)
