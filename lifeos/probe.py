"""What works inside an environment: imports the packages that break quietly and reads which onnxruntime provider really runs.

Run by the launcher with the environment's own Python: `python -m lifeos.probe` prints one JSON document.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import warnings
from typing import Any

PACKAGES = {
    "numpy": "numpy",
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "onnxruntime": "onnxruntime",
    "requests": "requests",
    "websocket": "websocket-client",
}
"""Import name -> distribution."""

EXTRA = {"dlib": "dlib-bin", "c2pa": "c2pa-python"}
"""The same for what `setup --dlib` and `--publish` add: it need not be there, but what is there must work."""

FOUND_ONLY = ("insightface", "skimage", "matplotlib", "aiohttp", "jinja2")
"""Slow to import (or, without pkg_resources, not importable): that they are there is enough."""


def probe() -> dict[str, Any]:
    """`versions` by distribution, `broken` with the reason, `providers` offered, `provider` that ran a model just now."""
    warnings.simplefilter("ignore")
    versions: dict[str, str] = {}
    broken: dict[str, str] = {}
    present = {module: name for module, name in EXTRA.items() if importlib.util.find_spec(module)}
    for module, distribution in (PACKAGES | present).items():
        try:
            importlib.import_module(module)
            versions[distribution] = importlib.metadata.version(distribution)
        except (ImportError, OSError, AttributeError) as error:
            broken[distribution] = str(error) or type(error).__name__
    broken |= {module: "not installed" for module in FOUND_ONLY if importlib.util.find_spec(module) is None}
    document: dict[str, Any] = {"versions": versions, "broken": broken, "providers": [], "provider": None}
    if "onnxruntime" in versions:
        document |= _probe_onnxruntime()
    return document


def _probe_onnxruntime() -> dict[str, Any]:
    """Offered providers say what was compiled in; only a session tells what runs: CUDA falls back to the CPU without a word."""
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()
    providers = list(onnxruntime.get_available_providers())
    wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in providers]
    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(_identity_model(), providers=wanted)
    return {"providers": providers, "provider": session.get_providers()[0]}


def _identity_model() -> bytes:
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(json.dumps(probe()))
