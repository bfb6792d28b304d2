"""A real browser for tests: headless Chromium, spoken to in the DevTools protocol over the WebSocket package that LifeOS has anyway."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

SECONDS = 30.0
NAMED_KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowRight": 39, "ArrowLeft": 37, "ArrowUp": 38, "ArrowDown": 40}


def find_chromium() -> str | None:
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


class Tab:
    """One page. `errors`: what went wrong in it; `requests`: every address that it asked for."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=SECONDS, suppress_origin=True)
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            self._note(message)
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return dict(message["result"])

    def _note(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(told["exceptionDetails"].get("exception", {}).get("description", told)))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "assert"):
                self.errors.append(str(told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    def go(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = SECONDS) -> Any:
        """Wait until an expression in the page is true, and return its value."""
        end = time.monotonic() + seconds
        while True:
            found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
            value = found["result"].get("value") if "exceptionDetails" not in found else None
            if value:
                return value
            assert time.monotonic() < end, f"never true: {expression}; errors: {self.errors}"
            time.sleep(0.03)

    def press(self, *keys: str) -> None:
        """Press keys one after the other: letters, or names such as `Enter`."""
        for key in keys:
            told: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": NAMED_KEYS.get(key, ord(key[0].upper()))}
            if key == "Enter":
                told["text"] = "\r"
            elif len(key) == 1:
                told["text"] = key
            self.call("Input.dispatchKeyEvent", type="keyDown", **told)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def tap(self, selector: str) -> None:
        """Touch the middle of the first element that fits."""
        box = self.ask(f"(b => [b.x + b.width / 2, b.y + b.height / 2])(document.querySelector({selector!r}).getBoundingClientRect())")
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": box[0], "y": box[1]}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def resize(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path: Path) -> None:
        """A screenshot, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """The page goes too: its process, its timers, and what it asks a server for."""
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self.call("Page.close")
        self._socket.close()


class Browser:
    """A running Chromium. `new_tab` opens a page that shares nothing with the others but its cookies."""

    def __init__(self, port: int) -> None:
        self._port = port

    def new_tab(self) -> Tab:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=SECONDS) as reply:
            return Tab(json.load(reply)["webSocketDebuggerUrl"])


@contextmanager
def running_chromium(folder: Path, executable: str) -> Iterator[Browser]:
    """`folder`: for its profile, which is new."""
    rootless = [] if hasattr(os, "geteuid") and os.geteuid() else ["--no-sandbox"]
    flags = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run", "--disable-gpu", *rootless]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--window-size=1280,860"]
    process = subprocess.Popen(
        [executable, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        told = folder / "DevToolsActivePort"
        _wait(lambda: told.is_file() and len(told.read_text(encoding="ascii").splitlines()) == 2)
        yield Browser(int(told.read_text(encoding="ascii").splitlines()[0]))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "Chromium did not start"
        time.sleep(0.05)
