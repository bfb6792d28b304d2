"""The filters that skin is measured with: Laplacians of a Gaussian, and how much they vary in small blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]


def response(plane: Plane, sigma: float) -> Plane:
    """Scale-normalised Laplacian of Gaussian."""
    import cv2
    import numpy as np

    blurred = cv2.GaussianBlur(plane, (0, 0), sigma)
    result: Plane = cv2.Laplacian(blurred, cv2.CV_32F) * np.float32(sigma * sigma)
    return result


def grid_means(plane: Plane, side: int) -> Plane:
    """Means over square blocks side by side; a rest at the right and bottom is left out. Rows x columns, 0 x 0 for a plane too small."""
    import cv2
    import numpy as np

    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    if rows == 0 or columns == 0:
        return np.zeros((0, 0), dtype=np.float32)
    means = cv2.resize(plane[: rows * side, : columns * side], (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(means, dtype=np.float32).reshape(rows, columns)


def overlapping_means(plane: Plane, side: int) -> Plane:
    """Means over square blocks that overlap by half, in one row."""
    import numpy as np

    offsets = (0, side // 2)
    return np.concatenate([grid_means(plane[top:, left:], side).ravel() for top in offsets for left in offsets])


def deviations(values: Plane, side: int) -> Plane:
    """Standard deviations within square blocks side by side, rows x columns."""
    import numpy as np

    mean = grid_means(values, side)
    spread: Plane = np.sqrt(np.maximum(grid_means(values * values, side) - mean * mean, 0.0))
    return spread
