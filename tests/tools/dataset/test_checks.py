"""Every fault that a training set can have is found and named, and a sound set has none."""

from __future__ import annotations

import io
import os
import struct
import time
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lifeos.findings import Finding
from tests.capabilities import POSIX, tells_cases_apart
from tests.lifeos.display_profiles import profile_of
from tests.lifeos.odd_pictures import chunk, encoded, exif, png, png_xmp, raw_profile, stored, turned, xmp
from tests.tools.dataset.sets import make_picture, make_set
from tools.dataset.build import BuildRequest, build_dataset_manifest
from tools.dataset.caption_checks import count_tokens, has_trigger_word
from tools.dataset.checks import CheckSettings


def notices_of(folder: Path, *, decode: bool = False) -> dict[str, Finding]:
    check = CheckSettings(trigger_word="amiranoor")
    request = BuildRequest(folder, use_cache=False, decode=decode, check=check)
    return {
        notice.rule: notice for notice in build_dataset_manifest(request, created="2026-01-01T00:00:00Z", started_ns=time.time_ns()).notices
    }


def test_a_sound_set_has_no_notice(tmp_path: Path) -> None:
    assert notices_of(make_set(tmp_path / "set"), decode=True) == {}


def write_exif(folder: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    make_picture(folder / "img_000.png", size=(1024, 1024), exif=tags)


def cut(folder: Path) -> None:
    path = folder / "img_000.png"
    path.write_bytes(path.read_bytes()[:-30])


def rename_to_mixed_case(folder: Path) -> None:
    (folder / "img_000.png").rename(folder / "img_000.Png")


def same_twice(folder: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "img_000.png").read_bytes())
    (folder / "copy.txt").write_text("amiranoor, again")


def accents_in_two_forms(folder: Path) -> None:
    for form in ("NFC", "NFD"):
        make_picture(
            folder / f"{unicodedata.normalize('NFC' if form == 'NFC' else 'NFD', 'é')}.png", seed=90 + len(form + form), size=(1024, 1024)
        )


def damage_inside(folder: Path) -> None:
    path = folder / "img_000.png"
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT") + 40
    data[at : at + 8] = b"\0" * 8
    path.write_bytes(data)


def caption(data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "img_000.txt").write_bytes(data) and None  # type: ignore[func-returns-value]


SENTENCE = b"amiranoor is a woman who sits on a bench in the park"
SAYS_HOW_TO_MEND = {"link_outside", "other_format", "mixed_case_suffix", "sixteen_bit", "cmyk", "exif_rotation"}
SAYS_HOW_TO_MEND |= {"caption_too_long"}
"""Their message holds it already."""


def replaced(data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "img_000.png").write_bytes(data)


def large(mode: str = "RGB") -> Image.Image:
    image = stored((1024, 1024))
    return image if mode == "RGB" else image.convert("L").convert("I").convert(mode)


def sixteen_bit_color(side: int) -> bytes:
    """A PNG of colour type 2 and depth 16, which Pillow reads and does not write (PNG specification, 11.2.2)."""
    rows = b"".join(b"\0" + bytes((200, 100, 60, 30, 20, 10)) * side for _ in range(side))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


FAULTS: list[tuple[str, str, Callable[[Path], object], tuple[str, ...]]] = [
    ("identical_captions", "warning", lambda d: [(d / f"img_{n:03d}.txt").write_text("amiranoor, photo") for n in range(3)], ()),
    ("trigger_word_missing", "warning", caption(b"amiranoors, a woman"), ("img_000.txt",)),
    ("caption_empty", "error", caption(b""), ("img_000.txt",)),
    ("caption_blank", "warning", caption(b"  \namiranoor"), ("img_000.txt",)),
    ("caption_not_utf8", "error", caption("amiranoor, caf\xe9".encode("latin-1")), ("img_000.txt",)),
    ("caption_not_utf8", "error", caption("amiranoor".encode("utf-16")), ("img_000.txt",)),
    ("caption_bom", "warning", caption(b"\xef\xbb\xbfamiranoor, a woman"), ("img_000.txt",)),
    ("caption_multi_line", "notice", caption(b"amiranoor, a woman\nand more"), ("img_000.txt",)),
    ("caption_too_long", "warning", caption(b"amiranoor, " + b"word, " * 40), ("img_000.txt",)),
    ("caption_too_long", "warning", caption(b"amiranoor " * 100_000), ("img_000.txt",)),
    ("caption_without_picture", "warning", lambda d: (d / "lost.txt").write_text("amiranoor"), ("lost.txt",)),
    ("picture_without_caption", "warning", lambda d: (d / "img_000.txt").unlink(), ("img_000.png",)),
    ("borrowed_caption", "warning", lambda d: make_picture(d / "img_000_1_2_3_4.png", seed=9, size=(1024, 1024)), ("img_000_1_2_3_4.png",)),
    ("shared_caption", "warning", lambda d: make_picture(d / "img_000.jpg", seed=9, size=(1024, 1024)), ("img_000.jpg", "img_000.png")),
    ("mixed_resolutions", "notice", lambda d: make_picture(d / "img_000.png", size=(832, 1216)), ()),
    ("upscaled", "warning", lambda d: make_picture(d / "img_000.png", size=(512, 512)), ("img_000.png",)),
    ("cropped", "warning", lambda d: make_picture(d / "img_000.png", size=(3000, 200)), ("img_000.png",)),
    ("narrow", "warning", lambda d: make_picture(d / "img_000.png", size=(3000, 500)), ("img_000.png",)),
    ("exif_rotation", "error", write_exif, ("img_000.png",)),
    ("exif_rotation", "error", replaced(png(raw_profile(exif(turned(6))), image=large())), ("img_000.png",)),
    ("exif_rotation", "error", replaced(png(png_xmp(xmp(8)), image=large())), ("img_000.png",)),
    ("sixteen_bit", "error", replaced(encoded("PNG", large("I;16"))), ("img_000.png",)),
    ("sixteen_bit_color", "notice", replaced(sixteen_bit_color(1024)), ("img_000.png",)),
    (
        "long_text",
        "error",
        replaced(png(chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(1_100_000))), image=large())),
        ("img_000.png",),
    ),
    ("wide_gamut", "warning", replaced(encoded("PNG", large(), icc_profile=profile_of("Display P3"))), ("img_000.png",)),
    ("hidden_format", "warning", lambda d: (d / "img_000.png").rename(d / "img_000.png_orig"), ("img_000.png_orig",)),
    ("other_format", "warning", lambda d: (d / "IMG_1.HEIC").write_bytes(b"x"), ("IMG_1.HEIC",)),
    ("alpha", "warning", lambda d: make_picture(d / "img_000.png", size=(1024, 1024), mode="RGBA"), ("img_000.png",)),
    ("cmyk", "warning", lambda d: make_picture(d / "new.jpg", size=(1024, 1024), mode="CMYK"), ("new.jpg",)),
    ("grey", "notice", lambda d: make_picture(d / "img_000.png", size=(1024, 1024), mode="L"), ("img_000.png",)),
    ("truncated", "error", cut, ("img_000.png",)),
    ("unreadable", "error", lambda d: (d / "img_000.png").write_text("no picture"), ("img_000.png",)),
    ("unreadable", "error", lambda d: (d / "img_000.png").write_bytes(b""), ("img_000.png",)),
    ("damaged", "error", damage_inside, ("img_000.png",)),
    ("mixed_case_suffix", "error", rename_to_mixed_case, ("img_000.Png",)),
    ("duplicate_picture", "warning", same_twice, ("copy.png", "img_000.png")),
    ("wrong_suffix", "notice", lambda d: make_picture(d / "img_000.png", size=(1024, 1024), format="JPEG"), ("img_000.png",)),
    ("other_format", "warning", lambda d: (d / "more.gif").write_bytes(b"GIF89a"), ("more.gif",)),
    ("latent_cache", "warning", lambda d: (d / "img_000.npz").write_bytes(b"PK"), ("img_000.npz",)),
    ("left_over", "notice", lambda d: (d / "._img_000.png").write_bytes(b"\0"), ("._img_000.png",)),
    ("left_over", "notice", lambda d: (d / "Thumbs.db").write_bytes(b"\0"), ("Thumbs.db",)),
    ("left_over", "notice", lambda d: (d / "img_000.png~").write_bytes(b"\0"), ("img_000.png~",)),
    ("name_collision", "warning", lambda d: make_picture(d / "IMG_000.png", seed=9, size=(1024, 1024)), ("IMG_000.png", "img_000.png")),
    ("name_collision", "warning", accents_in_two_forms, ("e\u0301.png", "\u00e9.png")),
    ("mixed_caption_styles", "warning", caption(SENTENCE), ("img_000.txt",)),
    ("other_caption_extension", "notice", lambda d: (d / "img_000.caption").write_text("amiranoor"), ("img_000.caption",)),
    ("mask", "notice", lambda d: make_picture(d / "img_000-masklabel.png", mode="L"), ("img_000-masklabel.png",)),
    ("no_pictures", "error", lambda d: [path.unlink() for path in d.glob("*.png")], ()),
]


@pytest.mark.parametrize(("check", "level", "spoil", "files"), FAULTS, ids=[f"{number}-{case[0]}" for number, case in enumerate(FAULTS)])
def test_each_fault_is_named(tmp_path: Path, check: str, level: str, spoil: Callable[[Path], object], files: tuple[str, ...]) -> None:
    folder = make_set(tmp_path / "set")
    if check == "name_collision" and not tells_cases_apart(tmp_path):
        pytest.skip("this volume does not tell A from a")
    spoil(folder)
    notice = notices_of(folder, decode=True).get(check)
    assert notice is not None
    assert (notice.severity, notice.files) == (level, files)
    assert notice.fix or check in SAYS_HOW_TO_MEND


def test_what_the_trainer_sees_of_16_bits(tmp_path: Path) -> None:
    """It converts with Pillow: grey becomes white, of colours the upper 8 bits stay."""
    grey = Image.open(io.BytesIO(encoded("PNG", large("I;16")))).point(lambda level: level * 257).convert("RGB")
    assert grey.getpixel((600, 600)) == (255, 255, 255)
    color = Image.open(io.BytesIO(sixteen_bit_color(16))).convert("RGB")
    assert color.getpixel((3, 3)) == (200, 60, 20)


@pytest.mark.usefixtures("links")
def test_links(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", 1)
    outside = make_picture(tmp_path / "elsewhere.png", seed=5, size=(1024, 1024))
    (folder / "out.png").symlink_to(outside)
    (folder / "gone.png").symlink_to(tmp_path / "nothing.png")
    (folder / "loop").symlink_to(folder)
    (folder / "far").symlink_to(tmp_path)
    (folder / "twin.png").symlink_to(folder / "img_000.png")
    (folder / "twin.txt").write_text("amiranoor, twin")
    found = notices_of(folder)
    assert found["link_outside"].files == ("far", "out.png")
    assert found["link_broken"].files == ("gone.png",)
    assert found["duplicate_picture"].files == ("img_000.png", "twin.png")


@pytest.mark.usefixtures("pipes")
@pytest.mark.skipif(not POSIX, reason="pipes are POSIX")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", 1)
    os.mkfifo(folder / "pipe.png")
    assert notices_of(folder)["special_file"].files == ("pipe.png",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("amiranoor, a woman", True),
        ("AmiraNoor smiles", True),
        ("amiranoors", False),
        ("xamiranoor", False),
        ("a woman", False),
        ("(amiranoor)", True),
    ],
)
def test_trigger_word_stands_by_itself(text: str, found: bool) -> None:
    assert has_trigger_word(text, "amiranoor") is found


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a photo", 2),
        ("a photo, sharp", 4),  # the comma is one
        ("photorealistic", 3),  # 14 letters in pieces of 6
        ("85mm", 3),  # two digits, one word
        ("", 0),
    ],
)
def test_token_estimate(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens
