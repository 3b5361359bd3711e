"""Multi-objective, training-free neural architecture search on pymoo."""

from pymoo_nas.algorithm import EvolutiveNAS
from pymoo_nas.architecture import Architecture
from pymoo_nas.cell import Cell
from pymoo_nas.cell_drawing import plot_cell
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.errors import (
    DatasetError,
    DeviceError,
    GenotypeError,
    NetworkError,
    OperationError,
    PymooNasError,
    RunError,
    ScoreError,
    SearchError,
    WorkerError,
)
from pymoo_nas.final import build_final
from pymoo_nas.genotype import Genotype, repair
from pymoo_nas.nasbench201 import NASBench201Space
from pymoo_nas.networks import CellNetwork
from pymoo_nas.operations import OPERATIONS, PAPER_OPERATIONS
from pymoo_nas.operators import (
    GenotypeCrossover,
    GenotypeDuplicates,
    GenotypeMutation,
    GenotypeSampling,
)
from pymoo_nas.plots import plot_evolution, plot_front, plot_offspring, plot_scores_3d, save_figure
from pymoo_nas.problem import NASProblem
from pymoo_nas.results import front_to_frame, history_to_frame, read_frame, write_frame
from pymoo_nas.run_trained import load_trained
from pymoo_nas.scoring import Probe, Scores, draw_probe, score
from pymoo_nas.search import Search, SearchSettings, resume
from pymoo_nas.search_space import CellSpace, SearchSpace
from pymoo_nas.survival import RankSumSurvival
from pymoo_nas.tournament import CallbackChain, DartsTournament
from pymoo_nas.tournament_network import TournamentNetwork
from pymoo_nas.trained import TrainedNetwork
from pymoo_nas.training import Training, train
from pymoo_nas.truth import join_truth
from pymoo_nas.version import VERSION
from pymoo_nas.weights import load_weights
from pymoo_nas.workers import Workers

__version__ = VERSION

__all__ = [
    "OPERATIONS",
    "PAPER_OPERATIONS",
    "Architecture",
    "CallbackChain",
    "Cell",
    "CellNetwork",
    "CellSpace",
    "DartsTournament",
    "Dataset",
    "DatasetError",
    "DeviceError",
    "EvolutiveNAS",
    "Genotype",
    "GenotypeCrossover",
    "GenotypeDuplicates",
    "GenotypeError",
    "GenotypeMutation",
    "GenotypeSampling",
    "NASBench201Space",
    "NASProblem",
    "NetworkError",
    "OperationError",
    "Probe",
    "PymooNasError",
    "RankSumSurvival",
    "RunError",
    "ScoreError",
    "Scores",
    "Search",
    "SearchError",
    "SearchSettings",
    "SearchSpace",
    "TournamentNetwork",
    "TrainedNetwork",
    "Training",
    "WorkerError",
    "Workers",
    "build_final",
    "draw_probe",
    "front_to_frame",
    "history_to_frame",
    "join_truth",
    "load_dataset",
    "load_trained",
    "load_weights",
    "plot_cell",
    "plot_evolution",
    "plot_front",
    "plot_offspring",
    "plot_scores_3d",
    "read_frame",
    "repair",
    "resume",
    "save_figure",
    "score",
    "train",
    "write_frame",
]
