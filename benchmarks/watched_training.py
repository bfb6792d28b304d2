"""A stand-in training is watched on the embedded server: the curve is drawn, the training stopped, the right checkpoint named.

The pictures of the embedded server follow a known curve (`tools/stand_in/quality.py`): step 2000 is the best. A training of 8,000 steps
that saves every 500 is started with the tests' stand-in of sd-scripts; the watch judges each checkpoint as it appears. It needs no GPU
and no network.

    python benchmarks/watched_training.py
    python benchmarks/watched_training.py --output-dir DIR

The second keeps everything in DIR, and the same command continues a watch that was killed.

Exit codes: 0 step 2000 was named and the training was stopped · 1 not · 2 bad usage · 130 interrupted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli, files
from lifeos.errors import EXIT_GATE, EXIT_OK

BEST_STEP, STEPS, EVERY = 2000, 8000, 500
SECONDS_PER_STEP = 0.01
PROMPTS = ("close up portrait", "park bench", "cafe", "beach", "garden", "rooftop")


def main(argv: list[str] | None = None) -> int:
    parser = cli.Parser(__doc__)
    parser.add_argument(
        "--output-dir", type=Path, metavar="DIR", help="keep training, pictures and report there (default: a temporary folder)"
    )
    args = parser.parse_args(argv)
    if args.output_dir is not None:
        return demonstrate(args.output_dir.absolute())
    with tempfile.TemporaryDirectory() as folder:
        return demonstrate(Path(folder))


def demonstrate(folder: Path) -> int:
    """Train, watch, and say whether the known best was named."""
    from tests.tools.training.standin_runs import Place
    from tools.parameter_sweep import main as sweep
    from tools.stand_in import render_references
    from tools.sweep.checkpoint_report import DOCUMENT
    from tools.training.training_record import RECORD_FILE

    place, references, output = Place(folder), folder / "references", folder / "which_checkpoint"
    if not references.is_dir():
        render_references(references, 5)
    training = None
    if not (place.output / RECORD_FILE).is_file():
        flags = ["--output-name", "amiranoor_v3", "--max-train-steps", STEPS, "--save-every-n-steps", EVERY, "--no-save-state"]
        script = Path(__file__).resolve().parents[1] / "tools" / "retrain_lora_v3.py"
        with open(folder / "training.log", "wb") as log:
            environment = {**os.environ, "STANDIN_STEP_SECONDS": str(SECONDS_PER_STEP)}
            training = subprocess.Popen([sys.executable, script, *place.args(*flags)], env=environment, stdout=log, stderr=log)
    argv = ["--checkpoints", place.output, "--watch", "--stop-training", "--output-dir", output, "--reference-dir", references]
    argv += ["--comfy-url", "embedded", "--strengths", "0.8", "--width", 320, "--height", 448, "--steps", 20, "--base-seed", 5]
    argv += ["--skip-health-check", "--history-file", folder / "history.jsonl"]
    argv += [part for prompt in PROMPTS for part in ("--prompt", f"amiranoor, {prompt}")]
    try:
        code = sweep([str(word) for word in argv])
    finally:
        if training is not None:
            training.terminate()
            training.wait()
    document = files.read_json(output / DOCUMENT)
    chosen = document["curve"]["choice"]["chosen"] or {}
    good = code == EXIT_OK and chosen.get("step") == BEST_STEP and document["stopped"] is not None
    cli.say(f"named: step {chosen.get('step')}; known best: step {BEST_STEP}; training stopped: {document['stopped'] is not None}")
    return EXIT_OK if good else EXIT_GATE


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
