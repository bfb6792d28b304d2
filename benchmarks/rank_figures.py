"""How well scores order pictures: the area under the curve, and the rank correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def area_under_curve(better: Sequence[float], worse: Sequence[float]) -> float | None:
    """The chance that one of `better` scores above one of `worse`; a tie counts half (Mann and Whitney's U)."""
    import numpy as np

    if not better or not worse:
        return None
    above, below = np.asarray(better)[:, None], np.asarray(worse)[None, :]
    return float((above > below).mean() + 0.5 * (above == below).mean())


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's coefficient; 0 where one of the two does not vary."""
    import numpy as np

    one, two = _ranks(first), _ranks(second)
    if one.std() == 0 or two.std() == 0:
        return 0.0
    return float(np.corrcoef(one, two)[0, 1])


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks, those of equal values averaged."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    return np.array([(array < value).sum() + 0.5 * ((array == value).sum() - 1) for value in array])
