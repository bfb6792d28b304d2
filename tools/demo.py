"""Try LifeOS on this machine, with nothing else installed: prompts, pictures, scores, approved/ and rejected/, and a report.

Renders reference portraits, starts the embedded server, and runs tools/production_pipeline.py on it with the built-in prompts. The
pictures are variations of a public-domain portrait. They show how the work goes, and say nothing about a LoRA. Writes only to
--output-dir. The same command again continues the demo, or shows its report; with other settings a new
folder is made beside it.

    python tools/demo.py
    python tools/demo.py --output-dir /tmp/lifeos_demo --count 1

Exit codes: as tools/production_pipeline.py.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.faces.engine_flags import add_engine_flags, engine_words
from evals.faces.engines import free_engine
from lifeos import cli
from lifeos.errors import InputError
from lifeos.images import find_pictures
from lifeos.pages.opening import open_page
from lifeos.shells import as_typed, python_word

OUTPUT_DIR = Path("lifeos_demo")
REFERENCES = 6
LORA = "amiranoor_v3.safetensors"
OTHER_BATCH = "holds another batch: "
SEED = 20260211
"""Fixed: everybody sees the same pictures."""


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument(
        "--output-dir", type=Path, default=OUTPUT_DIR, metavar="DIR", help=f"the folder to write to (default: ./{OUTPUT_DIR})"
    )
    parser.add_argument("--count", type=cli.positive_int, default=2, metavar="N", help="pictures for each of the ten prompts")
    add_engine_flags(parser, default=None, left_open="one that anybody may use; a demo that goes on keeps the engine it began with")
    parser.add_open()
    parser.add_json()
    return parser


def write_references(folder: Path) -> None:
    """The embedded server's person, for the face gate to compare with; once."""
    if folder.is_dir() and len(find_pictures(folder)) >= REFERENCES:
        return
    from tools.stand_in import render_references

    cli.note(f"rendering {REFERENCES} reference portraits into {folder}")
    render_references(folder, REFERENCES)


def run(args: Any, output: Path) -> int:
    """The pipeline on the embedded server, in a folder with references of its own."""
    from tools import production_pipeline
    from tools.production.plan import PLAN_FILE

    write_references(output / "references")
    command = [
        *("--comfy-url", "embedded"),
        *("--lora", LORA),
        *("--count", str(args.count)),
        *("--base-seed", str(SEED)),
        *("--output-dir", str(output)),
        *("--reference-dir", str(output / "references")),
        *("--history-file", str(output / "eval_history.jsonl")),
        *("--run-id", "demo"),
        *engine_words(vars(args)),
    ]
    if not (args.engine or args.face_model or args.model_pack or (output / PLAN_FILE).exists()):
        command += ["--engine", free_engine(args.model_root)]
    return production_pipeline.main([*command, *(["--json"] if args.json else [])])


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from tools.production.filing import check_writable

    output: Path = args.output_dir
    check_writable(output)
    try:
        code = run(args, output)
    except InputError as error:
        if not error.why.startswith(OTHER_BATCH):
            raise
        output = find_new_folder(output)  # the other was made before `setup`, say, with another face engine
        cli.note(f"{args.output_dir} holds another demo ({error.why.removeprefix(OTHER_BATCH)}): a new one is made in {output}")
        code = run(args, output)
    report = (output / "batch_report.html").resolve()
    if report.exists():
        cli.say(f"\nOpen it in a browser: {report.as_uri()}", as_json=args.json)
        if args.open:
            open_page(report)
        command = as_typed([python_word(), "-m", "lifeos", "review", str(output), "--open"])
        cli.say(f"Look at the pictures and decide: {command}", as_json=args.json)
    return code


def find_new_folder(folder: Path) -> Path:
    """The folder with the first number behind its name that is not there yet."""
    return next(path for number in itertools.count(2) if not (path := folder.with_name(f"{folder.name}_{number}")).exists())


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
