"""Search genotypes by another algorithm of pymoo: NSGA-III with reference directions.

Run it with ``python examples/nsga3.py``. ``operators()`` gives any genetic algorithm of pymoo what
genotypes need.
"""

from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.optimize import minimize
from pymoo.util.ref_dirs import get_reference_directions

from pymoo_nas import NASProblem, front_to_frame, history_to_frame, operators

if __name__ == "__main__":
    problem = NASProblem("digits", n_images=16)
    directions = get_reference_directions("das-dennis", 3, n_partitions=3)
    algorithm = NSGA3(ref_dirs=directions, pop_size=12, **operators())
    result = minimize(problem, algorithm, ("n_gen", 3), seed=1, save_history=True)
    print(front_to_frame(result)[["genotype", *problem.objective_names, "params"]])
    print(f"{len(history_to_frame(result))} candidates scored")
    print("normalised front:", problem.normalise(result.F).round(2).tolist(), sep="\n")
