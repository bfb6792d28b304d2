"""Content credentials: time stamps, what an original carried before, no network, and that one changed byte is noticed."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import threading
import zlib
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest

from tests.tools.publishing.published_batches import PROMPT, encoded, make_batch, publish, published, rough_picture, told_batch
from tests.tools.publishing.time_stamping import HAS_OPENSSL, serving, time_stamps
from tools.publishing import content_credentials
from tools.publishing.carried_parts import CREDENTIALS, carried_parts
from tools.publishing.content_credentials import READING, SIGNING, CredentialsWriter, Older, mime_of, read_credentials
from tools.publishing.copy_encoding import MIME, encode
from tools.publishing.label_check import check_credentials, check_labels
from tools.publishing.signing_identity import SigningIdentity, own_identity
from tools.publishing.xmp_packet import Credits, write_packet

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
NAME = "content credentials (C2PA)"

pytestmark = pytest.mark.usefixtures("no_search")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> SigningIdentity:
    return own_identity(tmp_path_factory.mktemp("signing"))


def other_program(identity: SigningIdentity, data: bytes, manifest: dict[str, Any], url: str = "") -> bytes:
    """A picture that another program signed; with `url` its manifest lies there, and not in the picture."""
    signed = io.BytesIO()
    info = c2pa.C2paSignerInfo(identity.algorithm, identity.chain, identity.key, None)
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Context.from_dict(SIGNING) as context,
        c2pa.Builder(json.dumps(manifest), context) as one,
    ):
        if url:
            one.set_no_embed()
            one.set_remote_url(url)
        one.sign(signer, "image/png", io.BytesIO(data), signed)
    return signed.getvalue()


def made_elsewhere(**data: str) -> dict[str, Any]:
    made = {"action": "c2pa.created", "digitalSourceType": COMPOSITE, "softwareAgent": {"name": "Another Program"}}
    actions = {"actions": [made]}
    assertions = [{"label": "c2pa.actions.v2", "data": actions}, {"label": "org.example.settings", "data": data}]
    return {"claim_generator_info": [{"name": "another"}], "format": "image/png", "assertions": assertions}


def manifests_in(data: bytes, kind: str) -> dict[str, Any]:
    with c2pa.Context.from_dict(READING) as context, c2pa.Reader(kind, io.BytesIO(data), context=context) as reader:
        store: dict[str, Any] = json.loads(reader.json())
    return store


def test_what_is_signed(tmp_path: Path) -> None:
    publish(told_batch(tmp_path / "batch", approved=1), ai_system="SDXL", ai_system_version="1.0")
    (path,) = published(tmp_path / "batch")
    store = manifests_in(path.read_bytes(), "image/jpeg")
    manifest = store["manifests"][store["active_manifest"]]
    (actions,) = manifest["assertions"]
    assert actions["data"]["actions"][0] == {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
        "softwareAgent": {"name": "SDXL 1.0"},
    }
    assert [action["action"] for action in actions["data"]["actions"]] == ["c2pa.created", "c2pa.watermarked.unbound"]
    assert (manifest["title"], manifest["claim_generator_info"][0]["name"]) == (path.name, "LifeOS")
    assert "thumbnail" not in json.dumps(store) and store["validation_state"] == "Valid"


def test_older_credentials_become_an_ingredient(identity: SigningIdentity, tmp_path: Path) -> None:
    data = other_program(identity, encoded(rough_picture(1)), made_elsewhere(note="harmless"))
    batch = make_batch(tmp_path / "batch", {"0001_x.png": (data, True)})
    (copy,) = publish(batch).published
    assert copy.publication.labels[NAME].endswith("time stamp: none; 1 older manifest(s) as ingredients")
    store = manifests_in(published(batch)[0].read_bytes(), "image/jpeg")
    made = [action["action"] for action in store["manifests"][store["active_manifest"]]["assertions"][0]["data"]["actions"]]
    assert made == ["c2pa.opened", "c2pa.edited", "c2pa.watermarked.unbound"]
    assert "Another Program" in json.dumps(store)
    (copy,) = publish(batch, older_credentials="drop").published
    assert "ingredients" not in copy.publication.labels[NAME]
    assert "Another Program" not in json.dumps(manifests_in(published(batch)[0].read_bytes(), "image/jpeg"))


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "AVIF"])
def test_a_format_without_credentials_has_none(kind: str) -> None:
    assert read_credentials(encoded(rough_picture(1), kind), mime_of(kind)) is None


def test_older_credentials_that_tell_the_prompt_are_not_passed_on(identity: SigningIdentity, tmp_path: Path) -> None:
    data = other_program(identity, encoded(rough_picture(1)), made_elsewhere(prompt=PROMPT))
    batch = make_batch(tmp_path / "batch", {"0001_x.png": (data, True)})
    why = "its content credentials (C2PA) would tell the prompt (set publishing.older_credentials: drop)"
    assert publish(batch).refused == [("0001_x.png", why)] and not (batch / "published" / "0001_x.jpg").exists()
    assert publish(batch, older_credentials="drop").exit_code == 0
    assert PROMPT.encode() not in published(batch)[0].read_bytes()


def test_the_address_that_a_picture_names_is_never_asked(identity: SigningIdentity, tmp_path: Path) -> None:
    asked: list[bytes] = []

    def answer(body: bytes) -> bytes:
        asked.append(body)
        return b""

    with serving(answer) as url:
        data = other_program(identity, encoded(rough_picture(1)), made_elsewhere(), url)
        assert url.encode() in data
        assert read_credentials(data, "image/png") is None
        assert check_labels(data, Path("x.png")).labels[1].state == "missing"
        batch = make_batch(tmp_path / "batch", {"0001_x.png": (data, True)})
        assert publish(batch).exit_code == 0 and url.encode() not in published(batch)[0].read_bytes()
        CredentialsWriter(identity).sign(encoded(rough_picture(2)), "image/png", "x", "", Older(data, "image/png"))
        assert asked == []
        with pytest.raises(c2pa.C2paError), c2pa.Context.from_dict({}) as context:
            c2pa.Reader("image/png", io.BytesIO(data), context=context)
        assert asked, "without the setting it is asked: the test can fail"


@pytest.fixture
def openssl() -> None:
    if not HAS_OPENSSL:
        pytest.skip("openssl is not installed")


@pytest.mark.usefixtures("openssl")
def test_a_time_stamp_is_asked_for_and_told(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch")
    (tmp_path / "tsa").mkdir()
    with time_stamps(tmp_path / "tsa") as (url, requests):
        result = publish(batch, time_stamp_url=url)
    assert len(requests) == 2 and result.exit_code == 0
    assert all("; time stamp: 20" in copy.publication.labels[NAME] for copy in result.published)
    data = bytearray(published(batch)[0].read_bytes())
    data[data.index(b"sigTst2") + 40] ^= 1
    assert check_labels(bytes(data), Path("x.jpg")).labels[1].state == "changed"


@pytest.mark.parametrize("answer", ["refused", "silent"])
def test_without_an_answer_it_is_signed_without_a_time_stamp_and_said_once(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def wait(body: bytes) -> bytes:
        released.wait(20)
        return b""

    monkeypatch.setattr(content_credentials, "STAMP_SECONDS", 0.5)
    batch, notes = told_batch(tmp_path / "batch"), list[str]()
    with serving(wait if answer == "silent" else lambda body: b"no stamp") as url:
        result = publish(batch, notes, time_stamp_url=url)
        released.set()
    assert len(result.published) == 2 and all("time stamp: none" in copy.publication.labels[NAME] for copy in result.published)
    (note,) = notes
    assert note.startswith(f"warning: no time stamp from {url}: ") and note.endswith("signed without one, as are the pictures that follow")


@pytest.mark.parametrize("kind", ["jpeg", "webp", "png"])
def test_one_changed_byte_is_noticed_wherever_it_stands(kind: str, identity: SigningIdentity, tmp_path: Path) -> None:
    """In the content credentials themselves a thousand bytes are under no signature: every seventh of all bytes there is turned."""
    small = encode(np.zeros((16, 16, 3), np.uint8), kind, 90, None, write_packet(Credits()))
    data = CredentialsWriter(identity).sign(small, MIME[kind], "x", "")
    assert check_credentials(data, carried_parts(data)).state == "present"
    start = data.index(b"jumb") - 20
    unnoticed = []
    for at in [*range(start, start + 64), *range(start + 64, min(len(data), start + 3200), 7)]:
        changed = bytearray(data)
        changed[at] ^= 1
        if kind == "png":  # with a right checksum, as a program that means it would write
            place = data.index(b"caBX")
            end = place + 4 + int.from_bytes(data[place - 4 : place], "big")
            changed[end : end + 4] = zlib.crc32(changed[place:end]).to_bytes(4, "big")
        try:
            parts = carried_parts(bytes(changed))
        except ValueError:
            continue
        if check_credentials(bytes(changed), parts).state == "present":
            unnoticed.append(at)
    assert unnoticed == []


def test_xmp_that_was_written_after_signing_is_noticed(tmp_path: Path) -> None:
    publish(told_batch(tmp_path / "batch", approved=1), creator="Amira")
    data = published(tmp_path / "batch")[0].read_bytes().replace(b"Amira", b"Smith")
    report = check_labels(data, Path("x.jpg"))
    assert [label.state for label in report.labels] == ["present", "changed", "present"]


def test_credentials_of_another_picture_are_noticed(tmp_path: Path) -> None:
    batch = told_batch(tmp_path / "batch")
    publish(batch, format="webp")
    one, other = (path.read_bytes() for path in published(batch))
    at = {data: data.index(b"C2PA") for data in (one, other)}
    swapped = bytearray(one[: at[one]] + other[at[other] :])
    swapped[4:8] = (len(swapped) - 8).to_bytes(4, "little")
    assert check_labels(bytes(swapped), Path("x.webp")).labels[1].state == "changed"


EXIFTOOL = shutil.which("exiftool")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_exiftool_sees_the_source_type_and_nothing_of_the_prompt(kind: str, tmp_path: Path) -> None:
    if EXIFTOOL is None:
        pytest.skip("exiftool is not installed")
    batch = told_batch(tmp_path / "batch", approved=1)
    publish(batch, format=kind, creator="Amira Studio", credit="LifeOS", ai_system="SDXL")
    command = [EXIFTOOL, "-j", "-a", "-G1", "-u", "-U", "-b", "-n", str(published(batch)[0])]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (found,) = json.loads(told)
    assert found["XMP-iptcExt:DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert (found["XMP-dc:Creator"], found["XMP-photoshop:Credit"]) == ("Amira Studio", "LifeOS")
    assert "SDXL" in told and "secret pier" not in told and "KSampler" not in told
    groups = {name.partition(":")[0] for name in found} - {"SourceFile", "ExifTool", "System", "File", "Composite", "JFIF", "PNG", "RIFF"}
    assert groups <= {"XMP-iptcExt", "XMP-dc", "XMP-photoshop", "JUMBF", "C2PA", "CBOR", "JSON", "Jpeg2000"}
    if kind != "webp":  # exiftool 12.57 reads no JUMBF there
        assert any("c2pa" in str(value) for value in found.values())


def test_the_label_of_the_credentials_is_one_word_everywhere() -> None:
    assert NAME == CREDENTIALS
