"""Pictures from scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.comfyui.embedded.scene import Scene

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def render(scene: Scene) -> NDArray[np.uint8]:
    """The picture of a scene, RGB, height x width x 3; the same for the same scene."""
    import cv2
    import numpy as np
    from skimage import data

    portrait = data.astronaut()
    random = np.random.default_rng(scene.random_seed("pose"))
    side = int(random.integers(170, 360))
    scale = scene.height / side
    center = (226 + random.uniform(-15, 15), 100 + random.uniform(0, 30))
    matrix = cv2.getRotationMatrix2D(center, float(random.uniform(-6, 6)), scale)
    matrix[:, 2] += (scene.width / 2 - center[0], scene.height * 0.45 - center[1])
    return np.asarray(
        cv2.warpAffine(portrait, matrix, (scene.width, scene.height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    )
