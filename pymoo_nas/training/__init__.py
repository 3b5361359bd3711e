"""Train a network, test it, keep its weights, and name the classes of new images with it."""

from pymoo_nas.training._data_summary import describe_data
from pymoo_nas.training._evaluation import as_judging, mirrored_logits
from pymoo_nas.training._fitted_images import fitted_and_judging, none_to_hold_out, with_validation
from pymoo_nas.training._folder import MODEL_FILE, RECORD
from pymoo_nas.training._result import Training
from pymoo_nas.training._settings import AUTO, OWN_IMAGES, SHORT_EPOCHS, SHORT_STEPS, Settings
from pymoo_nas.training._state import STATE_FILE, dataset_of, design_in, network_of, settings_in
from pymoo_nas.training._train import train
from pymoo_nas.training._trained import TrainedNetwork, load_training
from pymoo_nas.training._trainer import Trainer
from pymoo_nas.training._warnings import standard_error, warn_of_tie
from pymoo_nas.training._weights import (
    DESCRIPTION,
    WEIGHTS_FILE,
    load_weights,
    read_description,
)

__all__ = [
    "AUTO",
    "DESCRIPTION",
    "MODEL_FILE",
    "OWN_IMAGES",
    "RECORD",
    "SHORT_EPOCHS",
    "SHORT_STEPS",
    "STATE_FILE",
    "WEIGHTS_FILE",
    "Settings",
    "TrainedNetwork",
    "Trainer",
    "Training",
    "as_judging",
    "dataset_of",
    "describe_data",
    "design_in",
    "fitted_and_judging",
    "load_training",
    "load_weights",
    "mirrored_logits",
    "network_of",
    "none_to_hold_out",
    "read_description",
    "settings_in",
    "standard_error",
    "train",
    "warn_of_tie",
    "with_validation",
]
