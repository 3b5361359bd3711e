"""Multi-objective, training-free neural architecture search on pymoo."""

__version__ = "0.1.0"
