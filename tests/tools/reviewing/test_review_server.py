"""The server of a review: who is let in, what it hands out and what never, and that a blind review gives nothing away."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.tools.reviewing.scenes_of_review import (
    NAMES,
    TOKEN,
    Caller,
    add_picture,
    make_desk,
    make_guard_of_face,
    make_reviewed,
    placed,
    serving,
    written,
)
from tools.production.filing import BatchFolder
from tools.production.journal import JOURNAL_FILE, Journal
from tools.reviewing.desk import ReviewDesk

SECRETS = ("gates_verdict", "verdict", "scores", "reasons", "margin", "borderline", "others", "flags", "guards", "disputed")


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return make_reviewed(tmp_path)


@pytest.fixture
def desk(folder: BatchFolder) -> ReviewDesk:
    return make_desk(folder)


@pytest.fixture
def caller(desk: ReviewDesk) -> Iterator[Caller]:
    with serving(desk) as caller:
        yield caller


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(caller: Caller) -> None:
    reply = Caller(caller.port).ask(f"/?token={TOKEN}")
    assert (reply.status, reply.headers["Location"]) == (303, "/")
    assert reply.headers["Set-Cookie"] == f"lifeos_review_{caller.port}={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    assert caller.ask("/").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/api/batch", "/api/state", f"/picture/{NAMES[0]}", f"/thumb/{NAMES[0]}", "/reference/r1.png", "/review.js"]
)
@pytest.mark.parametrize("cookie", ["", "lifeos_review_PORT=wrong", "lifeos_review_PORT=", "lifeos_review_1=" + TOKEN, "garbage;;=", "é=1"])
def test_nobody_without_the_token_gets_anything(caller: Caller, path: str, cookie: str) -> None:
    reply = Caller(caller.port, cookie.replace("PORT", str(caller.port)).encode("utf-8").decode("latin-1")).ask(path)
    assert (reply.status, reply.body) == (403, b"open the address that tools/review.py has printed: it holds the token\n")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:PORT"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "127.0.0.1.evil.example:PORT"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost:PORT", "Origin": "http://localhost:PORT"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://127.0.0.1:PORT"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Length": "999999999"}, 413),
        ({"Content-Length": "-1"}, 413),
        ({"Transfer-Encoding": "chunked"}, 413),
    ],
)
def test_another_page_decides_nothing(caller: Caller, folder: BatchFolder, headers: Mapping[str, str], status: int) -> None:
    sent = {name: value.replace("PORT", str(caller.port)) for name, value in headers.items()}
    reply = caller.ask("/api/decide", [{"name": NAMES[2], "verdict": "approved"}], headers=sent)
    assert reply.status == status
    assert written(folder) == (["owner 3 approved"] if status == 200 else [])


def test_another_page_reads_nothing_either(caller: Caller) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        assert caller.ask(f"/picture/{NAMES[0]}", headers=headers).status in (403, 421)


@pytest.mark.parametrize("path", ["/", "/api/batch", f"/picture/{NAMES[0]}", "/nothing"])
def test_every_answer_forbids_what_the_page_does_not_need(caller: Caller, path: str) -> None:
    headers = caller.ask(path).headers
    rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert set(rules.values()) == {"'none'", "'self'"} and rules["default-src"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("kind", ["picture", "thumb", "reference"])
@pytest.mark.parametrize(
    "name",
    ["../batch.json", "..%2fbatch.json", "%2e%2e/batch.json", "batch.json", "%2fetc%2fpasswd", "/etc/passwd", "approved/" + NAMES[0],
     "", "%00", "%ff",
     "....//batch.json", "journal.jsonl", ".work/lock", "r1.png%00.txt"],
)  # fmt: skip
def test_nothing_else_is_served(caller: Caller, kind: str, name: str) -> None:
    assert caller.ask(f"/{kind}/{name}").status == 404


def test_a_link_that_leads_out_of_the_batch_is_not_followed(caller: Caller, folder: BatchFolder, links: None) -> None:
    secret = folder.root.parent / "secret.png"
    path = folder.root / "approved" / NAMES[0]
    path.rename(secret)
    path.symlink_to(secret)
    assert caller.ask(f"/picture/{NAMES[0]}").status == 404


def test_pictures_and_references_are_handed_out_as_they_are(caller: Caller, folder: BatchFolder) -> None:
    reply = caller.ask(f"/picture/{NAMES[0]}")
    assert reply.body == (folder.root / "approved" / NAMES[0]).read_bytes() and reply.headers["Content-Type"] == "image/png"
    assert caller.ask(f"/picture/{NAMES[0]}", headers={"If-None-Match": reply.headers["ETag"]}).status == 304
    assert caller.ask("/reference/r1.png").body == (folder.root.parent / "references" / "r1.png").read_bytes()
    assert caller.ask(f"/thumb/{NAMES[0]}").headers["Content-Type"] == "image/webp"
    ellipses = caller.ask(f"/skin/{NAMES[0]}").json["ellipses"]
    assert len(ellipses) == 2 and all(0 < x < 1 and 0 < y < 1 for x, y, *_ in ellipses)
    assert caller.ask(f"/skin/{NAMES[3]}").json == {"ellipses": []}


def test_a_file_that_only_looks_like_a_picture_is_no_page(caller: Caller, folder: BatchFolder) -> None:
    (folder.root / "approved" / NAMES[0]).write_bytes(b"<script>alert(1)</script>")
    (folder.root.parent / "references" / "x.png").write_bytes(b"<html><script>alert(1)</script>")
    assert caller.ask(f"/picture/{NAMES[0]}").status == 404
    assert caller.ask("/reference/x.png").status == 404


def test_the_document_tells_the_batch_borderline_and_near_things_first(caller: Caller) -> None:
    document = caller.ask("/api/batch").json
    assert [item["index"] for item in document["items"]] == [5, 2, 3, 1, 6, 4]
    item = document["items"][2]
    assert (item["verdict"], item["scores"]["face"], item["reasons"]) == ("rejected", 0.5, ["face similarity 0.50 is below 0.60"])
    assert [round(value, 3) for value in item["face"]] == [0.417, 0.25, 0.167, 0.3]  # area 0.05 / height 0.3 wide, around (0.5, 0.4)
    assert (document["reviewer"], document["undo"], document["running"]) == ("owner", 0, False)


def test_decide_and_undo_over_the_wire(desk: ReviewDesk, folder: BatchFolder) -> None:
    with serving(desk, carries=True) as caller:
        told = caller.ask("/api/decide", [{"name": NAMES[2], "verdict": "approved", "reason": "good <b>light</b>"}]).json
        assert told["names"] == [NAMES[2]] and told["batch"]["undo"] == 1
        [own] = [item["own"] for item in told["batch"]["items"] if item["own"]]
        assert (own["verdict"], own["reason"]) == ("approved", "good <b>light</b>")
        wait_until(lambda: placed(folder) == "aaarar")
        assert caller.ask("/api/undo", {}).json["names"] == [NAMES[2]]
        assert caller.ask("/api/undo", {}).json["names"] == []
        wait_until(lambda: placed(folder) == "aarrar")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 409), (b"{", 409), (b"[]", 409), ([{"name": NAMES[0]}], 409), ([{"name": NAMES[0], "verdict": "maybe"}], 409),
        ({"name": 1}, 409),
        ([{"name": "nobody.png", "verdict": "approved"}], 422), ([{"name": NAMES[0], "verdict": "approved"}] * 201, 409),
        (b"[" * 5000, 409), (b'[{"name": "\xff", "verdict": "approved"}]', 409),
    ],
)  # fmt: skip
def test_what_is_no_decision_is_one_clear_line_and_writes_nothing(caller: Caller, folder: BatchFolder, body: object, status: int) -> None:
    reply = caller.ask("/api/decide", body)
    assert reply.status == status and reply.json["error"]["why"] and "\n" not in reply.json["error"]["why"]
    assert written(folder) == []


def test_a_guard_waits_for_its_reason(caller: Caller, folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    make_guard_of_face(monkeypatch)
    reply = caller.ask("/api/decide", [{"name": NAMES[2], "verdict": "approved"}])
    assert reply.status == 422
    assert reply.json["error"] | {"what": ""} == {
        "what": "", "why": "face similarity rejects it", "fix": "approving it needs a reason", "picture": NAMES[2], "guards": ["face"],
    }  # fmt: skip
    assert caller.ask("/api/decide", [{"name": NAMES[2], "verdict": "approved", "reason": "she agreed"}]).status == 200


def test_a_blind_review_gives_nothing_away(folder: BatchFolder) -> None:
    with serving(make_desk(folder, "anna", blind=True)) as caller:
        reply = caller.ask("/api/batch")
        document = reply.json
        assert document["gates"] == [] and document["groups"] == []
        assert all(not set(item) & set(SECRETS) for item in document["items"])
        assert b"rejected" not in reply.body and b"approved" not in reply.body
        order = [item["index"] for item in document["items"]]
        assert sorted(order) == [1, 2, 3, 4, 5, 6] and order != [5, 2, 3, 1, 6, 4]
        assert [item["index"] for item in caller.ask("/api/batch").json["items"]] == order


def test_what_is_made_and_decided_elsewhere_appears(caller: Caller, folder: BatchFolder) -> None:
    before = caller.ask("/api/state").json["version"]
    journal = Journal(folder.root / JOURNAL_FILE)
    add_picture(folder, journal, 7, 0.8)
    journal.close()
    from tools.reviewing.desk import Wish

    make_desk(folder, "ben").decide([Wish(NAMES[0], "rejected", "the hand")])
    document = caller.ask("/api/batch").json
    assert document["version"] > before and len(document["items"]) == 7
    [other] = next(item["others"] for item in document["items"] if item["index"] == 1)
    assert (other["by"], other["verdict"], other["reason"]) == ("ben", "rejected", "the hand")


def test_a_full_disk_is_told_and_nothing_is_half_written(caller: Caller, folder: BatchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr("lifeos.files.os.fsync", full)
        reply = caller.ask("/api/decide", [{"name": NAMES[2], "verdict": "approved"}])
    assert (reply.status, reply.json["error"]["why"]) == (507, "No space left on device")
    assert written(folder) == []


def test_only_loopback_is_listened_on(desk: ReviewDesk) -> None:
    from tools.reviewing.carrying import Carrier
    from tools.reviewing.review_server import ReviewServer

    with ReviewServer(desk, Carrier(desk.batch.folder, Path(), print), port=0, token=TOKEN) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_the_pages_ask_nobody_else() -> None:
    from tools.reviewing.review_server import PAGES

    for path in (each for each in PAGES.iterdir() if each.is_file()):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        assert "//" not in text.replace("/*", "").replace("// ", "") or "http" not in text, path
        assert "innerHTML" not in text and "eval(" not in text, path


def wait_until(holds: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_the_document_is_json_whatever_the_prompts_hold(tmp_path: Path) -> None:
    nasty = '</script><script>alert(1)</script> \u2028 \ud800 "'
    folder = make_reviewed(tmp_path, prompts=(nasty, "park"))
    with serving(make_desk(folder)) as caller:
        reply = caller.ask("/api/batch")
    assert json.loads(reply.body)["items"][0]["prompt"] and reply.headers["Content-Type"] == "application/json"
