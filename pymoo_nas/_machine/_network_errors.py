"""Turn an error that a network raises into an error that names the images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from pymoo_nas._machine._memory import is_out_of_memory
from pymoo_nas.errors import NetworkError, PymooNasError


@contextmanager
def network_errors(
    images: Tensor,
    failed: str = "take",
    remedy: str = "resize the images (image_size), or use a network for this size and number of "
    "channels",
) -> Iterator[None]:
    """Say which images a network could not take, instead of a bare error from inside it.

    Args:
        images: images that the network was given.
        failed: verb for the message: the action that the network could not do with the images.
        remedy: advice for the message.

    Raises:
        NetworkError: the network raised an error, and memory did not run out.
    """
    try:
        yield
    except PymooNasError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise NetworkError(
            f"the network cannot {failed} images of shape {tuple(images.shape)} "
            f"({images.dtype}, {images.device}): {type(error).__name__}: {error}; {remedy}"
        ) from error
