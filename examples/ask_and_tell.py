"""Search by hand, generation by generation: pymoo's ask-and-tell interface.

Run it with ``python examples/ask_and_tell.py``. Between ``ask`` and ``tell`` the candidates are
yours: score them, look at them, or stop.
"""

from pymoo_nas import EvolutiveNAS, NASProblem, history_to_frame

if __name__ == "__main__":
    problem = NASProblem("digits", n_images=16)
    algorithm = EvolutiveNAS(pop_size=4, n_offsprings=8)
    algorithm.setup(problem, termination=("n_gen", 3), seed=1)
    while algorithm.has_next():
        candidates = algorithm.ask()
        algorithm.evaluator.eval(problem, candidates)
        algorithm.tell(infills=candidates)
        best = min(individual.F[0] for individual in algorithm.pop)
        print(f"generation {algorithm.n_iter - 1}: smallest condition number 10^{best:.2f}")
    print(history_to_frame(algorithm.result())["degenerate"].value_counts())
