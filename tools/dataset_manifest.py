"""Record exactly which pictures and captions a training set holds, check whether it is fit to train on, and whether it has changed.

Reads a folder of pictures and captions (also kohya's `10_name` folders and nested ones) and writes only the manifest. Files that have
not changed since the last run are not read again.

    python tools/dataset_manifest.py --dataset-dir /workspace/lora_dataset_v2 --output manifest.json
    python tools/dataset_manifest.py --dataset-dir /workspace/lora_dataset_v2 --html dataset.html --open
    python tools/dataset_manifest.py --compare manifest_v2.json manifest_v3.json
    python tools/dataset_manifest.py --verify manifest.json

Exit codes: 0 done, and fit to train · 1 not fit to train (an error; with --strict a warning too), or --verify found a difference ·
2 bad usage or bad input · 3 something needed is not available · 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evals.faces.engine_flags import add_engine_flags, given_engine
from lifeos import cli, files
from lifeos.counting import counted
from lifeos.errors import EXIT_GATE, EXIT_OK, InputError
from lifeos.escaping import escape_line
from lifeos.file_names import stored_name, system_path
from lifeos.printing import SCHEMA, print_json_lines
from tools.dataset.build import BuildRequest, BuiltManifest, build_dataset_manifest
from tools.dataset.dataset_document import read_dataset_document
from tools.dataset.document_flag import add_document_flag
from tools.dataset.hold_out import HoldOut
from tools.dataset.manifest import HELD_OUT, as_utf8, manifest_lines, now_utc, read_manifest, write_manifest
from tools.dataset.near_duplicates import MOST_PICTURES
from tools.dataset.notices import is_unfit, render_fitness
from tools.families.families import DEFAULT_FAMILY, family_ids, find_family


def build(args: argparse.Namespace) -> int:
    """`--dataset-dir DIR [--output FILE]`: read, check, write."""
    from evals.load_thresholds import load_thresholds

    policy = load_thresholds(args.project_root)
    named = read_dataset_document(args.dataset_document.absolute(), args.dataset_dir) if args.dataset_document else None
    request = BuildRequest.from_policy(
        policy,
        dataset_dir=named.root if named else args.dataset_dir,
        document=named,
        family=find_family(args.family),
        regularisation_dir=args.reg_data_dir,
        caption_extension=args.caption_extension or (named.caption_extension if named else None),
        trigger_word=args.trigger_word,
        resolution=args.resolution,
        output=args.output,
        use_cache=not args.no_cache,
        cache_file=args.cache_file,
        jobs=args.jobs,
        decode=args.decode,
        near_duplicates=args.near_duplicates,
        allow_marked=args.allow_marked,
        hold_out=HoldOut(args.hold_out or 0, tuple(dict.fromkeys(stored_name(name) for name in args.hold_out_file))),
    )
    built = build_dataset_manifest(request, created=args.created or now_utc(), started_ns=time.time_ns())
    if built.not_looked:
        cli.note(built.not_looked)
    if args.faces:
        add_face_checks(args, built, request, policy)
    digest = write_manifest(args.output, built.document) if args.output else None
    if args.json:
        fit = not is_unfit(built.notices, strict=args.strict)
        report = {
            "schema": SCHEMA,
            "output": str(args.output) if args.output else None,
            "dataset_manifest_hash": digest,
            "fit_to_train": fit,
            **built.document,
        }
        print_json_lines(line.decode("utf-8") for line in manifest_lines(report))
    text = render(built, args.output, strict=args.strict)
    cli.say(text, as_json=args.json)
    if args.html is not None:
        write_html(args, built, request)
    return EXIT_GATE if is_unfit(built.notices, strict=args.strict) else EXIT_OK


def write_html(args: argparse.Namespace, built: BuiltManifest, request: BuildRequest) -> None:
    """`--html FILE`: the set to look at."""
    from lifeos.pages.opening import open_page
    from tools.dataset.dataset_page import DatasetPage, say_written, write_dataset_page

    page = DatasetPage(built, request.dataset_dir, request.check.bucket, args.strict, "tools/dataset_manifest.py")
    write_dataset_page(args.html, page)
    cli.say(say_written(args.html, page), as_json=args.json)
    if args.open:
        open_page(args.html)


def add_face_checks(args: argparse.Namespace, built: BuiltManifest, request: BuildRequest, policy: dict[str, Any]) -> None:
    """Look at the faces too: their notices join the others, their numbers go into the document."""
    from evals.faces.engines import choose_engine
    from tools.dataset.face_checks import check_faces

    engine = choose_engine(policy=policy, **given_engine(args))
    for note in engine.notes:
        cli.say(f"note: {note}", as_json=True)
    named = [Path(folder) for folder in policy["production"]["reference_dirs"]]
    folders = [folder if folder.is_absolute() else args.project_root / folder for folder in named]
    reference_dir = args.reference_dir or next((folder for folder in folders if folder.is_dir()), None)
    bucket = request.check.bucket
    report = check_faces(request.dataset_dir, built.records, engine, policy, bucket, reference_dir=reference_dir, jobs=args.jobs)
    built.add_notices(report.notices)
    built.document["faces"] = {**report.to_json(), "reference_dir": str(reference_dir) if reference_dir else None}


def render(built: BuiltManifest, output: Path | None, *, strict: bool = False) -> str:
    """The manifest in a few lines, with every notice, and at the end whether the set is fit to train on."""
    document = built.document
    summary = document["summary"]
    sizes = ", ".join(summary["resolution_set"][:6]) + (" …" if len(summary["resolution_set"]) > 6 else "")
    lines = [
        f"{document['dataset_dir']}: {counted(document['total_images'], 'picture')}, {counted(document['total_captions'], 'caption')}"
        f" ({summary['unique_captions']} different), {sizes or 'no resolution'}",
        f"dataset_id {document['dataset_id']}",
    ]
    if regularisation := document.get("regularisation"):
        lines.insert(1, f"regularisation: {counted(regularisation['total_images'], 'picture')} of {regularisation['dataset_dir']}")
    if any(folder["repeats"] for folder in document["folders"]):
        told = [(escape_line(folder["name"]), folder["pictures"], folder["repeats"] or 1) for folder in document["folders"]]
        shown = ", ".join(f"{name} {pictures} x {repeats}" for name, pictures, repeats in told)
        lines.append(f"repeats: {shown}; an epoch shows {counted(sum(pictures * repeats for _, pictures, repeats in told), 'picture')}")
    lines += [notice.sentence for notice in built.notices]
    lines.append(f"written to {output}" if output else "not written: give --output FILE")
    if output and HELD_OUT in document:
        lines.append(f"retrain_lora leaves the held-out pictures out with --dataset-manifest {output}")
    lines.append(render_fitness(built.notices, pictures=document["total_images"], strict=strict))
    return "\n".join(lines)


def verify(args: argparse.Namespace) -> int:
    """`--verify MANIFEST [--dataset-dir DIR]`."""
    from tools.dataset.verify import render_verification, verify_manifest

    document = read_manifest(args.verify)
    folder = args.dataset_dir or system_path(document["dataset_dir"])
    if not folder.is_dir():
        raise InputError(folder, "the manifest's dataset folder is not here", "say where it lies now with --dataset-dir")
    result = verify_manifest(document, folder, regularisation_dir=args.reg_data_dir, manifest_file=args.verify, jobs=args.jobs)
    if args.json:
        cli.print_json({"manifest": str(args.verify), "dataset_id": document["dataset_id"], "dataset_dir": str(folder), **result.to_json()})
    cli.say(render_verification(result), as_json=args.json)
    return EXIT_OK if result.is_same else EXIT_GATE


def compare(args: argparse.Namespace) -> int:
    """`--compare OLD NEW`: always 0, whatever the difference."""
    from tools.dataset.compare import compare_manifests, render_comparison

    old_path, new_path = args.compare
    old, new = read_manifest(old_path), read_manifest(new_path)
    result = compare_manifests(old, new)
    text = render_comparison(result, str(old_path), str(new_path))
    document: dict[str, Any] = {"old": str(old_path), "new": str(new_path), **result.to_json()}
    if args.comparison_output:
        if args.comparison_output.suffix.lower() == ".json":
            files.write_bytes(args.comparison_output, as_utf8(json.dumps(document, indent=2, ensure_ascii=False) + "\n"))
        else:
            files.write_bytes(args.comparison_output, as_utf8(text + "\n"))
    if args.contact_sheet:
        from tools.dataset.contact_sheet import write_contact_sheet

        write_contact_sheet(args.contact_sheet, result, old, new, old_dir=args.old_dataset_dir, new_dir=args.dataset_dir)
    if args.json:
        cli.print_json(document)
    cli.say(text, as_json=args.json)
    return EXIT_OK


def build_parser() -> cli.Parser:
    parser = cli.Parser(__doc__)
    parser.add_project_root()
    what = parser.add_argument_group("what to do (one of these)")
    what.add_argument("--dataset-dir", type=Path, metavar="DIR", help="the training set; with --verify or --compare, where it lies now")
    what.add_argument(
        "--verify",
        type=Path,
        metavar="MANIFEST",
        help="say what is missing, extra or changed since the manifest; exit with 1 if anything is",
    )
    what.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="say what differs between two manifests")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the manifest there (inside the dataset is fine: it is not counted as part of it)"
    )
    text = "also write a page: each picture with its caption, what was found and how to mend it, buckets, near-duplicates side by side"
    parser.add_argument("--html", type=Path, metavar="FILE", help=text)
    parser.add_open()
    add_document_flag(parser, "--dataset-dir")
    text = f"model family that is trained: how much of a caption it reads, and its buckets (default: {DEFAULT_FAMILY})"
    parser.add_argument("--family", choices=family_ids(), default=DEFAULT_FAMILY, help=text)
    parser.add_argument("--reg-data-dir", type=Path, metavar="DIR", help="regularisation pictures: part of the manifest and of its id")
    parser.add_argument(
        "--caption-extension",
        metavar=".EXT",
        help=cli.policy_help("captions are files of the picture's name with this", "dataset.caption_extension"),
    )
    parser.add_argument("--trigger-word", metavar="WORD", help="list every caption that does not contain it")
    parser.add_argument(
        "--resolution",
        type=cli.positive_int,
        metavar="N",
        help=cli.policy_help("the training resolution that picture sizes are checked for", "training.resolution"),
    )
    parser.add_argument(
        "--decode", action="store_true", help="also decode every picture: finds damage inside the compressed data, some 40 times slower"
    )
    parser.add_argument(
        "--near-duplicates",
        action=argparse.BooleanOptionalAction,
        help="look for pictures that are nearly the same (mirrored and cut-out ones too) and for published copies, by decoding every one "
        f"(default: for up to {MOST_PICTURES} pictures)",
    )
    text = "train on published copies on purpose, though their invisible watermark is learnt (default: they are an error)"
    parser.add_argument("--allow-marked", action="store_true", help=text)
    text = (
        "keep N pictures out of the training to measure identity against: spread over the set, the same ones every time; nothing is moved"
    )
    parser.add_argument("--hold-out", type=cli.positive_int, metavar="N", help=text)
    text = "keep this picture out, by its name in the set; may be repeated. With --hold-out N, only what is missing to N is chosen"
    parser.add_argument("--hold-out-file", action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--strict", action="store_true", help="end with 1 if there is any error or warning")
    parser.add_argument("--created", metavar="TIME", help="the manifest's `created` (default: SOURCE_DATE_EPOCH if set, else now)")
    parser.add_argument("--jobs", type=cli.positive_int, metavar="N", help="threads that read and hash (default: the processors there are)")
    parser.add_argument("--no-cache", action="store_true", help="read every file again, and keep nothing for the next run")
    parser.add_argument(
        "--cache-file",
        type=Path,
        metavar="FILE",
        help="keep the cache there (default: one file for each dataset in the user's cache folder)",
    )
    parser.add_argument(
        "--comparison-output", type=Path, metavar="FILE", help="with --compare: also write the comparison; .json as JSON, else as text"
    )
    parser.add_argument("--contact-sheet", type=Path, metavar="FILE", help="with --compare: one picture of all that was added and removed")
    parser.add_argument("--old-dataset-dir", type=Path, metavar="DIR", help="with --contact-sheet: where the old set lies now")
    _add_faces(parser)
    parser.add_json()
    return parser


def _add_faces(parser: cli.Parser) -> None:
    faces = parser.add_argument_group("faces")
    faces.add_argument("--faces", action="store_true", help="also check faces: none, another person, poses, shot sizes, blur, cropping")
    faces.add_argument(
        "--reference-dir",
        type=Path,
        metavar="DIR",
        help=cli.policy_help(
            "with --faces: the reference set, of which no picture may be trained on",
            "production.reference_dirs",
            note="the first there is",
        ),
    )
    add_engine_flags(faces, only_with="--faces")


def check_usage(args: argparse.Namespace) -> None:
    """Refuse what would otherwise be ignored."""
    if args.verify and args.compare:
        raise InputError("--verify and --compare", "cannot be given together")
    if not (args.verify or args.compare or args.dataset_dir or args.dataset_document):
        raise InputError("nothing to do", "neither --dataset-dir nor --verify nor --compare is given", "see --help")
    if (args.verify or args.compare) and (args.output or args.html or args.faces or args.strict):
        raise InputError("--output, --html, --faces and --strict", "belong to --dataset-dir alone")
    if args.open and args.html is None:
        raise InputError("--open", "opens the page that --html FILE writes", "give --html FILE too")
    if args.html and args.dataset_dir and args.html.resolve().is_relative_to(args.dataset_dir.resolve()):
        raise InputError(
            "--html", f"{args.html} lies inside the set, where small copies beside it would be trained on", "write it elsewhere"
        )
    if (args.verify or args.compare) and args.dataset_document:
        raise InputError("--dataset-document", "belongs to --dataset-dir alone")
    if (args.verify or args.compare) and (args.hold_out or args.hold_out_file):
        raise InputError("--hold-out and --hold-out-file", "belong to --dataset-dir alone")
    if not args.compare and (args.comparison_output or args.contact_sheet or args.old_dataset_dir):
        raise InputError("--comparison-output, --contact-sheet and --old-dataset-dir", "belong to --compare")
    if args.reference_dir and not args.faces:
        raise InputError("--reference-dir", "belongs to --faces")


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    check_usage(args)
    if args.compare:
        return compare(args)
    return verify(args) if args.verify else build(args)


if __name__ == "__main__":
    raise SystemExit(cli.run(main))
