"""The embedded server's HTTP answers. The expected shapes were recorded from ComfyUI 0.8.0 and compared with real 0.3.64 and 0.33.0."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from lifeos.errors import InputError, UnavailableError
from tests.tools.stand_in.embedded_graphs import (
    Graph,
    changed,
    flat_graph,
    get,
    images_of,
    new_id,
    portrait_graph,
    post,
    queue,
    wait_for,
    wait_until_running,
)
from tools.stand_in import NOTICE, start_embedded_server
from tools.stand_in.server import EmbeddedServer

TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with start_embedded_server() as started:
        yield started


@pytest.fixture(scope="module")
def older() -> Iterator[EmbeddedServer]:
    """The server before it cancelled jobs, wanted canonical ids and explained its refusals."""
    with start_embedded_server(version="0.8.0") as started:
        yield started


def without(graph: Graph, node: str, name: str) -> Graph:
    del graph[node]["inputs"][name]
    return graph


def fault(kind: str, message: str, details: str, **extra: Any) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


FAILED = "prompt_outputs_failed_validation"
WIDTH = ["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}]
LORAS = [
    "amiranoor_v2.safetensors",
    *[f"amiranoor_v3-step{step:04}.safetensors" for step in range(500, 3000, 500)],
    "amiranoor_v3.safetensors",
]


@pytest.mark.parametrize(
    ("graph", "node", "expected"),
    [
        pytest.param(
            changed(portrait_graph(), "10", lora_name="nope.safetensors"),
            "10",
            fault(
                "value_not_in_list",
                "Value not in list",
                f"lora_name: 'nope.safetensors' not in {LORAS}",
                input_name="lora_name",
                input_config=[LORAS, {}],
                received_value="nope.safetensors",
            ),
            id="LoRA that is not there",
        ),
        pytest.param(
            changed(portrait_graph(), "3", sampler_name="eulerr"),
            "3",
            fault(
                "value_not_in_list",
                "Value not in list",
                "sampler_name: 'eulerr' not in (list of length 44)",
                input_name="sampler_name",
                input_config=None,
                received_value="eulerr",
            ),
            id="a long list is not sent",
        ),
        pytest.param(
            without(flat_graph(), "1", "width"),
            "1",
            fault("required_input_missing", "Required input is missing", "width", input_name="width"),
            id="missing input",
        ),
        pytest.param(
            flat_graph(width="abc"),
            "1",
            fault(
                "invalid_input_type",
                "Failed to convert an input value to a INT value",
                "width, abc, invalid literal for int() with base 10: 'abc'",
                input_name="width",
                input_config=WIDTH,
                received_value="abc",
                exception_message="invalid literal for int() with base 10: 'abc'",
            ),
            id="not a number",
        ),
        pytest.param(
            flat_graph(width=0),
            "1",
            fault(
                "value_smaller_than_min", "Value 0 smaller than min of 1", "width", input_name="width", input_config=WIDTH, received_value=0
            ),
            id="too small",
        ),
        pytest.param(
            flat_graph(width=16385),
            "1",
            fault(
                "value_bigger_than_max",
                "Value 16385 bigger than max of 16384",
                "width",
                input_name="width",
                input_config=WIDTH,
                received_value=16385,
            ),
            id="too large",
        ),
        pytest.param(
            changed(flat_graph(), "2", images=["1"]),
            "2",
            fault(
                "bad_linked_input",
                "Bad linked input, must be a length-2 list of [node_id, slot_index]",
                "images",
                input_name="images",
                input_config=["IMAGE", {}],
                received_value=["1"],
            ),
            id="half a link",
        ),
        pytest.param(
            changed(flat_graph(), "2", images=["9", 0]),
            "2",
            fault("exception_during_validation", "Exception when validating node", "'9'", exception_type="KeyError", traceback=[]),
            id="link to nowhere",
        ),
    ],
)
def test_invalid_input_is_told_as_comfyui_tells_it(server: EmbeddedServer, graph: Graph, node: str, expected: dict[str, Any]) -> None:
    response = post(server, graph)
    assert response.status_code == 400
    body = response.json()
    assert (body["error"]["type"], body["error"]["message"]) == (FAILED, "Prompt outputs failed validation")
    output = "9" if "9" in graph else "2"
    assert body["node_errors"] == {node: {"errors": [expected], "dependent_outputs": [output], "class_type": graph[node]["class_type"]}}
    # the reason is at the top only where the output itself is at fault
    assert body["error"]["details"] == (f"{expected['message']}: {expected['details']}" if node == output else "")


def test_every_bad_node_is_named(server: EmbeddedServer) -> None:
    graph = changed(changed(portrait_graph(), "4", ckpt_name="a"), "10", lora_name="b")
    assert sorted(post(server, graph).json()["node_errors"]) == ["10", "4"]


def missing(title: str | None, class_type: str | None) -> dict[str, Any]:
    return {"node_id": "3", "class_type": class_type, "node_title": title}


NOT_FOUND = "not found. The custom node may not be installed."


@pytest.mark.parametrize(
    ("graph", "kind", "message", "details", "extra"),
    [
        pytest.param(
            {**flat_graph(), "3": {"class_type": "NoSuchSampler", "inputs": {}}},
            "missing_node_type",
            f"Node 'NoSuchSampler' {NOT_FOUND}",
            "Node ID '#3'",
            missing("NoSuchSampler", "NoSuchSampler"),
            id="unknown class",
        ),
        pytest.param(
            {**flat_graph(), "3": {"class_type": "NoSuchSampler", "inputs": {}, "_meta": {"title": "My sampler"}}},
            "missing_node_type",
            f"Node 'My sampler' {NOT_FOUND}",
            "Node ID '#3'",
            missing("My sampler", "NoSuchSampler"),
            id="unknown class with a title",
        ),
        pytest.param(
            {**flat_graph(), "3": {"class_type": None, "inputs": {}, "_meta": {"title": None}}},
            "missing_node_type",
            f"Node 'None' {NOT_FOUND}",
            "Node ID '#3'",
            missing(None, None),
            id="a class that the exporting page did not know",
        ),
        pytest.param(
            {"3": {"inputs": {}}},
            "missing_node_type",
            "Node 'ID #3' has no class_type. The workflow may be corrupted or a custom node is missing.",
            "Node ID '#3'",
            missing(None, None),
            id="no class",
        ),
        pytest.param({"1": flat_graph()["1"]}, "prompt_no_outputs", "Prompt has no outputs", "", {}, id="nothing saved"),
        pytest.param({}, "prompt_no_outputs", "Prompt has no outputs", "", {}, id="empty graph"),
    ],
)
def test_graph_that_cannot_run(server: EmbeddedServer, graph: Graph, kind: str, message: str, details: str, extra: dict[str, Any]) -> None:
    response = post(server, graph)
    assert response.status_code == 400
    assert response.json() == {"error": {"type": kind, "message": message, "details": details, "extra_info": extra}, "node_errors": {}}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"class_type": "NoSuchSampler", "inputs": {}}, "Cannot execute because node NoSuchSampler does not exist."),
        ({"inputs": {}}, "Cannot execute because a node is missing the class_type property."),
    ],
)
def test_missing_class_was_told_otherwise_before(older: EmbeddedServer, node: dict[str, Any], message: str) -> None:
    error = {"type": "invalid_prompt", "message": message, "details": "Node ID '#3'", "extra_info": {}}
    assert post(older, {**flat_graph(), "3": node}).json() == {"error": error, "node_errors": {}}


LOOP = {
    "1": {
        "class_type": "ImageScale",
        "inputs": {"image": ["3", 0], "upscale_method": "area", "width": 64, "height": 64, "crop": "disabled"},
    },
    "3": {
        "class_type": "ImageScale",
        "inputs": {"image": ["1", 0], "upscale_method": "area", "width": 64, "height": 64, "crop": "disabled"},
    },
    "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["1", 0]}},
}


def test_loop_is_named(server: EmbeddedServer) -> None:
    body = post(server, LOOP).json()
    assert (body["error"]["type"], sorted(body["node_errors"])) == (FAILED, ["1", "3"])
    way = "1 (ImageScale) -> 3 (ImageScale) -> 1 (ImageScale)"
    expected = fault("dependency_cycle", "Dependency cycle detected", way, node_id="3", cycle_nodes=["1", "3"])
    assert body["node_errors"]["3"]["errors"] == [expected]


def test_loop_was_refused_without_a_reason_before(older: EmbeddedServer) -> None:
    body = post(older, LOOP).json()
    assert (body["error"]["type"], body["error"]["details"], body["node_errors"]) == (FAILED, "", {})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{not json", id="no JSON"),
        pytest.param(b"", id="empty"),
        pytest.param(b'{"prompt": {"last_node_id": 9, "nodes": [{"id": 1}], "links": []}}', id="UI-format workflow"),
        pytest.param(json.dumps({"prompt": flat_graph(), "extra_data": None}).encode(), id="extra_data null"),
    ],
)
def test_hopeless_body_gets_a_bare_500(server: EmbeddedServer, body: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    response = requests.post(f"{server.url}/prompt", data=body, headers={"Content-Type": "application/json"}, timeout=10)
    assert (response.status_code, response.text, response.headers["Content-Type"]) == (500, TROUBLE, "text/plain; charset=utf-8")
    assert capfd.readouterr().err == ""


def test_body_without_prompt(server: EmbeddedServer) -> None:
    response = requests.post(f"{server.url}/prompt", json={}, timeout=10)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "no_prompt")


def test_bad_output_beside_a_good_one_is_dropped_with_200(server: EmbeddedServer) -> None:
    graph = flat_graph(color=0x0F0F0F)
    graph["5"] = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    graph["20"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "bad", "images": ["5", 0]}}
    body = post(server, graph).json()
    expected = fault(
        "return_type_mismatch",
        "Return type mismatch between linked nodes",
        "images, received_type(LATENT) mismatch input_type(IMAGE)",
        input_name="images",
        input_config=["IMAGE", {}],
        received_type="LATENT",
        linked_node=["5", 0],
    )
    assert body["node_errors"] == {"20": {"errors": [expected], "dependent_outputs": ["20"], "class_type": "SaveImage"}}
    assert list(wait_for(server, body["prompt_id"])["outputs"]) == ["2"]


def test_values_are_coerced_and_sizes_rounded_down(server: EmbeddedServer) -> None:
    prompt_id = queue(server, changed(portrait_graph(seed=5), "5", width=100.9, height="100"))
    entry = wait_for(server, prompt_id)
    assert entry["prompt"][2]["5"]["inputs"] == {"width": 100, "height": 100, "batch_size": 1}
    path = server.output_dir / "test" / images_of(entry, "9")[0]
    with Image.open(path) as image:
        assert image.size == (96, 96)  # whole latent pixels of 8


def test_unknown_input_names_are_accepted_and_kept(server: EmbeddedServer) -> None:
    entry = wait_for(server, queue(server, flat_graph(color=77, bogus=5)))
    assert entry["prompt"][2]["1"]["inputs"]["bogus"] == 5


def test_client_may_choose_the_prompt_id(server: EmbeddedServer) -> None:
    chosen = new_id()
    body = post(server, flat_graph(color=78), prompt_id=chosen).json()
    assert set(body) == {"prompt_id", "number", "node_errors"}
    assert (body["prompt_id"], body["node_errors"]) == (chosen, {})
    assert queue(server, flat_graph(color=79), prompt_id=None) not in ("None", chosen)


@pytest.mark.parametrize("odd", ["", "mine", 7, ["x"], "6F794C3C-5DBF-45E1-ADEE-8A5E2DDE45AA", "6f794c3c5dbf45e1adee8a5e2dde45aa"])
def test_prompt_id_in_another_form_is_refused(server: EmbeddedServer, odd: object) -> None:
    """It is compared as text everywhere: another spelling would never be found again."""
    response = post(server, flat_graph(color=79), prompt_id=odd)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_prompt_id")


def test_any_prompt_id_was_taken_before(older: EmbeddedServer) -> None:
    assert queue(older, flat_graph(color=79), prompt_id=None) == "None"
    assert queue(older, flat_graph(color=79), prompt_id="mine") == "mine"


def test_history_entry_has_comfyuis_shape(server: EmbeddedServer) -> None:
    graph = flat_graph(color=80, prefix="shape/one")
    prompt_id = queue(server, graph, client_id="someone", extra_data={"custom": 1})
    entry = wait_for(server, prompt_id)
    assert set(entry) == {"prompt", "outputs", "status", "meta"}
    number, told_id, told_graph, extra_data, outputs = entry["prompt"]
    assert isinstance(number, int)
    assert (told_id, told_graph, outputs) == (prompt_id, graph, ["2"])
    assert {key: value for key, value in extra_data.items() if key != "create_time"} == {"custom": 1, "client_id": "someone"}
    assert entry["outputs"] == {"2": {"images": [{"filename": "one_00001_.png", "subfolder": "shape", "type": "output"}]}}
    assert entry["meta"] == {"2": {"node_id": "2", "display_node": "2", "parent_node": None, "real_node_id": "2"}}
    assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("success", True)
    assert [kind for kind, _ in entry["status"]["messages"]] == ["execution_start", "execution_cached", "execution_success"]


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        pytest.param("count/a", ["a_00001_.png", "a_00002_.png", "a_00003_.png", "a_00004_.png"], id="goes on"),
        pytest.param("count/b/", ["b_00001_.png", "b_00002_.png", "b_00001_.png", "b_00002_.png"], id="slash at the end overwrites"),
        pytest.param("", ["._00001_.png", "._00002_.png", "._00001_.png", "._00002_.png"], id="empty overwrites"),
        pytest.param(
            "count/%date%_%width%x%height%",
            [f"%date%_64x64_{number:05}_.png" for number in range(1, 5)],
            id="only sizes and times are filled in",
        ),
        pytest.param("count/c%batch_num%", ["c0_00001_.png", "c1_00002_.png", "c0_00001_.png", "c1_00002_.png"], id="place in the batch"),
    ],
)
def test_file_names(server: EmbeddedServer, prefix: str, names: list[str]) -> None:
    found = []
    for color in (200, 201):
        found += images_of(wait_for(server, queue(server, flat_graph(color, prefix, batch_size=2))), "2")
    assert found == names


def test_counter_goes_on_from_the_highest_number_there(server: EmbeddedServer) -> None:
    for color in (210, 211):
        wait_for(server, queue(server, flat_graph(color, "gap/g")))
    (server.output_dir / "gap" / "g_00001_.png").unlink()
    (server.output_dir / "gap" / "g_00040_.png").touch()
    (server.output_dir / "gap" / "gg_00099_.png").touch()  # another prefix
    assert images_of(wait_for(server, queue(server, flat_graph(212, "gap/g"))), "2") == ["g_00041_.png"]


def test_saving_outside_the_output_folder_fails_the_prompt(server: EmbeddedServer) -> None:
    entry = wait_for(server, queue(server, flat_graph(color=81, prefix="../../evil")))
    kind, data = entry["status"]["messages"][-1]
    assert (kind, data["node_type"], data["exception_type"]) == ("execution_error", "SaveImage", "Exception")
    assert data["exception_message"] == "Saving image outside the output folder is not allowed.\n"
    assert not list(server.store.root.parent.glob("evil*"))


def test_png_holds_prompt_workflow_and_notice(server: EmbeddedServer) -> None:
    graph = flat_graph(color=0x102030, prefix="chunks/c")
    pnginfo = {"workflow": {"id": "wf-1"}, "my_job": {"päth": "ü"}}
    wait_for(server, queue(server, graph, extra_data={"extra_pnginfo": pnginfo}))
    where = {"filename": "c_00001_.png", "subfolder": "chunks", "type": "output"}
    response = get(server, "/view", **where)
    assert (response.headers["Content-Type"], response.headers["Content-Disposition"]) == ("image/png", 'filename="c_00001_.png"')
    with Image.open(io.BytesIO(response.content)) as image:
        texts = dict(image.text)
        assert image.convert("RGB").getpixel((5, 5)) == (0x10, 0x20, 0x30)
    assert texts.pop("rendered_by") == NOTICE
    assert {key: json.loads(text) for key, text in texts.items()} == {"prompt": graph, **pnginfo}
    with Image.open(io.BytesIO(get(server, "/view", **where, channel="rgb").content)) as image:
        assert (image.format, image.text) == ("PNG", {})


@pytest.mark.parametrize(
    ("params", "format", "kind"),
    [
        pytest.param({"preview": "webp;50"}, "WEBP", "image/webp", id="webp"),
        pytest.param({"preview": "jpeg"}, "JPEG", "image/jpeg", id="jpeg"),
        pytest.param({"preview": "gif"}, "WEBP", "image/webp", id="unknown format"),
        pytest.param({"channel": "a"}, "PNG", "image/png", id="alpha"),
    ],
)
def test_view_conversions(server: EmbeddedServer, params: dict[str, str], format: str, kind: str) -> None:
    wait_for(server, queue(server, flat_graph(color=82, prefix="convert/v")))
    response = get(server, "/view", filename="v_00001_.png", subfolder="convert", **params)
    with Image.open(io.BytesIO(response.content)) as image:
        assert (image.format, response.headers["Content-Type"]) == (format, kind)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("filename=../../../../etc/passwd&type=output", 400),
        ("filename=/etc/passwd", 400),
        ("filename=passwd&subfolder=../../../../../etc&type=output", 403),
        ("filename=passwd&subfolder=/etc", 403),
        ("filename=", 400),
        ("", 404),
        ("filename=x.png&type=bogus", 400),
        ("filename=nope_00001_.png&subfolder=lab&type=output", 404),
    ],
)
def test_view_refuses(server: EmbeddedServer, query: str, status: int) -> None:
    response = requests.get(f"{server.url}/view?{query}", timeout=10)
    assert (response.status_code, response.content) == (status, b"")


def test_upload(server: EmbeddedServer) -> None:
    def upload(name: str, data: bytes, **fields: str) -> requests.Response:
        return requests.post(f"{server.url}/upload/image", files={"image": (name, data)}, data=fields, timeout=10)

    assert upload("a b.png", b"one").json() == {"name": "a b.png", "subfolder": "", "type": "input"}
    assert upload("a b.png", b"one").json()["name"] == "a b.png"
    assert upload("a b.png", b"two").json()["name"] == "a b (1).png"
    assert upload("a b.png", b"three").json()["name"] == "a b (2).png"
    assert upload("a b.png", b"four", overwrite="true").json()["name"] == "a b.png"
    assert get(server, "/view", filename="a b.png", type="input").content == b"four"
    assert upload("../../x.png", b"x").status_code == 400
    assert upload("x.png", b"x", subfolder="../../..").status_code == 400
    assert requests.post(f"{server.url}/upload/image", files={"other": ("a.png", b"x")}, timeout=10).status_code == 400


def test_uploaded_picture_can_be_loaded(server: EmbeddedServer) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (9, 8, 7)).save(buffer, "PNG")
    requests.post(f"{server.url}/upload/image", files={"image": ("mine.png", buffer.getvalue())}, timeout=10).raise_for_status()
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "mine.png"}}, "2": flat_graph(prefix="loaded/l")["2"]}
    wait_for(server, queue(server, graph))
    with Image.open(server.output_dir / "loaded" / "l_00001_.png") as image:
        assert (image.size, image.convert("RGB").getpixel((0, 0))) == ((24, 16), (9, 8, 7))


def test_models_and_object_info(server: EmbeddedServer) -> None:
    assert get(server, "/models/loras").json() == LORAS
    assert "embedded_demo_sdxl.safetensors" in get(server, "/models/checkpoints").json()
    assert get(server, "/models/nosuchfolder").status_code == 404
    assert {"checkpoints", "loras", "vae"} <= set(get(server, "/models").json())
    lora = get(server, "/object_info/LoraLoader").json()["LoraLoader"]
    assert lora["input_order"] == {"required": ["model", "clip", "lora_name", "strength_model", "strength_clip"]}
    assert lora["input"]["required"]["lora_name"] == [LORAS, {}]
    assert (lora["output"], lora["output_node"], lora["python_module"]) == (["MODEL", "CLIP"], False, "nodes")
    assert get(server, "/object_info/NoSuch").json() == {}
    assert {"KSampler", "SaveImage", "LoraLoader"} <= set(get(server, "/object_info").json())


def test_new_models_are_seen_at_once(embedded_server: Callable[..., EmbeddedServer]) -> None:
    server = embedded_server(models={"checkpoints": ["embedded_demo_sdxl.safetensors"], "loras": []})
    graph = portrait_graph(lora="late.safetensors")
    assert post(server, graph).status_code == 400
    server.add_model("loras", "late.safetensors")
    assert post(server, graph).status_code == 200


def test_server_says_what_it_is(server: EmbeddedServer) -> None:
    stats = get(server, "/system_stats").json()
    assert (stats["system"]["notice"], stats["system"]["comfyui_version"]) == (NOTICE, "0.33.0")
    assert stats["devices"][0]["type"] == "cpu"
    assert server.notice == NOTICE
    assert "NASA" in NOTICE


def test_each_route_also_under_api(server: EmbeddedServer) -> None:
    for path in ("/queue", "/history", "/prompt", "/models", "/system_stats", "/features", "/object_info/SaveImage", "/history/x"):
        assert get(server, f"/api{path}").json() == get(server, path).json()


def test_foreign_web_pages_are_refused(server: EmbeddedServer) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert requests.get(f"{server.url}/queue", headers=headers, timeout=10).status_code == 403
    assert requests.get(f"{server.url}/queue", headers={"Origin": server.url}, timeout=10).status_code == 200


def test_jobs_tell_every_state(embedded_server: Callable[..., EmbeddedServer]) -> None:
    server = embedded_server(seconds_per_picture=30)
    done = queue(server, flat_graph(color=5, prefix="job/j"))
    wait_for(server, done)
    running, waiting = queue(server, portrait_graph()), queue(server, flat_graph(color=6))
    wait_until_running(server, running)
    assert get(server, "/api/jobs/no-such").json() == {"error": "Job not found"}
    job = get(server, f"/api/jobs/{done}").json()
    output = {"filename": "j_00001_.png", "subfolder": "job", "type": "output"}
    assert (job["status"], job["outputs_count"], job["outputs"]) == ("completed", 1, {"2": {"images": [output]}})
    assert job["preview_output"] == {**output, "nodeId": "2", "mediaType": "images"}
    told = {"id", "status", "priority", "create_time", "outputs_count", "previewable_outputs_count"}
    assert set(get(server, f"/api/jobs/{waiting}").json()) == told
    listed = get(server, "/api/jobs", status="pending,in_progress").json()
    assert {job["id"]: job["status"] for job in listed["jobs"]} == {running: "in_progress", waiting: "pending"}
    page = get(server, "/api/jobs", limit="2").json()["pagination"]
    assert page == {"offset": 0, "limit": 2, "total": 3, "has_more": True}
    assert get(server, "/api/jobs", status="odd").status_code == 400
    requests.post(f"{server.url}/interrupt", json={"prompt_id": running}, timeout=10)
    wait_for(server, running)
    assert get(server, f"/api/jobs/{running}").json()["status"] == "cancelled"
    assert [job["id"] for job in get(server, "/api/jobs", status="cancelled").json()["jobs"]] == [running]


def cancel(server: EmbeddedServer, path: str, **body: Any) -> tuple[int, Any]:
    response = requests.post(f"{server.url}/api/jobs/{path}", json=body, timeout=10)
    return response.status_code, response.json()


def test_jobs_are_cancelled_by_id(embedded_server: Callable[..., EmbeddedServer]) -> None:
    server = embedded_server(seconds_per_picture=30)
    done = queue(server, flat_graph(color=5))
    wait_for(server, done)
    running, first, second, theirs = queue(server, portrait_graph()), *(queue(server, flat_graph(color=color)) for color in (6, 7, 8))
    wait_until_running(server, running)
    assert cancel(server, f"{first}/cancel") == (200, {"cancelled": True})
    assert cancel(server, f"{first}/cancel") == (200, {"cancelled": False})  # it has gone: no error
    assert cancel(server, f"{done}/cancel") == cancel(server, f"{new_id()}/cancel") == (200, {"cancelled": False})
    assert cancel(server, "cancel", job_ids=[done, second, running]) == (200, {"cancelled": True})
    assert wait_for(server, running)["status"]["messages"][-1][0] == "execution_interrupted"
    assert wait_for(server, theirs)["status"]["completed"]
    assert get(server, f"/api/jobs/{second}").status_code == 404


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param({}, {"error": "job_ids must be a list"}, id="none"),
        pytest.param({"job_ids": "x"}, {"error": "job_ids must be a list"}, id="a text"),
        pytest.param(
            {"job_ids": ["mine", {"a": 1}]}, {"error": "job_ids contains invalid id(s)", "invalid_ids": ["mine", "{'a': 1}"]}, id="odd ids"
        ),
    ],
)
def test_odd_cancel_is_refused(server: EmbeddedServer, body: dict[str, Any], why: dict[str, Any]) -> None:
    assert cancel(server, "cancel", **body) == (400, why)


def test_jobs_could_not_be_cancelled_before(older: EmbeddedServer) -> None:
    done = queue(older, flat_graph(color=90))
    wait_for(older, done)
    assert "previewable_outputs_count" not in get(older, f"/api/jobs/{done}").json()
    for path in ("cancel", f"{done}/cancel"):
        assert requests.post(f"{older.url}/api/jobs/{path}", json={"job_ids": [done]}, timeout=10).status_code in (404, 405)


def test_savers_pass_their_pictures_on(server: EmbeddedServer, older: EmbeddedServer) -> None:
    told = get(server, "/object_info/SaveImage").json()["SaveImage"]
    assert (told["output"], told["output_name"], told["output_node"]) == (["IMAGE"], ["images"], True)
    told = get(older, "/object_info/SaveImage").json()["SaveImage"]
    assert (told["output"], told["output_name"], told["output_node"]) == ([], [], True)
    graph = flat_graph(color=91) | {"3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}}
    assert set(wait_for(server, queue(server, graph))["outputs"]) == {"2", "3"}


def test_older_version(embedded_server: Callable[..., EmbeddedServer]) -> None:
    server = embedded_server(version="0.3.64")
    prompt_id = queue(server, flat_graph(color=7))
    assert "create_time" not in wait_for(server, prompt_id)["prompt"][3]
    assert get(server, f"/api/jobs/{prompt_id}").status_code == 404
    assert get(server, "/api/history/nope").json() == {}
    assert get(server, "/system_stats").json()["system"]["comfyui_version"] == "0.3.64"
    assert "extension" not in get(server, "/features").json()


def test_port_taken_and_unknown_version(server: EmbeddedServer, tmp_path: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}: the embedded server cannot listen there"):
        start_embedded_server(port=port, output_dir=tmp_path)
    with pytest.raises(InputError, match=r"use one of 0\.33\.0, 0\.8\.0, 0\.3\.64"):
        start_embedded_server(version="9")


def test_temporary_folder_goes_and_a_given_one_stays(tmp_path: Path) -> None:
    with start_embedded_server() as one, start_embedded_server(output_dir=tmp_path / "kept") as other:
        for server in (one, other):
            wait_for(server, queue(server, flat_graph()))
    assert not one.output_dir.exists()
    assert [path.name for path in (tmp_path / "kept" / "output" / "test").iterdir()] == ["flat_00001_.png"]
    one.stop()  # a second time
