"""Colour profiles of displays, built byte by byte."""

from __future__ import annotations

import struct

import numpy as np

D65_TO_D50 = np.array([[1.0478112, 0.0228866, -0.0501270], [0.0295424, 0.9904844, -0.0170491], [-0.0092345, 0.0150436, 0.7521316]])
"""Bradford."""
D65 = (0.3127, 0.3290)
PRIMARIES = {  # x, y of red, green, blue, and gamma
    "Display P3": (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), 2.4),
    "Adobe RGB (1998)": (((0.640, 0.330), (0.210, 0.710), (0.150, 0.060)), 2.19921875),
    "sRGB of gamma 2.2": (((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)), 2.2),
    "sRGB of gamma 1.8": (((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)), 1.8),
    "linear sRGB": (((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)), 1.0),
}


def matrix_of(name: str) -> np.ndarray:
    """Linear RGB to XYZ under D65 (Lindbloom, RGB/XYZ matrices)."""
    primaries = PRIMARIES[name][0]
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([D65[0] / D65[1], 1.0, (1 - D65[0] - D65[1]) / D65[1]])
    return np.asarray(columns * np.linalg.solve(columns, white))


def profile_of(name: str) -> bytes:
    """A display profile of version 2 with these primaries and one curve."""
    gamma = PRIMARIES[name][1]
    columns = D65_TO_D50 @ matrix_of(name)
    text = name.encode() + b"\0"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(79), b"cprt": b"text\0\0\0\0none\0"}
    tags[b"wtpt"] = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    for key, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True):
        tags[key] = b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(value * 65536) for value in column))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    if name == "Display P3":  # the curve of sRGB, as Apple writes it
        numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        curve = b"para\0\0\0\0" + struct.pack(">HH5i", 3, 0, *(round(value * 65536) for value in numbers))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for key, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", key, at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s12s4s", 0, b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp") + bytes(24 + 4)
    head = head + struct.pack(">iii", 63190, 65536, 54061) + bytes(128 - len(head) - 12)
    data = head + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(data)) + data[4:]
