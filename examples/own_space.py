"""Search a space of your own: networks of three convolutions, written as their widths."""

import re

from pymoo.optimize import minimize
from torch import nn

from pymoo_nas import EvolutiveNAS, GenotypeError, NASProblem, SearchSpace, choose


class Widths(SearchSpace):
    def parse(self, text):
        if not re.fullmatch(r"\d+-\d+-\d+", text):
            raise GenotypeError(f"genotype {text!r}: expected three widths such as 8-16-32")
        return tuple(map(int, text.split("-")))

    def format(self, genotype):
        return "-".join(map(str, genotype))

    def sample(self, rng):
        return tuple(rng.integers(4, 33, 3).tolist())

    def crossover(self, a, b, rng):
        return tuple(pair[rng.integers(2)] for pair in zip(a, b, strict=True))

    def mutate(self, genotype, kind, operation, rng):
        place, width = int(rng.integers(3)), int(rng.integers(4, 33))
        return (*genotype[:place], width, *genotype[place + 1 :])

    def build(self, genotype, in_channels, n_classes):
        layers = []
        for c_in, c_out in zip((in_channels, *genotype), genotype, strict=False):
            layers += [nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(genotype[-1], n_classes)]
        return nn.Sequential(*layers)


if __name__ == "__main__":
    problem = NASProblem("digits", n_images=16, search_space=Widths())
    print(choose(minimize(problem, EvolutiveNAS(4, 8), ("n_gen", 3), seed=1)).head())
