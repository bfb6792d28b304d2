"""Text from outside on its way into a terminal, Markdown, HTML or CSV: one escaping function for each.

File names, prompts, notes, server answers and LoRA headers are data. Each is escaped once, at the edge where it is written, and nowhere
before. JSON needs no function here: its own writer escapes, and `cli.print_json` covers what a terminal would still act on.
"""

from __future__ import annotations

import html
import re

MARKDOWN_MARKS = re.compile(r"[\\`*\[\]|#~$]|^>|^[-+](?=\s)|^[0-9]+(?=[.)]\s)|(?<!\w)_|_(?!\w)")
"""An underscore within a word is literal (CommonMark, 6.2): in `model_v3.safetensors` a backslash would only be in the way."""
FORMULA_START = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What makes a spreadsheet take a cell for a formula (OWASP, CSV injection)."""
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""C0 and C1 control characters but for tab and line ends, and lone surrogates (bytes of a file name that are not UTF-8)."""
CELL_ENDS = re.compile(r"([;\t\r\n][\s\"]*)(?=[=+\-@＝＋－＠])")
"""Where a spreadsheet that separates by another sign than the comma begins a cell of its own."""


def escape_line(text: object) -> str:
    """`text` on one line of a terminal: line ends, control characters, direction marks and undecodable bytes are shown as escapes."""
    return "".join(char if char.isprintable() else _shown(char) for char in str(text))


def escape_terminal(text: object) -> str:
    """`text` of several lines for a terminal: as `escape_line`, but line ends and tabs stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else _shown(char) for char in str(text))


def escape_markdown(text: object) -> str:
    """Text that Markdown, and the HTML within it, takes literally; on one line, so that it can stand in a table.

    Control characters are gone or shown: a report is also read by `cat`.
    """
    flat = escape_line(" ".join(str(text).split()))
    backslashed = MARKDOWN_MARKS.sub(lambda mark: f"{mark[0]}\\" if mark[0].isdigit() else f"\\{mark[0]}", flat)
    return backslashed.replace("&", "&amp;").replace("<", "&lt;")


def escape_markdown_code(text: object) -> str:
    """Text for between single backticks, in a table too: nothing can be escaped there, so what would end it is replaced."""
    return escape_line(" ".join(str(text).split())).replace("`", "'").replace("|", "¦")


def escape_html(text: object) -> str:
    """Text for an HTML element or a quoted attribute. Undecodable bytes are shown, since no HTML file can hold them."""
    return html.escape(_show_controls(str(text)), quote=True)


def escape_csv(value: object) -> object:
    """A cell that every spreadsheet takes for text: numbers stay, `None` is empty, and nothing in a text becomes a formula.

    An apostrophe goes before what would begin a formula, also behind a `;`, a tab or a line end: a spreadsheet whose language
    separates by semicolons would begin a new cell there. Quoting is left to the `csv` module, but for carriage returns, which are
    shown: it does not quote a field for one, and readers end the line there.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = CELL_ENDS.sub(r"\1'", _show_controls(value)).replace("\r", "\\r")
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_START) else text


def _show_controls(text: str) -> str:
    return CONTROLS.sub(lambda char: _shown(char[0]), text)


def _shown(char: str) -> str:
    """`\\x1b`, `\\n`, `\\u202e`; a byte that was not UTF-8 as that byte, `\\xff`."""
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()
