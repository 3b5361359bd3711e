"""Search with an objective of your own: the energy that moving the feature maps would take.

Run it with ``python examples/own_objective.py``. A function of the network and the probe is enough;
everything else (tables, pictures, choice) knows the objective by its name.
"""

from pymoo.optimize import minimize
from torch import nn

from pymoo_nas import EvolutiveNAS, NASProblem, Objective, Probe, front_to_frame

PICOJOULES_PER_BYTE = 100.0


def moved(network: nn.Module, probe: Probe) -> float:
    """Bytes that convolutions write for one image, as energy in microjoules."""
    written: list[int] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: written.append(output.nbytes))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    network(probe.images[:1])
    for hook in hooks:
        hook.remove()
    return PICOJOULES_PER_BYTE * sum(written) / 1e6


energy = Objective.of_network("energy", moved, worst=1e9, label="moving maps, µJ")

if __name__ == "__main__":
    problem = NASProblem("digits", n_images=16, objectives=["ntk", "activation", energy])
    result = minimize(problem, EvolutiveNAS(4, 8), ("n_gen", 3), seed=1)
    print(front_to_frame(result)[["genotype", "ntk", "activation", "energy", "params"]])
