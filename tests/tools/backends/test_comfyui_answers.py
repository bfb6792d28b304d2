"""What a server says, read: ends from history entries, rejections, memory, and whether a picture's bytes are whole."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from lifeos import foreign
from tools.backends.backend import PictureRef, PromptEnd, ServerInfo
from tools.backends.comfyui_answers import HistoryEntry, PromptAnswer, Stats, read_end, read_rejection, read_server_info
from tools.backends.picture_bytes import find_damage

NO_PICTURE, A_SAVER = "ended without a picture: no node saved one", "end the workflow with a node that saves pictures, such as SaveImage"
START = ["execution_start", {"prompt_id": "p", "timestamp": 1_000}]
SUCCESS = ["execution_success", {"prompt_id": "p", "timestamp": 9_500}]


def entry(
    *messages: Any, status: str = "success", outputs: dict[str, Any] | None = None, wanted: tuple[str, ...] = ("9",)
) -> dict[str, Any]:
    return {
        "prompt": [0, "p", {}, {}, list(wanted)],
        "outputs": outputs or {},
        "status": {"status_str": status, "messages": list(messages)},
    }


def saved(*names: str, kind: str = "output") -> dict[str, Any]:
    return {"images": [{"filename": name, "subfolder": "lab", "type": kind} for name in names]}


def failed(kind: str, text: str) -> Any:
    data = {"node_id": "3", "node_type": "KSampler", "exception_type": kind, "exception_message": text, "timestamp": 3_000}
    return entry(START, ["execution_error", data], status="error")


def read(history: dict[str, Any]) -> PromptEnd:
    return read_end("p", foreign.convert(history, HistoryEntry, "history"))


@pytest.mark.parametrize(
    ("history", "outcome"),
    [
        pytest.param(
            entry(START, SUCCESS, outputs={"9": saved("a.png", "b.png")}),
            PromptEnd("p", "done", (PictureRef("a.png", "lab", "output", "9"), PictureRef("b.png", "lab", "output", "9")), seconds=8.5),
            id="done",
        ),
        pytest.param(
            entry(START, SUCCESS, outputs={"8": saved("preview.png", kind="temp"), "9": saved("a.png")}),
            PromptEnd("p", "done", (PictureRef("a.png", "lab", "output", "9"),), seconds=8.5),
            id="previews do not count where something was saved",
        ),
        pytest.param(
            entry(START, SUCCESS, outputs={"8": saved("preview.png", kind="temp")}),
            PromptEnd("p", "done", (PictureRef("preview.png", "lab", "temp", "8"),), seconds=8.5),
            id="only previews",
        ),
        pytest.param(
            entry(START, ["execution_cached", {"nodes": ["3", "9"], "timestamp": 1_000}], SUCCESS),
            PromptEnd("p", "failed", message="served from the server's cache, without a new picture", can_heal=True, seconds=8.5),
            id="cached, and no picture named",
        ),
        pytest.param(
            entry(START, SUCCESS, outputs={"9": {"text": ["hello"]}}),
            PromptEnd("p", "failed", message=NO_PICTURE, seconds=8.5, is_set_up=True, fix=A_SAVER),
            id="no picture at all",
        ),
        pytest.param(
            entry(START, ["execution_interrupted", {"node_id": "3", "node_type": "KSampler", "timestamp": 2_000}], status="error"),
            PromptEnd("p", "interrupted", node="3 (KSampler)", message="interrupted at the server", can_heal=True, seconds=1.0),
            id="interrupted, which the history calls an error",
        ),
        pytest.param(
            failed("torch.OutOfMemoryError", "Allocation on device \n"),
            PromptEnd("p", "failed", (), "3 (KSampler)", "torch.OutOfMemoryError: Allocation on device", True, True, 2.0),
            id="out of memory by its type",
        ),
        pytest.param(
            failed("RuntimeError", "CUDA error: out of memory"),
            PromptEnd("p", "failed", (), "3 (KSampler)", "RuntimeError: CUDA error: out of memory", True, True, 2.0),
            id="out of memory by its words",
        ),
        pytest.param(
            failed("ValueError", "shapes do not match"),
            PromptEnd("p", "failed", (), "3 (KSampler)", "ValueError: shapes do not match", False, False, 2.0),
            id="repeats itself",
        ),
        pytest.param(
            failed("requests.exceptions.ConnectionError", "x"),
            PromptEnd("p", "failed", (), "3 (KSampler)", "requests.exceptions.ConnectionError: x", False, True, 2.0),
            id="passes",
        ),
        pytest.param(entry(status="error"), PromptEnd("p", "failed", message="the server gave no reason"), id="error without a message"),
        pytest.param({}, PromptEnd("p", "failed", message=NO_PICTURE, is_set_up=True, fix=A_SAVER), id="an entry of an old version"),
    ],
)
def test_ends(history: dict[str, Any], outcome: PromptEnd) -> None:
    assert read(history) == outcome


def test_long_messages_are_cut() -> None:
    assert len(read(failed("ValueError", "x" * 100_000)).message) == 400


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(
            {"error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": ""}},
            "Prompt has no outputs",
            id="error alone",
        ),
        pytest.param(
            {"error": {"type": "invalid_prompt", "message": "node X does not exist.", "details": "Node ID '#3'"}, "node_errors": {}},
            "node X does not exist. Node ID '#3' (install the missing custom node on the server)",
            id="unknown class",
        ),
        pytest.param({"error": "refused"}, "refused", id="plain text"),
        pytest.param({}, "no reason given", id="nothing"),
    ],
)
def test_rejections_of_the_whole_graph(body: dict[str, Any], told: str) -> None:
    assert (
        str(read_rejection("http://pod", foreign.convert(body, PromptAnswer, "answer"))) == f"http://pod: the prompt was rejected: {told}"
    )


def test_missing_class_is_told_with_its_node() -> None:
    """ComfyUI 0.33 names the node's title, which may say nothing, and the class only beside it."""
    extra = {"node_id": "57:3", "class_type": "NoSuchSampler", "node_title": "My sampler"}
    error = {"type": "missing_node_type", "message": "Node 'My sampler' not found.", "details": "Node ID '#57:3'", "extra_info": extra}
    rejection = read_rejection("http://pod", foreign.convert({"error": error, "node_errors": {}}, PromptAnswer, "answer"))
    assert rejection.node == "57:3 (NoSuchSampler)"
    assert rejection.fix == "install the missing custom node on the server"


def test_memory_that_the_server_itself_holds_is_usable() -> None:
    """8 of 24 GiB are free; of the 14 that it reserved it uses 12, which it lets go for the next prompt: 8 + 12."""
    gib = 1 << 30
    gpu = {"type": "cuda", "name": "RTX 4090", "vram_total": 24 * gib, "vram_free": 8 * gib}
    gpu |= {"torch_vram_total": 14 * gib, "torch_vram_free": 2 * gib}
    stats = {"system": {"comfyui_version": "0.8.0"}, "devices": [{"type": "cpu", "name": "cpu", "vram_free": 1}, gpu]}
    assert read_server_info("u", foreign.convert(stats, Stats, "stats")) == ServerInfo("u", "0.8.0", "RTX 4090", 24 * gib, 20 * gib)
    unknown = ServerInfo("u", "unknown version", "unknown device", None, None)
    assert read_server_info("u", foreign.convert({"system": {}}, Stats, "stats")) == unknown


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"])
def test_whole_pictures_are_whole_and_cut_ones_are_not(kind: str) -> None:
    data = encoded(kind)
    assert find_damage(data) is None
    last = len(data) - (30 if kind == "GIF" else 1)  # without its last bytes all the pixels of a GIF are there
    assert all(find_damage(data[:length]) for length in (0, 1, 20, len(data) // 2, last))


def test_one_flipped_byte_of_a_png_is_noticed() -> None:
    data = bytearray(encoded("PNG"))
    data[len(data) // 2] ^= 1
    assert find_damage(bytes(data)) == "a PNG with a damaged chunk"


@pytest.mark.parametrize("data", [b"<html>502 Bad Gateway</html>", b"RIFF\0\0\0\0WAVE", b"{}"], ids=["web page", "sound", "json"])
def test_what_is_no_picture(data: bytes) -> None:
    assert find_damage(data) == "not a PNG, JPEG, WebP, AVIF, TIFF, GIF or BMP picture"
