"""Open the page of a large batch from its file in a real browser, and scroll: its size, its first paint, how long frames take.

    python benchmarks/page_scrolling.py --pictures 5000
    python benchmarks/page_scrolling.py --pictures 5000 --folder KEPT

Beside it stands the same page with what is below each picture written out, which is what the page was before it built that near the view.
The scores are drawn by chance and the small copies are of the demo's person: the page is measured, not the batch. Chromium (Debian's, say)
paints without a GPU here and at 60 frames a second at most; the times of other machines are others, the ratio is what counts.

Exit codes: 0 the goals are met · 1 one is not · 2 bad usage · 3 there is no Chromium.
"""

from __future__ import annotations

import random
import re
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli
from lifeos.errors import EXIT_GATE, EXIT_OK, UnavailableError
from lifeos.pages.small_pictures import make_small
from tests.browser import Browser, Tab, find_chromium, running_chromium
from tests.tools.production.scenes import finish, make_assessment, make_plan
from tools.production.filing import BatchFolder
from tools.production.journal import Journal
from tools.production.thumbnails import SUFFIX

GOAL_MB, GOAL_PAINT_SECONDS, GOAL_SLOW_SHARE = 5.0, 2.0, 0.05
SLOW_FRAME_MS = 33.4
SECONDS = 12
SPEED = 2400
"""Points a second: a fast flick through the pictures, some seven cards a second in each column."""
PLACES = (
    "outdoor cafe",
    "park bench",
    "city street",
    "soft window light",
    "beach sunset",
    "rooftop terrace",
    "garden",
    "rainy coffee shop",
)
LIGHTS = ("golden hour", "natural sunlight", "magic hour", "morning light", "evening lighting")
WATCH = """(() => { window.frames_ = []; let last = performance.now();
const step = now => { frames_.push(now - last); last = now; requestAnimationFrame(step); }; requestAnimationFrame(step); })()"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
GRID = '<div id="grid"><ul class="grid">'
BUILT = "[...document.querySelectorAll('.pic')].map(each => each.outerHTML)"


@dataclass(frozen=True, slots=True)
class PageFigures:
    """Of one page: megabytes of its file, seconds to the first paint (median), frames while it scrolls in milliseconds.

    `work` is processor time of the page's own thread for each frame: it hardly changes where a machine is busy with other things.
    """

    name: str
    megabytes: float
    first_paint: float
    work: float
    middle_frame: float
    longest_frame: float
    slow_share: float
    frames: int


def write_batch(root: Path, pictures: int) -> Path:
    """A finished batch of so many pictures, and its page."""
    from tools.stand_in import render_references

    chance = random.Random(1)
    render_references(root / "references", 12)
    small = [made for path in sorted((root / "references").iterdir()) if (made := make_small(path.read_bytes())) is not None]
    prompts = tuple(f"amiranoor, candid photo, {place}, {light}, shot on 85mm, shallow dof" for place in PLACES for light in LIGHTS)
    plan = make_plan(prompts=prompts, count=-(-pictures // len(prompts)), reference_dir=str(root / "references"))
    folder = BatchFolder(root / "batch")
    folder.prepare()
    journal = Journal(folder.root / "journal.jsonl")
    journal.append("started", servers=["http://a"], rate_per_hr=0.6)
    for index in range(1, pictures + 1):
        face, prompt = round(chance.gauss(0.68, 0.1), 4), (index - 1) % len(prompts) + 1
        slug = PLACES[(prompt - 1) // len(LIGHTS)].replace(" ", "-")
        name = f"{index:04d}_p{prompt:03d}_v{(index - 1) // len(prompts) + 1:02d}_seed{index}_{slug}-candid.png"
        place, reasons = ("approved", []) if face >= 0.6 else ("rejected", [f"face similarity {face:.2f} is below 0.60"])
        (folder.root / place / name).write_bytes(b"a picture")
        (folder.thumbnails / f"{name}{SUFFIX}").write_bytes(small[index % len(small)])
        digest = f"{chance.getrandbits(256):064x}"
        seen = make_assessment(name, face, skin=round(chance.uniform(0.6, 0.95), 4), yaw=chance.gauss(0, 15), sha256=digest).to_json()
        grounds = [{"gate": "face", "kind": "below", "cause": ""}] if reasons else []
        journal.append("downloaded", item=index, files=[{"file": name}], seconds=8.0)
        journal.append("scored", item=index, file=name, approved=not reasons, reasons=reasons, grounds=grounds, assessment=seen)
        journal.append("filed", item=index, file=name, place=place)
    journal.append("ended", why="complete")
    journal.close()
    finish(plan, folder)
    return folder.root / "batch_report.html"


def write_whole(browser: Browser, page: Path) -> Path:
    """The same page with all that its script builds below the pictures written into it."""
    tab = browser.new_tab()
    tab.go(page.as_uri())
    tab.ask("dispatchEvent(new Event('beforeprint')); dispatchEvent(new Event('afterprint'))")
    cards = [re.sub(r' data-index="\d+"', "", card) for card in tab.ask(BUILT)]
    tab.close()
    text = page.read_text(encoding="utf-8")
    begin = text.index(GRID) + len(GRID)
    whole = page.with_name("whole.html")
    rest = text[text.index("</ul>", begin) :].replace("card.append(this.body(card));", "")
    whole.write_text(text[:begin] + "\n".join(cards) + rest, encoding="utf-8")
    return whole


def measure(browser: Browser, page: Path, name: str, rounds: int) -> PageFigures:
    paints: list[float] = []
    frames: list[float] = []
    work = 0.0
    for _ in range(rounds):
        tab = browser.new_tab()
        tab.resize(1280, 860)
        tab.go(page.as_uri())
        paints.append(tab.wait(PAINT) / 1000)
        tab.ask("document.querySelector('#grid').scrollIntoView()")
        tab.call("Performance.enable", timeDomain="threadTicks")
        tab.ask(WATCH)
        before = work_of(tab)
        tab.call("Input.synthesizeScrollGesture", x=640, y=600, yDistance=-SPEED * SECONDS, speed=SPEED, gestureSourceType="mouse")
        work += work_of(tab) - before
        frames += tab.ask("frames_")[2:]
        assert tab.ask("scrollY") > SPEED * SECONDS / 2, "the page did not scroll"
        assert tab.errors == []
        tab.call("Page.navigate", url="about:blank")
        tab.close()
    slow = sum(frame > SLOW_FRAME_MS for frame in frames) / len(frames)
    size = page.stat().st_size / 1e6
    return PageFigures(
        name, size, statistics.median(paints), 1000 * work / len(frames), statistics.median(frames), max(frames), slow, len(frames)
    )


def work_of(tab: Tab) -> float:
    """Seconds of processor time that the page's thread has worked."""
    found: float = next(each["value"] for each in tab.call("Performance.getMetrics")["metrics"] if each["name"] == "TaskDuration")
    return found


def is_met(figures: PageFigures) -> bool:
    return figures.megabytes < GOAL_MB and figures.first_paint < GOAL_PAINT_SECONDS and figures.slow_share <= GOAL_SLOW_SHARE


def render(ours: PageFigures, other: PageFigures, pictures: int) -> str:
    lines = [f"{pictures} pictures, {SECONDS} s of scrolling at {SPEED} points a second"]
    lines += [
        f"  {each.name:24} {each.megabytes:6.2f} MB, first paint {each.first_paint:.2f} s; work a frame {each.work:.1f} ms; frames: middle "
        f"{each.middle_frame:.0f} ms, longest {each.longest_frame:.0f} ms, over 33 ms {each.slow_share:.1%} of {each.frames}"
        for each in (ours, other)
    ]
    size, paint, work = ours.megabytes / other.megabytes, ours.first_paint / other.first_paint, ours.work / other.work
    return "\n".join([*lines, f"  ratio: size {size:.2f}, first paint {paint:.2f}, work a frame {work:.2f}"])


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("--pictures", type=cli.positive_int, default=5000, metavar="N", help="pictures of the batch")
    parser.add_argument("--rounds", type=cli.positive_int, default=3, metavar="N", help="how often each page is opened and scrolled")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the batch there, to look at it")
    parser.add_json()
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    chromium = find_chromium()
    if chromium is None:
        raise UnavailableError("Chromium", "it is not on this machine", "install it, such as with apt install chromium")
    with tempfile.TemporaryDirectory() as name, running_chromium(Path(name) / "profile", chromium) as browser:
        page = write_batch(args.folder or Path(name), args.pictures)
        ours = measure(browser, page, "as it is written", args.rounds)
        other = measure(browser, write_whole(browser, page), "all cards written out", args.rounds)
    if args.json:
        cli.print_json({"pictures": args.pictures, "as_written": asdict(ours), "written_out": asdict(other)})
    else:
        print(render(ours, other, args.pictures))
    return EXIT_OK if is_met(ours) else EXIT_GATE


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
