"""How much memory do a search and a training take on many large images, and how long?

A folder of JPEGs is made: ten classes of gratings, which differ in direction and fineness, with
noise. Then the command line decodes it, searches, and trains, each in a process that the system
refuses more than `--limit` bytes of data (RLIMIT_DATA: all memory that is not a file's). While a
process runs, its own memory (RssAnon and RssShmem, of it and its children) and the pages of mapped
files (RssFile), which the system takes back when memory gets scarce, are read ten times a second
from /proc. One network is scored first, so that the time and the memory of decoding stand apart.

`--many` images of 224×224 are a sparse file in the place of decoded pixels. A process with the
same limit measures their mean and standard deviation, draws a probe and reads every image once in
the batches of a training.

Command:
    python studies/large_images.py

Two cores of a shared AMD EPYC virtual machine, beside other work (load average 4 to 10), n = 1:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads, seed 0, limit 2 GiB
    20000 JPEGs of 256×256 made in 119 s
    decode, and score one network         212 s   own   624 MiB   mapped files   3226 MiB
        decoded in 125 s: 2.80 GiB of pixels
    search                                123 s   own  1025 MiB   mapped files    489 MiB
    train                                 703 s   own  1378 MiB   mapped files   3237 MiB
        final network, chosen by ranks: 0,0,8,0|8,0,0,0|16,0,0,0 × 3: 49,058 parameters,
            19,607,232 multiply-accumulates per image
        14400 images, batch size 128: 113 steps per epoch, 1 epochs; augmentation: flip; 1600
            images choose the best epoch
        test accuracy 89.70 %, balanced 89.70 %, AUC 0.9938 (best epoch 1, 669 s); wrote
            …/run/final
    100000 images, 14.0 GiB of pixels     741 s   own   491 MiB   mapped files  14649 MiB
        mean and standard deviation: 569.4 s
        probe of 64 images: 0.5 s
        one pass of batches of 128: 149.9 s

A search and a training on 2.8 GiB of pixels, and passes over 14 GiB, stay below 2 GiB of memory of
their own, and the system refused none of them any. Without the limit of multiply-accumulates a
training would take more time, and with wider cells more memory.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from PIL import Image

from common.command import machine, options
from pymoo_nas.datasets import Dataset
from pymoo_nas.scores import draw_probe

CLASSES = 10

COARSE = 4
"""Pixels of a side that one pixel of a made image covers."""

LIMITED = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)
"""Program that limits the data of a process and then becomes another program of Python."""


class Used(NamedTuple):
    """What a process has used: seconds, bytes of its own and of mapped files at most, output."""

    seconds: float
    own: int
    mapped: int
    printed: str


def grating(label: int, side: int, rng: np.random.Generator) -> Image.Image:
    """Stripes whose direction and fineness are those of a class, in a random colour, with noise."""
    few = -(-side // COARSE)
    y, x = np.mgrid[:few, :few] / few
    angle = np.pi * label / CLASSES
    waves = np.sin(
        20 * (1 + label % 3) * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6)
    )
    colour = rng.uniform(20, 90, 3) * rng.choice([-1, 1], 3)
    pixels = 128 + waves[..., None] * colour + rng.normal(0, 30, (few, few, 3))
    small = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return small.resize((side, side), Image.Resampling.BILINEAR)


def made_folder(root: Path, n: int, side: int, seed: int) -> Path:
    """A folder of so many JPEGs."""
    rng = np.random.default_rng(seed)
    for label in range(CLASSES):
        (root / f"class-{label}").mkdir(parents=True, exist_ok=True)
    for index in range(n):
        label = index % CLASSES
        grating(label, side, rng).save(root / f"class-{label}" / f"{index}.jpg", quality=85)
    return root


def used_by(words: Sequence[str], limit: int, environment: dict[str, str]) -> Used:
    """Run Python with a limit on its data, and watch its memory.

    Raises:
        RuntimeError: the program failed; with what it printed.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", LIMITED, str(limit), *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        own = mapped = 0
        while process.poll() is None:
            now = memory_of(process.pid)
            own, mapped = max(own, now[0]), max(mapped, now[1])
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: {process.returncode}\n{printed}")
    return Used(seconds, own, mapped, printed)


def memory_of(pid: int) -> tuple[int, int]:
    """Bytes of a process and its children: their own, and of mapped files."""
    own = mapped = 0
    try:
        processes = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        for one in processes:
            status = Path(f"/proc/{one}/status").read_text("utf-8")
            found = dict(re.findall(r"^(Rss\w+):\s*(\d+) kB$", status, re.MULTILINE))
            own += 1024 * (int(found.get("RssAnon", 0)) + int(found.get("RssShmem", 0)))
            mapped += 1024 * int(found.get("RssFile", 0))
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        pass  # it has just ended
    return own, mapped


def tell(what: str, used: Used) -> None:
    """Print the time and the memory of a process."""
    print(
        f"{what:34s} {used.seconds:6.0f} s   own {used.own / 2**20:5.0f} MiB   mapped files "
        f"{used.mapped / 2**20:6.0f} MiB",
        flush=True,
    )


def on_the_command_line(arguments: argparse.Namespace, work: Path) -> None:
    """Make the folder; decode, search and train."""
    started = time.perf_counter()
    folder = made_folder(work / "images", arguments.images, arguments.side, arguments.seed)
    print(
        f"{arguments.images} JPEGs of {arguments.side}×{arguments.side} made in "
        f"{time.perf_counter() - started:.0f} s",
        flush=True,
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(work / "cache")}

    def run(*words: str) -> Used:
        return used_by(["-m", "pymoo_nas", *words], arguments.limit, environment)

    size = ("--image-size", str(arguments.image_size))
    first = run("score", "0800", "--dataset", str(folder), *size, "--inits", "1", "--images", "2")
    tell("decode, and score one network", first)
    show(first, "decoded in")
    folder_of_run = str(work / "run")
    search = run(
        *("search", str(folder), *size, "--max-flops", str(arguments.max_flops)),
        *("--generations", str(arguments.generations), "--tournament-every", "0"),
        *("--reduction", "inside"),
        *("--out", folder_of_run, "--seed", str(arguments.seed)),
    )
    tell("search", search)
    run("choose", folder_of_run)
    training = run("train", folder_of_run, "--epochs", str(arguments.epochs))
    tell("train", training)
    show(training, "multiply-accumulates", "steps per epoch", "test accuracy")


def show(used: Used, *parts: str) -> None:
    """Print the lines of an output in which one of some texts occurs."""
    for line in used.printed.splitlines():
        if any(part in line for part in parts):
            print("   ", line.strip())


def read_many(path: Path, n: int, seed: int) -> None:
    """Measure, draw and read as many images as the file has, as searches and trainings do."""
    pixels = np.asarray(np.memmap(path, np.uint8, "r", shape=(n, 224, 224, 3)))
    labels = np.arange(n) % CLASSES
    names = tuple(f"class-{label}" for label in range(CLASSES))
    few = slice(0, CLASSES)
    dataset = Dataset("many", pixels, labels, pixels[few], labels[few], names, "none")
    works: dict[str, Callable[[], object]] = {
        "mean and standard deviation": lambda: dataset.std,
        "probe of 64 images": lambda: draw_probe(dataset, 64, seed),
        "one pass of batches of 128": lambda: passed(dataset, seed),
    }
    for what, work in works.items():
        started = time.perf_counter()
        work()
        print(f"    {what}: {time.perf_counter() - started:.1f} s", flush=True)


def passed(dataset: Dataset, seed: int) -> None:
    """Read every image once, in random order, and normalise it."""
    order = np.random.default_rng(seed).permutation(len(dataset.train_labels))
    for start in range(0, len(order), 128):
        batch = dataset.normalized(dataset.train_images[order[start : start + 128]])
        assert torch.isfinite(batch[0]).all()


def sparse_file(path: Path, n: int) -> Path:
    """A file of so many images of 224×224 that differ in their first pixels only."""
    row = 224 * 224 * 3
    with path.open("wb") as file:
        for index in range(n):
            file.seek(index * row)
            file.write(index.to_bytes(8, "little"))
        file.truncate(n * row)
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """Make images and print what they cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options(parser, images=20_000, side=256, image_size=224, many=100_000, generations=2, epochs=1)
    options(parser, max_flops=20_000_000, limit=2 * 2**30, seed=0)
    parser.add_argument("--work", type=Path, help="folder for the images; default: a temporary one")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.read is not None:
        read_many(arguments.read, arguments.many, arguments.seed)
        return
    print(f"{machine()}, seed {arguments.seed}, limit {arguments.limit / 2**30:g} GiB", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        work = Path(folder)
        on_the_command_line(arguments, work)
        path = sparse_file(work / "many", arguments.many)
        words = [__file__, "--read", str(path), "--many", str(arguments.many)]
        used = used_by(words, arguments.limit, dict(os.environ))
        gigabytes = path.stat().st_size / 2**30
        tell(f"{arguments.many} images, {gigabytes:.1f} GiB of pixels", used)
        print(used.printed.rstrip())


if __name__ == "__main__":
    main()
