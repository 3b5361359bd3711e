"""Data sets: names and paths → images and labels."""

from pymoo_nas.datasets._augmentations import AUGMENTATIONS, augmentation_named
from pymoo_nas.datasets._dataset import (
    DATASET_NAMES,
    MAX_IMAGE_SIZE,
    Dataset,
    DatasetSource,
    existing_path,
    height_and_width,
    load_dataset,
)
from pymoo_nas.datasets._decoding import decoding_shown
from pymoo_nas.datasets._draws import balanced_indices
from pymoo_nas.datasets._image_arrays import (
    PIXEL_FILE,
    channels_last,
    normalize,
    read_pixels,
    resize,
    same_type,
)
from pymoo_nas.datasets._image_folders import find_images, holds_classes, refuse_among_classes
from pymoo_nas.datasets._image_reading import (
    FULL_RANGE,
    HALF,
    MODES,
    UNREADABLE,
    GreyRange,
    as_pixels,
)
from pymoo_nas.datasets._many_images import read_images
from pymoo_nas.datasets._splits import split_validation

__all__ = [
    "AUGMENTATIONS",
    "DATASET_NAMES",
    "FULL_RANGE",
    "HALF",
    "MAX_IMAGE_SIZE",
    "MODES",
    "PIXEL_FILE",
    "UNREADABLE",
    "Dataset",
    "DatasetSource",
    "GreyRange",
    "as_pixels",
    "augmentation_named",
    "balanced_indices",
    "channels_last",
    "decoding_shown",
    "existing_path",
    "find_images",
    "height_and_width",
    "holds_classes",
    "load_dataset",
    "normalize",
    "read_images",
    "read_pixels",
    "refuse_among_classes",
    "resize",
    "same_type",
    "split_validation",
]
