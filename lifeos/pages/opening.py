"""A page in the browser of whoever asked for it; nothing where there is no screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lifeos.printing import note


def open_page(path: Path) -> None:
    """`--open`: show a page that was written, or say in a line where it is."""
    if not open_in_browser(path.resolve().as_uri()):
        note(f"no browser can be opened here; the page is {path.resolve()}")


def open_in_browser(address: str) -> bool:
    """Whether a browser took the address. One that would run in this terminal is not asked."""
    if not has_screen():
        return False
    import webbrowser

    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False


def has_screen() -> bool:
    """Whether a browser can show itself: by a display, or by the program that BROWSER names."""
    system: str = sys.platform  # as a text: for one system alone the other line would look as if nothing reached it
    return system in ("win32", "darwin") or any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))
