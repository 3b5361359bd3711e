"""Compare three search strategies on NAS-Bench-201, five seeds each.

    python examples/compare_algorithms.py accuracies.csv

The CSV holds known accuracies: a column ``genotype`` (or ``arch``) and a column ``accuracy`` (or
``cifar10_test``). Candidates are scored untrained on 8 of the digits; the tables and pictures are
written to ``comparison/``, the scores kept in ``comparison.sqlite``: a second run takes seconds.
"""

import argparse

import pandas as pd
from pymoo.optimize import minimize

from pymoo_nas import EvolutiveNAS, NASBench201Space, NASProblem, NSGA2Search, RandomSearch, compare

parser = argparse.ArgumentParser(description="Compare three search strategies on NAS-Bench-201.")
parser.add_argument("table", help="CSV file of known accuracies")
parser.add_argument("--seeds", type=int, default=5)
parser.add_argument("--generations", type=int, default=3)
parser.add_argument("--images", type=int, default=8)
parser.add_argument("--out", default="comparison")
options = parser.parse_args()

names = {"arch": "genotype", "cifar10_test": "accuracy"}
truth = pd.read_csv(options.table).rename(columns=names)[["genotype", "accuracy"]]
memory = f"{options.out}.sqlite"  # what one search has scored, the others need not score again
space = NASBench201Space()
problem = NASProblem("digits", n_images=options.images, search_space=space, memory=memory)
results = {}
for kind in (RandomSearch, NSGA2Search, EvolutiveNAS):
    runs = [(kind(), ("n_gen", options.generations), seed) for seed in range(options.seeds)]
    results[kind.__name__] = [minimize(problem, a, end, seed=seed) for a, end, seed in runs]
comparison = compare(results, truth=truth)
print(comparison.table.round(3).T, comparison.tests.round(3).T, sep="\n\n")
print(*comparison.save(options.out), sep="\n")
