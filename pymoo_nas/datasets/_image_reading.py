"""Read an image file of any mode and depth into pixels of 8 bits, upright, in a given size."""

from __future__ import annotations

import http.client
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

EXTENSIONS = ".bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tga .tif .tiff .webp"
"""Endings, in lower case, of the files in a class folder that count as images."""

# Without this list PIL would judge a file by its content. It would, for instance, hand an EPS file
# that is named .png to an external program.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")

ANIMATED = ("GIF", "PNG", "TIFF", "WEBP")
"""Formats in which further frames or pages are images of their own (in a JPEG, previews)."""

UNREADABLE = (
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    http.client.HTTPException,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""Errors that the readers raise on damaged, cut off, oversized or forged files."""

MODES = {1: "L", 3: "RGB"}
"""Number of channels → PIL's name for the mode with 8 bits per channel."""

GreyRange: TypeAlias = tuple[int, int]
"""Levels of 16-bit grey files that become 0 and 255."""

FULL_RANGE: GreyRange = (0, 65535)
"""Range of 16-bit grey files that use all levels."""

HALF = 128
"""Middle of the 256 levels of 8 bits."""

GREY = ("1", "L", "LA", "La")
"""PIL's modes whose pixels become grey; those of a palette may do so too."""

METADATA = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
"""Keys under which PIL keeps metadata, on which it may fail."""


class Header(NamedTuple):
    """What a file tells before all files are read.

    Attributes:
        is_grey: whether its pixels certainly become grey, whatever they are.
        levels: lowest and highest level of a 16-bit grey file; None for other files.
    """

    is_grey: bool
    levels: GreyRange | None


def read_header(path: Path, *, within: Path | None) -> Header:
    """Read the header of a file, and the levels of a 16-bit grey file.

    Args:
        path: an image file; one that cannot be read raises one of `UNREADABLE`.
        within: folder that links must not leave; None allows all links.
    """
    with _opened(path, within) as opened:
        if opened.mode.startswith("I"):
            values = _levels(opened)
            return Header(True, (int(values.min()), int(values.max())))
        return Header(opened.mode in GREY, None)


class Pixels(NamedTuple):
    """One image as it was read.

    Attributes:
        pixels: (H, W) or (H, W, 3).
        size: (H, W) of the image, upright, before it was resized.
        notes: notes on parts that were left out or changed.
        deep: highest level, of 255, of a colour image with 16 bits per channel; else None. Only the
            upper 8 bits can be read; a level below `HALF` means that little may be left.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    notes: list[str]
    deep: int | None


def read_pixels_of(
    path: Path,
    size: tuple[int, int],
    *,
    grey_range: GreyRange | None,
    channels: int | None = None,
    within: Path | None = None,
) -> Pixels:
    """Read one file; the arguments are those of `read_images`.

    A file that cannot be read raises one of `UNREADABLE`.
    """
    with _opened(path, within) as opened:
        return as_pixels(opened, size, channels=channels, grey_range=grey_range)


def as_pixels(
    opened: Image.Image,
    size: tuple[int, int],
    *,
    grey_range: GreyRange | None,
    channels: int | None = None,
) -> Pixels:
    """Read the pixels of a PIL image; this loads the image and removes its metadata.

    The arguments are those of `read_images`. Pixels that cannot be read raise one of `UNREADABLE`.
    """
    is_deep = _is_deep_colour(opened)
    image, note = _upright(opened)
    notes = [note, _further_frames(opened)]
    if image.mode.startswith("I"):
        image, note = _from_16_bits(image, grey_range)
        notes.append(note)
    if _is_only_alpha(image):
        notes.append("its shape is in the alpha channel alone, which is left out")
    image = _grey_or_rgb(image)
    deep = max(high for _, high in _extrema(image)) if is_deep else None
    if channels is not None:
        image = image.convert(MODES[channels])
    resized = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, dtype=np.uint8)
    return Pixels(pixels, (image.height, image.width), list(filter(None, notes)), deep)


@contextmanager
def _opened(path: Path, within: Path | None) -> Iterator[Image.Image]:
    """Open a file and read its header; damaged files raise one of `UNREADABLE`.

    Raises:
        ValueError: the path is no regular file, or a link that leaves the folder.
    """
    real = Path(os.path.realpath(path))
    if within is not None and not real.is_relative_to(os.path.realpath(within)):
        raise ValueError("a link that leaves the folder")
    if not real.is_file():
        # A named pipe, for instance, would block for ever.
        raise ValueError("a broken link, or no regular file")
    with Image.open(real, formats=FORMATS) as opened:
        yield opened


def _upright(opened: Image.Image) -> tuple[Image.Image, str]:
    """Copy an image upright; where its metadata are broken, copy it as stored, with a note.

    Pixels that cannot be read raise one of `UNREADABLE`.
    """
    note = ""
    if not hasattr(opened, "tag_v2"):
        opened.load()  # a PNG may have its metadata behind its pixels
    try:
        if "exif" in opened.info:
            Image.Exif().load(opened.info["exif"])  # PIL's own reading of a JPEG hides a failure
        # A TIFF turns itself while it loads, and would fail then.
        opened.getexif()
    except UNREADABLE as error:
        note = f"its EXIF or XMP cannot be read ({error}), so that it is not turned"
    for key in METADATA:
        opened.info.pop(key, None)
    opened.load()
    return (opened.copy() if note else ImageOps.exif_transpose(opened)), note


def _further_frames(opened: Image.Image) -> str:
    """Note that a file holds more than the image that is taken; counting moves `opened`."""
    if opened.format not in ANIMATED:
        return ""
    try:
        n_frames = getattr(opened, "n_frames", 1)
    except UNREADABLE as error:
        return f"its frames or pages cannot be counted ({error}); the first is taken"
    return f"only the first of {n_frames} frames or pages is taken" if n_frames > 1 else ""


def _is_deep_colour(opened: Image.Image) -> bool:
    """Tell whether a file has 16 bits per channel, of which PIL reads the upper 8."""
    return not opened.mode.startswith("I") and any(
        ";16" in str(tile[3]) for tile in getattr(opened, "tile", ())
    )


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    """Find the lowest and the highest value of each band."""
    return [band.getextrema() for band in image.split()]  # type: ignore[misc]


def _is_only_alpha(image: Image.Image) -> bool:
    """Tell whether pixels differ in nothing but their transparency."""
    if image.mode not in ("LA", "RGBA"):
        return False
    *colours, (low, high) = _extrema(image)
    return low < high and all(lowest == highest for lowest, highest in colours)


def _levels(image: Image.Image) -> NDArray[np.int64]:
    """Read the values (H, W) of a 16-bit image, or of a 32-bit image if they fit into 16 bits.

    Raises:
        ValueError: the values do not fit into 16 bits.
    """
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > FULL_RANGE[1]:
        raise ValueError("grey values outside 0..65535; convert them, or give arrays")
    return values


def _from_16_bits(image: Image.Image, grey_range: GreyRange | None) -> tuple[Image.Image, str]:
    """Convert 16-bit grey → 8-bit grey, and note where values were clipped.

    Raises:
        ValueError: the values are on another scale than `grey_range`.
    """
    values = _levels(image)
    lowest, highest = int(values.min()), int(values.max())
    if grey_range is None and highest <= FULL_RANGE[1] // 2:
        raise ValueError(
            f"16-bit grey levels up to {highest}, beside 8-bit images only: which level is white "
            "is not known; convert it to 8 bits"
        )
    low, high = grey_range or FULL_RANGE
    if highest > 2 * high:
        raise ValueError(
            f"grey levels up to {highest}, where those of the training images end at {high}; "
            "convert it to their scale"
        )
    scaled = (values - low) / ((high - low) / 255) + 0.5
    note = ""
    if lowest < low or highest > high:
        note = f"its grey levels {lowest} to {highest} are clipped to {low} to {high}"
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8)), note


def common_range(levels: Sequence[GreyRange]) -> GreyRange | None:
    """Find the grey range of all 16-bit grey files; None where there are no such files.

    Levels up to 255 stay as they are. Files that use more than half of the 16 bits keep the whole
    range, whatever their own maximum. A range far from 0 is cut off below as well.

    Args:
        levels: lowest and highest level of each file.

    >>> common_range([]), common_range([(0, 255)]), common_range([(9000, 9100), (9050, 9900)])
    (None, (0, 255), (9000, 9900))
    """
    if not levels:
        return None
    low, high = min(low for low, _ in levels), max(high for _, high in levels)
    if high <= 255:
        return (0, 255)
    if 0 < high - low < high / 4:
        return (low, high)
    return FULL_RANGE if high > FULL_RANGE[1] // 2 else (0, high)


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """Convert any PIL mode with 8 bits per channel → ``L`` or ``RGB``."""
    if image.mode == "F":
        raise ValueError("floating-point pixels; convert them to 8 or 16 bits, or give arrays")
    if image.mode in GREY:
        return image.convert("L")
    if image.mode in ("P", "PA"):
        # By way of RGBA: PIL warns where a palette with transparency is converted to RGB directly.
        rgb = image.convert("RGBA").convert("RGB")
        red, green, blue = rgb.split()
        return red if red == green == blue else rgb
    return image.convert("RGB")
