"""The linear filters that several corruptions share, with the borders and lengths of the published ones."""

from __future__ import annotations

import math

import cv2
import numpy as np

from moase_edge.data.corruptions.corruption import Levels


def gaussian(
    levels: Levels,
    sigma_px: float | tuple[float, float],
    *,
    truncate: float = 4.0,
    border: int = cv2.BORDER_REPLICATE,
) -> Levels:
    """Blur with a sampled Gaussian, cut at `truncate` standard deviations as scipy and scikit-image do.

    Args:
        levels: H x W or H x W x C, float32.
        sigma_px: standard deviation, or one along the height and one along the width.
        truncate: radius of the kernel in standard deviations, rounded to the nearest pixel.
        border: OpenCV's border mode.
    """
    down, across = sigma_px if isinstance(sigma_px, tuple) else (sigma_px, sigma_px)
    size = (2 * int(truncate * across + 0.5) + 1, 2 * int(truncate * down + 0.5) + 1)
    blurred: Levels = cv2.GaussianBlur(levels, size, sigmaX=across, sigmaY=down, borderType=border)
    return blurred


def motion(levels: Levels, radius_px: int, sigma_px: float, angle_deg: float) -> Levels:
    """Smear along a line that starts at each pixel: ImageMagick's motion blur.

    The weights are one half of a Gaussian over 2 * `radius_px` + 1 pixels, and borders are repeated.

    Args:
        levels: H x W or H x W x C, float32.
        radius_px: half the length of the smear.
        sigma_px: standard deviation of the weights.
        angle_deg: from the x axis towards the y axis, which points down.
    """
    steps = np.arange(2 * radius_px + 1)
    weights = np.exp(-(steps**2) / (2 * sigma_px**2))
    angle = math.radians(angle_deg)
    rows = np.ceil(steps * math.sin(angle) - 0.5).astype(int)
    columns = np.ceil(steps * math.cos(angle) - 0.5).astype(int)
    top, left = rows.min(), columns.min()
    kernel = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1), dtype=np.float32)
    np.add.at(kernel, (rows - top, columns - left), weights / weights.sum())
    smeared: Levels = cv2.filter2D(
        levels, -1, kernel, anchor=(int(-left), int(-top)), borderType=cv2.BORDER_REPLICATE
    )
    return smeared


def magnify(levels: Levels, factor: float, size_px: tuple[int, int] | None = None) -> Levels:
    """Cut out the middle of a picture and enlarge it by `factor`, linearly, first and last pixels in place.

    The result is as large as the input or up to `factor` pixels larger, as with the published function.

    Args:
        levels: H x W or H x W x C, float32.
        factor: at least 1.
        size_px: height and width to cut the result to, from its top left corner.
    """
    height, width = levels.shape[:2]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    enlarged = round(rows * factor), round(columns * factor)
    step_down, step_across = (rows - 1) / (enlarged[0] - 1), (columns - 1) / (enlarged[1] - 1)
    source_of = np.array(
        [[step_across, 0, (width - columns) // 2], [0, step_down, (height - rows) // 2]], dtype=np.float64
    )
    rows_out, columns_out = size_px or enlarged
    result: Levels = cv2.warpAffine(
        levels,
        source_of,
        (columns_out, rows_out),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return result
