"""The parts of a file, XMP, the disclosure text and the settings: what is recognised, and what is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lifeos.errors import InputError
from lifeos.policy.schema import read_schema
from tests.lifeos.odd_pictures import jpeg, jpeg_exif, noise, segment
from tests.tools.publishing.published_batches import encoded, make_batch, publish, published, rough_picture, settings, told_png
from tools.publishing.carried_parts import carried_parts
from tools.publishing.disclosure import WORDINGS, disclosure_text
from tools.publishing.label_check import check_labels
from tools.publishing.watermark import mark
from tools.publishing.xmp_packet import TRAINED_ALGORITHMIC_MEDIA, Credits, read_packet, write_packet


def names(data: bytes) -> list[str]:
    return [part.name for part in carried_parts(data)]


def test_every_part_of_a_png_is_named_and_unpacked() -> None:
    parts = carried_parts(told_png(1))
    assert [part.name for part in parts] == [
        "text 'prompt'", "text 'workflow'", "text 'parameters'", "XMP", "EXIF", "chunk 'prVt'", "bytes behind the picture",
    ]  # fmt: skip
    assert all(b"secret pier" in part.content for part in parts)


def test_every_part_of_a_jpeg_and_a_webp_is_named() -> None:
    data = jpeg(jpeg_exif(b"II*\0"), segment(0xFE, b"hello"), segment(0xED, b"Photoshop 3.0\0"), segment(0xE5, b"x"), image=noise())
    assert names(data) == ["EXIF", "comment", "Photoshop's data", "segment APP5"]
    assert names(data + b"more") == [*names(data), "bytes behind the picture"]
    progressive = encoded(rough_picture(1), "JPEG", progressive=True)
    assert names(progressive) == [] and names(progressive + progressive) == ["bytes behind the picture"]
    thumbnail = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1" + b"\0" * 3)
    assert "JFIF thumbnail" in names(data[:2] + thumbnail + data[2:])
    webp = encoded(rough_picture(1), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", xmp=b"<x/>", icc_profile=b"p" * 200)
    assert sorted(names(webp)) == ["EXIF", "XMP", "colour profile"] and names(webp + b"\0more")[-1] == "bytes behind the picture"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_is_cut_off_is_none(kind: str) -> None:
    data = encoded(rough_picture(1), kind)
    for length in (len(data) - 1, len(data) // 2, 40):
        with pytest.raises(ValueError, match=r"cut off|checksum|broken|no PNG"):
            carried_parts(data[:length])
    assert not check_labels(data[: len(data) // 2], Path("x")).is_whole
    assert check_labels(b"hello", Path("x")).fault == "not a whole picture: no PNG, JPEG or WebP picture"


def test_what_a_copy_does_not_carry_makes_it_no_copy() -> None:
    info = PngInfo()
    info.add_text("Comment", "hello")
    info.add_itxt("XML:com.adobe.xmp", write_packet(Credits()).decode())
    buffer = io.BytesIO()
    Image.fromarray(rough_picture(1)).save(buffer, "PNG", pnginfo=info)
    report = check_labels(buffer.getvalue(), Path("x.png"))
    assert report.fault == "it carries what a published copy does not: text 'Comment'" and not report.is_whole


def test_xmp_holds_what_the_policy_says_whatever_is_in_it() -> None:
    credits = Credits('Anna & "Ben" <x>', "créd · 写真", "SDXL", "")
    assert read_packet(write_packet(credits)) == {
        "Iptc4xmpExt:DigitalSourceType": TRAINED_ALGORITHMIC_MEDIA,
        "dc:creator": 'Anna & "Ben" <x>',
        "photoshop:Credit": "créd · 写真",
        "Iptc4xmpExt:AISystemUsed": "SDXL",
    }


ATTRIBUTES = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    b' xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/%s"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize(
    ("packet", "state", "told"),
    [
        (ATTRIBUTES % b"trainedAlgorithmicMedia", "present", "DigitalSourceType: trainedAlgorithmicMedia"),
        (
            ATTRIBUTES % b"digitalCapture",
            "changed",
            "its DigitalSourceType is http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
        ),
        (ATTRIBUTES.replace(b"Digital", b"Analogue") % b"x", "missing", "there is XMP, but no DigitalSourceType in it"),
        (b"<x:xmpmeta", "changed", "not XML: "),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "changed", "it declares entities, which XMP does not"),
        (b"", "changed", "not XML: "),
    ],
)
def test_xmp_of_other_programs(packet: bytes, state: str, told: str) -> None:
    data = encoded(rough_picture(1), "WEBP", xmp=packet or b"\n")
    label = check_labels(data, Path("x.webp")).labels[0]
    assert label.state == state and label.told.startswith(told)


@pytest.mark.parametrize("text", ["two\nlines", "nul\0", "\ud800"])
def test_a_text_that_xmp_cannot_hold_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"publishing\.credit: a line end or another character that XMP cannot hold"):
        settings(tmp_path, credit=f"a {text} b")
    with pytest.raises(InputError, match=r"at most 60,000 fit"):
        settings(tmp_path, creator="x" * 70_000)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "stamps.example", "https://"])
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"publishing\.time_stamp_url: no address"):
        settings(tmp_path, time_stamp_url=url)


def test_the_disclosure_is_worded_in_every_language_of_the_schema() -> None:
    languages: Any = read_schema()["properties"]["publishing"]["properties"]["languages"]["items"]["enum"]
    assert sorted(WORDINGS) == sorted(languages)
    text = disclosure_text(["de", "en", "de"])
    assert re.findall(r"^\[(..)\]$", text, re.M) == ["de", "en"] and text.count("This is no legal advice.") == 1
    assert all(re.search(r"\b(AI|KI|IA)\b", words.caption) for words in WORDINGS.values())


def test_a_marked_picture_is_never_marked_again(tmp_path: Path) -> None:
    batch = make_batch(tmp_path / "batch", {"0001_x.png": (encoded(mark(rough_picture(1), 77)), True)})
    why = "the picture carries a mark already; a second one destroys both (mark the original)"
    assert publish(batch).refused == [("0001_x.png", why)] and published(batch) == []
