"""Which pixels of a picture are sky, by their colour."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from geometry_encoders.reconstruction.opencv import load_opencv

BLUE_HUES = (90, 120)  # OpenCV counts hue in steps of two degrees
SWAPPED_HUES = (0, 30)  # the same colours with red and blue swapped, and grey, whose hue is 0
OPENING_PX = 5


def sky_mask(image: UInt8[ndarray, "height width 3"], compat: bool = False) -> Bool[ndarray, "height width"]:
    """True on pixels that are blue and bright, or pale and very bright, in large connected patches.

    ``compat`` reads the RGB picture as BGR as the original does; grey of middling brightness is sky there.
    """
    cv2 = load_opencv()
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV if compat else cv2.COLOR_RGB2HSV)
    hue, saturation, value = (hsv[..., channel].astype(np.int64) for channel in range(3))
    low, high = SWAPPED_HUES if compat else BLUE_HUES
    sky = (hue >= low) & (hue <= high) & (value >= 100)
    for pale, bright in ((10, 150), (30, 180), (50, 220)):
        sky |= (saturation < pale) & (value > bright)
    opened = cv2.morphologyEx(sky.astype(np.uint8), cv2.MORPH_OPEN, np.ones((OPENING_PX, OPENING_PX), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # label 0 is what is not sky
    return (areas > areas.max() / 2)[labels]
