"""What the package exports: the names that a user needs, and nothing else."""

from __future__ import annotations

import pymoo_nas
from pymoo_nas import errors

PUBLIC = {
    "search": "NASProblem EvolutiveNAS RandomSearch RegularisedEvolution NSGA2Search "
    "RankSumSurvival SteadyFirst Steadiness DartsTournament CallbackChain Workers "
    "Executor Limits GenotypeSampling GenotypeCrossover GenotypeMutation GenotypeRepair "
    "GenotypeDuplicates operators",
    "spaces": "SearchSpace CellSpace NASBench201Space DARTSSpace Architecture Genotype Cell repair "
    "OPERATIONS PAPER_OPERATIONS join_truth",
    "objectives": "Objective Measured Judgement OBJECTIVES PAPER_OBJECTIVES LATER_OBJECTIVES "
    "Probe Scores draw_probe score latency_objective measure_latency",
    "tables": "front_to_frame history_to_frame read_frame write_frame",
    "pictures": "plot_cell plot_evolution plot_front plot_offspring plot_scores_3d "
    "plot_hypervolume plot_attainment save_figure",
    "choice": "choose order_front order_scored order_te_nas steady_first try_out build_final",
    "runs": "RunFolder Search SearchSettings TensorBoard resume compare Comparison report",
    "training": "Dataset load_dataset train Training load_trained TrainedNetwork load_weights "
    "export Exported",
    "networks": "CellNetwork CifarResNet TournamentNetwork",
}


def test_the_exported_names_are_those_of_the_list() -> None:
    """A name that is added or taken away is added to or taken from the list."""
    listed = {name for names in PUBLIC.values() for name in names.split()}
    family = {
        name
        for name, error in vars(errors).items()
        if isinstance(error, type) and issubclass(error, pymoo_nas.PymooNasError)
    }
    # What is caught by name inside the package only.
    family -= {"MemoryLimitError"}
    assert set(pymoo_nas.__all__) == listed | family


def test_exported_names_are_there_and_documented() -> None:
    """Each can be had from the package, and says what it is."""
    for name in pymoo_nas.__all__:
        thing = getattr(pymoo_nas, name)
        if callable(thing):
            assert (thing.__doc__ or "").strip(), name
