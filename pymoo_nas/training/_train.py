"""Train a final network, choose the epoch to keep by validation accuracy, and test it once."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import nn

from pymoo_nas._machine import (
    ConsoleProgress,
    Progress,
    resolve_device,
    seeded,
    threads_set,
)
from pymoo_nas.datasets import DatasetSource, augmentation_named, load_dataset
from pymoo_nas.training._curves import curves_of, show_epoch, show_test
from pymoo_nas.training._folder import (
    alone,
    checked_folder,
    forget_interrupted,
    keep,
    write_results,
)
from pymoo_nas.training._image_warnings import warn_of_shared, warn_of_unjudged
from pymoo_nas.training._result import Training, test_values, tested
from pymoo_nas.training._settings import AUTO, Settings
from pymoo_nas.training._state import as_begun, restore_state, threads_in
from pymoo_nas.training._trainer import Trainer
from pymoo_nas.training._warnings import warn_of_gap, warn_of_unpredicted


def train(
    network: nn.Module,
    dataset: DatasetSource,
    *,
    epochs: int | str = AUTO,
    batch_size: int | str = AUTO,
    learning_rate: float = 0.2,
    weight_decay: float = 5e-4,
    label_smoothing: float = 0.1,
    augment: bool | str | None = None,
    validation: float | str = AUTO,
    balance: bool = False,
    ema: float = 0.0,
    cutout: int = 0,
    test_flip: bool = False,
    optimizer: str = "muon",
    precision: str = AUTO,
    compile: bool = False,  # noqa: A002 - PyTorch's word
    seed: int = 0,
    device: str | torch.device = "cpu",
    threads: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    tensorboard: bool | str | Path = False,
    progress: bool | Progress = False,
) -> Training:
    """Train a network on a data set's training images and test it on its test images.

    The loss is cross-entropy. Muon (Jordan 2024) moves the kernels of convolutions, SGD moves the
    other weights, both with Nesterov momentum 0.9 and a one-cycle schedule (Smith 2018). Batch
    norms and biases have no weight decay. Images that are not trained on choose the epoch whose
    weights are kept: the last one that they cannot tell from the best, as its accuracy is at most
    two standard errors below (studies/epochs.py). Balanced accuracy decides where the largest class
    has more than 1.5 times the training images of the smallest. The test images play no part in
    this choice: they are used once, at the end. `test_accuracy` therefore is an estimate for new
    images, as long as the user does not choose between trainings by it.

    Before each validation, batch norms take their statistics from at most 2,048 of the images
    trained on, without augmentation. The weights that are kept hold these statistics. Moving
    averages would lag behind where an epoch has few steps (studies/archive/norms.md).

    Equal seeds give equal weights to the bit on one CPU with the same number of threads; CUDA
    kernels may add in another order. Torch's global random state is left as it was.

    Args:
        network: (N, C, H, W) → (N, n_classes); changed in place. In the end it holds the kept
            weights, in eval mode, on `device`.
        dataset: a `Dataset`, a name, a path or arrays, as `load_dataset` takes them.
        epochs: passes over the training images. "auto" takes 20, or more to make 1,500 steps
            (studies/epochs.py).
        batch_size: images per step. "auto" takes the power of two from 8 to 128 that gives an epoch
            about 16 steps. Batches are of almost equal size. No batch is larger than asked for, and
            none has a single image, which a batch norm on maps of one pixel could not take. Only
            where 2 are asked for, a batch may have 3.
        learning_rate: peak of SGD's schedule; Muon's peak is a tenth of it.
        weight_decay: weight decay of SGD; Muon's is a hundred times as large, and its rate a tenth.
        label_smoothing: share of the target spread over all classes, in [0, 1].
        augment: "flip" for shifted crops and flips, "shift" for the crops alone, "none" for neither
            (see `draw_shifts`); None takes the augmentation of the data set.
        validation: fraction of each class of the training images that is held out, in [0, 1); 0
            trains on all training images and keeps the weights of the last epoch. "val" chooses by
            the data set's validation images, and trains on all training images. "auto" takes "val"
            where there are validation images, else a tenth.
        balance: weigh each image by the inverse of its class's share of the images trained on.
        ema: decay per step, from 0 to below 1, of an exponential moving average of the weights.
            Above 0, the averaged weights are judged and kept in place of the last ones; batch norms
            take their statistics with the averaged weights. See studies/better_training.py.
        cutout: side in pixels of a square that is cut out of each training image, at a random place
            in each epoch, partly outside of the image where it is close to a border (DeVries 2017).
            16 is usual for images of 32×32 pixels and long trainings; 0 cuts nothing.
        test_flip: judge and test each image by the mean of the probabilities of it and its mirror
            image. The kept network does the same in `load_trained` and `export`. That doubles the
            multiply-accumulates, the maps and the time per image, which no limit of a search
            counts. It needs the `augment` "flip".
        optimizer: "muon"; or "sgd" for all parameters: almost four points less on CIFAR-10 after
            four epochs (studies/recipe.py), but cheaper for kernels of many hundred channels.
        precision: "float32", or "bfloat16" for the passes of the training (weights and the test
            stay float32): less time on devices that compute with bfloat16. "auto" is "bfloat16" on
            such CUDA devices, "float32" elsewhere, or with `resume` that of the interrupted
            training; ``training.json`` tells which.
        compile: let `torch.compile` make one program of the forward and the backward pass, on CUDA
            with CUDA graphs. That takes a minute or so before the first step, and pays where a
            training has thousands of steps. Results are equal up to rounding.
        seed: seed of the split, the order of the images, the augmentation and the network's
            dropout; it does not change the network's initial weights.
        device: see `resolve_device`.
        threads: torch's threads on the CPU while it trains; None leaves their number as it is, or
            with `resume` takes that of the interrupted training.
        out: folder for ``weights.safetensors`` (written at each improvement, so that an interrupt
            leaves the best so far), ``training.csv`` (each epoch), ``recall.csv``,
            ``confusion.csv`` and ``training.json``, from which `load_trained` builds the network
            again; until the end also for the state to continue from.
        overwrite: replace the files of an earlier training in `out`, and the exports beside them.
        resume: continue the training that was interrupted in `out`, after its last whole epoch. It
            ends as without the interruption, to the bit where equal seeds give equal weights.
        tensorboard: True writes curves for TensorBoard to ``tensorboard`` in `out`; or a folder for
            them. A step is an epoch; a training that is continued has each step once.
        progress: True shows a bar and one line per epoch; or a function that takes each `Report`.

    Raises:
        SearchError: a setting that is out of range, or `tensorboard` without the package.
        DeviceError: an unknown or absent device.
        RunError: `out` holds weights already, is in use by another process, or cannot be made or
            written to; `tensorboard` without a folder; or `resume` without an interrupted training
            there, or with another network, data set or settings.
        DatasetError: too few images per class to hold some out, or no test images.
        NetworkError: a network that cannot take these images or gives another number of classes;
            no network; one whose state no file can hold; or a loss that became infinite or NaN.

    Warns:
        UserWarning: test or validation images are training images too; a class is not among the
            images that choose the epoch; the accuracy is much higher on the images trained on than
            on the images that judge; the network never predicts a class of the test images; or
            `compile` failed, and the training went on without.
    """
    started = time.perf_counter()
    dataset = load_dataset(dataset)
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        augment=dataset.augment if augment is None else augmentation_named(augment),
        validation=validation,
        balance=balance,
        ema=ema,
        cutout=cutout,
        test_flip=test_flip,
        optimizer=optimizer,
        precision=precision,
        compile=compile,
        seed=seed,
    )
    target = resolve_device(device)
    folder = checked_folder(out, overwrite=overwrite, resume=resume)
    if folder is not None and resume:
        settings = as_begun(folder, settings)
    if threads is None and folder is not None and resume:
        threads = threads_in(folder)
    with (
        threads_set(threads),
        torch.inference_mode(False),  # as of a notebook that only shows what networks return
        torch.enable_grad(),
        curves_of(tensorboard, folder) as curves,
        seeded(target, seed),
    ):
        trainer = Trainer(network, dataset, settings, target)
        warn_of_shared(dataset)
        warn_of_unjudged(dataset, trainer.fitted, trainer.judging[1])
        with alone(folder, overwrite=overwrite, resume=resume):
            if folder is not None and resume:
                started -= restore_state(folder, trainer)
            elif folder is not None:
                forget_interrupted(folder)

            def done(is_best: bool) -> None:
                keep(folder, trainer, started, is_best)
                show_epoch(curves, trainer.history[-1])

            with _shown(progress) as told:
                trainer.run(done, told)
            training = tested(trainer, started)
            show_test(curves, len(trainer.history), test_values(training))
            if folder is not None:
                write_results(folder, training, trainer)
    kept = trainer.history[trainer.best_epoch - 1]
    warn_of_gap(kept, len(trainer.fitted), len(trainer.judging[1]))
    warn_of_unpredicted(training.confusion, balance=balance)
    return training


def _shown(progress: bool | Progress) -> AbstractContextManager[Progress | None]:
    if callable(progress):
        return nullcontext(progress)
    return ConsoleProgress() if progress else nullcontext()
