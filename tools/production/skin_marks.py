"""Where skin is judged in a picture, for whoever looks at it."""

from __future__ import annotations

from typing import Any

from tools.production.results import PictureResult

DIGITS = 4


def skin_ellipses(picture: PictureResult) -> list[list[float]]:
    """The cheeks on which skin is judged, each an ellipse in fractions of the picture: x and y of its middle, then of its two half axes.

    By the points that the face engine found: where YuNet's own points differ, the score was measured a little beside. Empty without a face.
    """
    import numpy as np

    from evals.skin.regions import face_frame, skin_regions

    geometry, box = picture.assessment.geometry, picture.face_box
    if geometry is None or box is None:
        return []
    size: Any = np.array([picture.assessment.width, picture.assessment.height], dtype=np.float64)
    corners = np.array([box[:2], [box[0] + box[2], box[1] + box[3]]]) * size
    x0, y0, x1, y1 = (float(value) for value in corners.ravel())
    frame = face_frame(np.array(geometry.landmarks) * size, (x0, y0, x1, y1))
    if frame is None:
        return []
    return [np.round(frame.ellipse(region) / size, DIGITS).ravel().tolist() for region in skin_regions(frame)]
