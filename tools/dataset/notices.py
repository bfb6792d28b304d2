"""What a check of a training set says: findings of the project, each with every file that it holds for and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lifeos.counting import counted
from lifeos.findings import Finding, Severity

MENDING = {
    "link_broken": "copy the file here, or remove the link",
    "special_file": "take it out of the folder",
    "left_over": "nothing to do",
    "not_named": "name it there, or leave it",
    "latent_cache": "delete it: the trainer makes a new one",
    "no_pictures": "give --dataset-dir the folder with the pictures",
    "caption_without_picture": "remove it, or bring its picture back under the same name",
    "name_collision": "rename one of each",
    "shared_caption": "rename one of each, with its caption",
    "name_not_utf8": "rename it in plain letters",
    "marked_picture": "bring the original from approved/; wanted all the same: --allow-marked (retrain_lora_v3: --allow-dataset-errors)",
    "duplicate_picture": "keep one; to show it more often, give its folder more repeats (20_name)",
    "unreadable": "replace it, or take it out",
    "truncated": "copy or download it again, or take it out",
    "damaged": "copy or save it again, or take it out",
    "animated": "save one frame as a still picture",
    "palette": "save it as RGB if colours look coarse",
    "grey": "leave it out if the character should be in colour",
    "alpha": "or, if the transparency is a mask, train with --trainer-arg=--alpha_mask",
    "wrong_suffix": "rename it to what it is",
    "too_large": "save it smaller",
    "long_text": "save it without its metadata",
    "wide_gamut": "convert it to sRGB and save it",
    "sixteen_bit_color": "nothing to do",
    "hidden_format": "rename it to what it is",
    "face_unseen": "copy or save it again, or take it out",
    "no_bucket": "crop it to a more usual shape",
    "narrow": "crop it to a more usual shape",
    "upscaled": "bring a larger version, or leave it out",
    "cropped": "crop it yourself, so that the right part stays",
    "mixed_resolutions": "nothing to do: the trainer sorts them into buckets",
    "picture_without_caption": "write one for each, or leave them to the class tokens on purpose",
    "borrowed_caption": "write a caption of its own",
    "caption_empty": "write a caption, or remove the file",
    "caption_not_utf8": "save it as UTF-8",
    "caption_blank": "put the caption on the first line",
    "caption_bom": "save it as UTF-8 without a byte order mark",
    "caption_multi_line": "put all of it on one line if the rest matters",
    "caption_very_long": "shorten it",
    "identical_captions": "say in each caption what differs in its picture: clothes, place, pose, light",
    "repeated_caption": "say in each caption what differs in its picture: clothes, place, pose, light",
    "trigger_word_missing": "put the word first in each caption",
    "regularisation_overlap": "take it out of one of the two folders",
    "no_face": "take it out, if the face should be learnt",
    "several_faces": "crop it to the character",
    "identity_outlier": "look at it, and take it out if it is somebody else",
    "blurred": "bring a sharper one, or leave it out",
    "face_cut_off": "crop the picture around the face to a more usual shape",
    "one_shot_size": "add pictures from other distances",
    "one_pose": "add pictures with the head turned",
}
"""How to mend what a check finds, for checks whose message does not say it."""


def noticed(check: str, severity: Severity, message: str, files: Sequence[str] = (), fix: str = "") -> Finding:
    """An `error` would stop or spoil the training, a `warning` makes it worse than it could be, a `notice` is good to know."""
    return Finding(check, message, fix or MENDING.get(check, ""), severity=severity, files=tuple(files))


def as_manifest_warning(finding: Finding) -> dict[str, Any]:
    """A finding in the manifest's `warnings`, by the names that manifests have."""
    return {"check": finding.rule, "level": finding.severity, "message": finding.message, "fix": finding.fix, "files": list(finding.files)}


def is_unfit(findings: Iterable[Finding], *, strict: bool) -> bool:
    """Whether to say no: to errors, with `strict` to warnings too."""
    return any(finding.severity == "error" or (strict and finding.severity == "warning") for finding in findings)


def render_fitness(findings: Sequence[Finding], *, pictures: int, strict: bool = False) -> str:
    """The one line that a person asks for: `fit to train: 36 pictures, 2 warnings` or `not fit to train: …`."""
    errors = list(dict.fromkeys(finding.rule for finding in findings if finding.severity == "error"))
    warnings = list(dict.fromkeys(finding.rule for finding in findings if finding.severity == "warning"))
    bad = [*errors, *(warnings if strict else [])]
    if bad:
        return f"not fit to train: {len(bad)} to mend ({', '.join(bad)})"
    told = f", {len(warnings)} warning{'s' if len(warnings) > 1 else ''} ({', '.join(warnings)})" if warnings else ""
    return f"fit to train: {counted(pictures, 'picture')}{told}"
