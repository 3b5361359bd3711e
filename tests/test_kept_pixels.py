"""Decoded pixels of image folders are kept in a file, which changes nothing but time and memory."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run
from kept_images import LARGE, Told, assert_equal, is_mapped, made_large
from made_images import make_folder, random_images, write
from PIL import UnidentifiedImageError

from pymoo_nas import Architecture, NASProblem, draw_probe, load_dataset, train
from pymoo_nas.datasets import FULL_RANGE, read_images, split_validation
from pymoo_nas.datasets._many_images import Outcome, for_each
from pymoo_nas.errors import DatasetError
from pymoo_nas.training._evaluation import evaluate
from pymoo_nas.training._fitted_images import Chosen


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pymoo-nas" / "images"


def mixed_folder(root: Path) -> Path:
    """Grey, palette, transparent, 16-bit and colour images, one broken file, one cut in two."""
    make_folder(root, n=6)
    rgb = random_images(1, 30, 17, 3)[0]
    for mode, ending in {"RGB": "jpg", "RGBA": "png", "P": "gif", "LA": "png", "1": "png"}.items():
        write(root / "b" / f"mode_{mode}.{ending}", rgb, mode)
    write(root / "a" / "16.png", rgb[..., 0].astype(np.uint16) * 200)
    (root / "a" / "broken.png").write_text("no image")
    whole = (root / "a" / "2.png").read_bytes()
    (root / "a" / "2.png").write_bytes(whole[: len(whole) // 2])
    return root


def in_parts(root: Path) -> Path:
    """Grey images in training, validation and test folders."""
    for seed, part in enumerate(("train", "val", "test")):
        for name in "ab":
            for i, pixels in enumerate(random_images(4, 9, 11, 3, seed=seed)):
                write(root / part / name / f"{i}.png", pixels)
    (root / "a").mkdir()
    return root


@contextmanager
def remarks() -> Iterator[list[str]]:
    """The texts of all warnings in the block."""
    texts: list[str] = []
    with pytest.warns() as caught:
        yield texts
    texts += [str(one.message) for one in caught]


# Equality


def test_mixed_folder(tmp_path: Path) -> None:
    """Images of all modes, their account and their warnings are the same in memory and kept."""
    folder = mixed_folder(tmp_path / "f")
    with remarks() as first:
        in_memory = load_dataset(folder)
    made_large(folder)
    told = Told()
    with remarks() as second:
        decoded = load_dataset(folder, progress=told)
    assert told.decoded
    told = Told()
    with remarks() as third:
        kept = load_dataset(folder, progress=told)
    assert not told
    assert first == second == third
    assert any("a/2.png" in text and "a/broken.png (no image)" in text for text in first)
    assert_equal(in_memory, decoded)
    assert_equal(in_memory, kept)
    assert [is_mapped(d.train_images) for d in (in_memory, decoded, kept)] == [False, True, True]


def test_parts(tmp_path: Path) -> None:
    """The validation part, and a checksum of its own, are the same in memory and kept."""
    folder = in_parts(tmp_path / "f")
    in_memory = load_dataset(folder, image_size=(4, 6))
    os.truncate(folder / "train" / "b" / "3.png", LARGE)
    for _ in range(2):
        kept = load_dataset(folder, image_size=(4, 6))
        assert_equal(in_memory, kept)
        assert kept.val_images is not None
        assert is_mapped(kept.val_images)


def test_against_a_loop(tmp_path: Path) -> None:
    """Images are those of a plain loop over the files, split by class."""
    folder = make_folder(tmp_path / "f", n=7, classes="abc", c=3)
    dataset = load_dataset(made_large(folder), image_size=(5, 8))
    pixels, labels = [], []
    for label, name in enumerate("abc"):
        for path in sorted((folder / name).iterdir()):
            pixels += read_images([path], (5, 8), grey_range=FULL_RANGE).images.values()
            labels.append(label)
    train_indices, test_indices = split_validation(np.array(labels), 0.2, 0)
    np.testing.assert_array_equal(dataset.train_images, np.stack(pixels)[train_indices])
    np.testing.assert_array_equal(dataset.test_images, np.stack(pixels)[test_indices])
    np.testing.assert_array_equal(dataset.test_labels, np.array(labels)[test_indices])


def test_palettes_that_are_grey(tmp_path: Path) -> None:
    """A folder whose palettes hold grey levels only is grey, as without a cache."""
    folder = make_folder(tmp_path / "f")
    write(folder / "a" / "palette.gif", random_images(1, 9, 9, 1)[0, ..., 0], "P")
    in_memory = load_dataset(folder)
    kept = load_dataset(made_large(folder))
    assert kept.in_channels == 1
    assert_equal(in_memory, kept)


@pytest.mark.slow
def test_search_and_training_are_equal(tmp_path: Path) -> None:
    """Scores and every number of a training are the same to the bit in memory and kept."""
    folder = make_folder(tmp_path / "f", n=8, c=3)
    results = []
    for _ in range(2):
        problem = NASProblem(folder, image_size=8, n_images=8)
        scores = problem.score_genotype("5000|0001|0800")
        network = Architecture.read("5000|0001|0800").build("trained", problem.dataset)
        trained = train(network, problem.dataset, epochs=1, batch_size=4, validation=0.25)
        results.append(
            (
                scores.values,
                trained.epochs.drop(columns="seconds").to_dict("list"),
                trained.test_loss,
                [weight.tolist() for weight in network.parameters()],
            )
        )
        made_large(folder)
    assert is_mapped(problem.dataset.train_images)
    assert results[0] == results[1]


class Watched(np.ndarray):
    """Images that note how many of them are read."""

    n_read = 0

    def __getitem__(self, which: Any) -> Any:
        found = np.asarray(self)[which]
        Watched.n_read += 1 if found.ndim == 3 else len(found)
        return found


def test_probe_reads_what_it_draws(tmp_path: Path) -> None:
    """A probe of 8 among 80 images reads 8 to tell them apart and the same 8 to keep them."""
    dataset = load_dataset(make_folder(tmp_path / "f", n=50, c=3))
    expected = draw_probe(dataset, 8, seed=1)
    watched = dataclasses.replace(dataset, train_images=dataset.train_images.view(Watched))
    for name in ("mean", "std"):
        vars(watched)[name] = getattr(dataset, name)
    Watched.n_read = 0
    found = draw_probe(watched, 8, seed=1)
    assert Watched.n_read == 16
    assert found.images.equal(expected.images)


@pytest.mark.parametrize("flip", [False, True])
def test_chosen_images_are_read_in_batches(flip: bool, tmp_path: Path) -> None:
    """Images that judge a training are evaluated as a copy of them would be."""
    dataset = load_dataset(make_folder(tmp_path / "f", n=20, c=3), image_size=8)
    network = Architecture.read("5000|0001|0800").build("trained", dataset)
    chosen = np.arange(1, 30, 3)
    labels = dataset.train_labels[chosen]
    found, expected = (
        evaluate(network, images, labels, dataset, batch_size=4, flip=flip).logits
        for images in (Chosen(dataset.train_images, chosen), dataset.train_images[chosen])
    )
    assert found.equal(expected)


# On the command line


def test_score_tells_of_the_decoding(run: Run, tmp_path: Path) -> None:
    """A command says what it decodes and where this is kept, once."""
    made_large(make_folder(tmp_path / "f"))
    for expected in (True, False):
        code, out, err = run("score", "0800", "--dataset", "f", "--images", "4")
        assert (code, err) == (0, "")
        assert ("decoding 10 images of" in out) is expected
        assert (str(tmp_path / "cache") in out) is expected


# Changes


def rewritten(folder: Path) -> None:
    path = folder / "b" / "1.png"
    n_bytes, before = path.stat().st_size, path.stat().st_mtime_ns
    write(path, 255 - random_images(5, 9, 11, 1, seed=1)[1].squeeze())
    assert path.stat().st_size == n_bytes
    os.utime(path, ns=(before + 10**6, before + 10**6))


def touched(folder: Path) -> None:
    os.utime(folder / "b" / "1.png", ns=(1, 1))


def added(folder: Path) -> None:
    write(folder / "b" / "9.png", random_images(1, 9, 11, 1, seed=9)[0].squeeze())


def removed(folder: Path) -> None:
    (folder / "b" / "4.png").unlink()


def renamed(folder: Path) -> None:
    (folder / "b" / "4.png").rename(folder / "b" / "40.png")


@pytest.mark.parametrize("change", [rewritten, touched, added, removed, renamed])
def test_changes(change: Callable[[Path], None], tmp_path: Path, cache: Path) -> None:
    """A folder is decoded again when any of its files changes, and the old pixels are removed."""
    folder = made_large(make_folder(tmp_path / "f"))
    load_dataset(folder)
    change(folder)
    told = Told()
    changed = load_dataset(folder, progress=told)
    assert told.decoded
    assert len(list(cache.rglob("*.pixels"))) == 1
    os.truncate(folder / "a" / "0.png", 1000)
    in_memory = load_dataset(folder)
    assert not is_mapped(in_memory.train_images)
    assert_equal(in_memory, changed)


def test_link_that_becomes_a_file(tmp_path: Path) -> None:
    """A link out of the folder is skipped; the same file in place of the link is read."""
    folder = made_large(make_folder(tmp_path / "f"))
    link, elsewhere = folder / "a" / "3.png", tmp_path / "3.png"
    link.rename(elsewhere)
    link.symlink_to(elsewhere)
    with pytest.warns(UserWarning, match=r"a/3\.png \(a link that leaves the folder\)"):
        load_dataset(folder)
    link.unlink()
    elsewhere.rename(link)  # of the same number, size and time
    load_dataset(folder)


def test_class_that_moves_in(tmp_path: Path) -> None:
    """A class folder that was a link out of the folder is read when it takes the link's place."""
    folder = made_large(make_folder(tmp_path / "f", classes="abc"))
    elsewhere = tmp_path / "c"
    (folder / "c").rename(elsewhere)
    (folder / "c").symlink_to(elsewhere)
    for name in ("1.png", "2.png"):
        (elsewhere / f"back-{name}").symlink_to(folder / "a" / name)
    with pytest.warns(UserWarning, match="skipped 5 of 17 image files"):
        load_dataset(folder)
    (folder / "c").unlink()
    elsewhere.rename(folder / "c")
    load_dataset(folder)


@pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 0)() == 0, reason="no file can be withheld from an administrator"
)
def test_failures_that_pass(tmp_path: Path, cache: Path) -> None:
    """Nothing is kept while the system refuses a file; a damaged file alone changes nothing."""
    folder = made_large(make_folder(tmp_path / "f"))
    damaged, refused = folder / "b" / "1.png", folder / "b" / "3.png"
    os.truncate(damaged, damaged.stat().st_size // 2)
    refused.chmod(0)
    for _ in range(2):
        told = Told()
        with pytest.warns(UserWarning, match=r"b/1\.png.*b/3\.png"):
            assert load_dataset(folder, progress=told).mean.shape == (1,)
        assert told.decoded
        assert {path.name for path in cache.rglob("*") if path.is_file()} <= {".lock"}
    refused.chmod(0o644)
    for expected in (True, False):
        told = Told()
        with pytest.warns(UserWarning, match=r"skipped 1 of 10 image files: b/1\.png"):
            load_dataset(folder, progress=told)
        assert told.decoded is expected


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (MemoryError(), True),
        (OSError("out of memory error when reading image file"), True),
        (OSError("image file is truncated"), False),
        (OSError(errno.EINVAL, "Invalid argument"), False),
        (UnidentifiedImageError("cannot identify image file"), False),
        (ValueError("a link that leaves the folder"), False),
    ],
)
def test_which_failures_pass(error: Exception, passing: bool) -> None:
    """Failures of the system may pass; those of a damaged file stay, also a wrong seek."""

    def work(path: Path) -> None:
        raise error

    found: list[Outcome[None]] = []
    for_each([Path("x.png")], work, lambda _, outcome: found.append(outcome))
    assert [outcome.passing for outcome in found] == [passing]


def test_new_empty_class(tmp_path: Path) -> None:
    """A new class folder without images is refused, though no image file has changed."""
    folder = in_parts(tmp_path / "f")
    os.truncate(folder / "train" / "b" / "3.png", LARGE)
    write(folder / "train" / "c" / "0.png", random_images(1, 9, 11, 3)[0])
    load_dataset(folder)
    (folder / "test" / "c").mkdir()
    with pytest.raises(DatasetError, match="test/c: no readable image"):
        load_dataset(folder)


def test_sizes_are_kept_apart(tmp_path: Path) -> None:
    """Pixels of two sizes are kept beside each other."""
    folder = made_large(make_folder(tmp_path / "f"))
    for expected in (True, False):
        for size in (8, 9):
            told = Told()
            load_dataset(folder, image_size=size, progress=told)
            assert told.decoded is expected


@pytest.mark.parametrize("ending", ["pixels", "json", "known.json"])
def test_damaged_cache(ending: str, tmp_path: Path, cache: Path) -> None:
    """A kept file that was cut in two is made again."""
    folder = made_large(make_folder(tmp_path / "f"))
    expected = load_dataset(folder)
    expected = load_dataset(
        (
            expected.train_images.copy(),
            expected.train_labels,
            expected.test_images.copy(),
            expected.test_labels,
        )
    )
    (path,) = (path for path in cache.rglob("*") if path.name.partition(".")[2] == ending)
    os.truncate(path, path.stat().st_size // 2)
    told = Told()
    again = load_dataset(folder, progress=told)
    assert told.decoded is (ending != "known.json")
    np.testing.assert_array_equal(again.train_images, expected.train_images)
    assert again.fingerprint == expected.fingerprint
    assert again.mean.tolist() == expected.mean.tolist()


def test_kept_images_are_not_read(tmp_path: Path, cache: Path) -> None:
    """Mean, standard deviation and checksum of kept pixels are found once; none is read again."""
    folder = made_large(make_folder(tmp_path / "f"))
    first = load_dataset(folder)
    found = first.mean.tolist(), first.std.tolist(), first.fingerprint
    (path,) = cache.rglob("*.pixels")
    path.write_bytes(bytes(path.stat().st_size))
    second = load_dataset(folder)
    assert not second.train_images.any()
    assert (second.mean.tolist(), second.std.tolist(), second.fingerprint) == found
