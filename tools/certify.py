"""Follow a picture back to the data behind it: batch, prompt, seed, workflow, verdict, LoRA, training, dataset.

PICTURE is a copy that was published, one that was saved again since (its watermark is read), or a picture in a batch directory. The
register of published pictures names its batch; each link of the chain is then verified, missing or broken. What is missing can often be
named: --batch, --lora-file, --training-dir, --manifest, --dataset-dir. Writes nothing but the page of --html.

    python tools/certify.py batch_003/published/0001_bdbb6f21.jpg
    python tools/certify.py batch_003/published/0001_bdbb6f21.jpg --public --html certificate.html

--public leaves out paths, prompts, and the names of files, LoRAs, batches and people.

Exit codes: 0 no link is broken; missing ones are named · 1 a link is broken, or nothing leads from this picture to one that was made here
· 2 bad usage, or a file that is no picture · 3 the server of --comfy-url is not there
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lifeos import cli, server_flags
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="the picture to follow")
    parser.add_argument("--public", action="store_true", help="leave out paths, prompts and names, for people who may not see them")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="also write the certificate as one HTML page, with a small copy of the picture"
    )
    places = parser.add_argument_group("where to look")
    register = cli.policy_help("the register of published pictures", "publishing.register")
    places.add_argument("--register", type=Path, metavar="FILE", help=register)
    batch = "the batch directory (default: the one that the register names, else the one around the picture)"
    places.add_argument("--batch", type=Path, metavar="DIR", help=batch)
    lora = "the LoRA, or a copy of it (default: where it was when the batch was made)"
    places.add_argument("--lora-file", type=Path, metavar="FILE", help=lora)
    training = "the output folder of the training (default: the folder of the LoRA)"
    places.add_argument("--training-dir", type=Path, metavar="DIR", help=training)
    manifest = "the dataset's manifest (default: the one beside the training record or the LoRA)"
    places.add_argument("--manifest", type=Path, metavar="FILE", help=manifest)
    dataset = "the dataset's folder (default: the one that the manifest names)"
    places.add_argument("--dataset-dir", type=Path, metavar="DIR", help=dataset)
    server = "a ComfyUI server to ask for the LoRA's header, where the LoRA's file is not at hand"
    places.add_argument("--comfy-url", metavar="URL", help=server)
    server_flags.add_token_flags(places, "that server")
    parser.add_project_root()
    parser.add_json()
    return parser


def read_places(args: Any) -> Any:
    from evals.load_thresholds import load_thresholds
    from tools.certifying.certifying import CertifyingPlaces
    from tools.certifying.server_header import ask_server
    from tools.certifying.training_links import TrainingPlaces
    from tools.publishing.register import Register

    policy = load_thresholds(project_root=args.project_root)
    path = args.register if args.register is not None else args.project_root / policy["publishing"]["register"]
    if args.register is not None:
        cli.require_file(path, "--register")
    for flag in ("batch", "training_dir", "dataset_dir"):
        if getattr(args, flag) is not None:
            cli.require_directory(getattr(args, flag), f"--{flag.replace('_', '-')}")
    for flag in ("lora_file", "manifest"):
        if getattr(args, flag) is not None:
            cli.require_file(getattr(args, flag), f"--{flag.replace('_', '-')}")
    if args.comfy_token_env is not None and args.comfy_url is None:
        raise InputError("--comfy-token-env", "is for the server of --comfy-url", "give --comfy-url too")
    asks = None
    if args.comfy_url is not None:
        asks = ask_server(args.comfy_url, token_env=args.comfy_token_env, insecure_token=args.insecure_token)
    training = TrainingPlaces(args.lora_file, args.training_dir, args.manifest, args.dataset_dir, asks)
    return CertifyingPlaces(Register(path), policy, args.batch, args.project_root, training)


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    from lifeos.files import write_text
    from tools.certifying.certificate_pages import render_page, render_text
    from tools.certifying.certifying import certify

    cli.require_file(args.picture, "PICTURE")
    if args.html is not None and args.html.exists() and args.html.samefile(args.picture):
        raise InputError("--html", "names the picture itself", "name another file")
    certificate = certify(args.picture, read_places(args))
    if args.html is not None:
        write_text(args.html, render_page(certificate, args.picture, public=args.public))
    if args.json:
        cli.print_json(certificate.to_json(public=args.public))
    cli.say(render_text(certificate, public=args.public), as_json=args.json)
    return EXIT_OK if certificate.is_sound else EXIT_GATE


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
