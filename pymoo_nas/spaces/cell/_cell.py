"""The phenotype of a genotype: its cell as a module."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from pymoo_nas.errors import NetworkError, OperationError
from pymoo_nas.networks import (
    OPERATIONS,
    Operation,
    build_operation,
    concatenate,
    halve_features,
    operation_table,
)
from pymoo_nas.spaces.cell._genotype import Genotype


class Cell(nn.Module):
    """The cell of Fig. 1: every node concatenates the outputs of the operations that lead to it.

    Args:
        genotype: channel counts, one per block and operation; nodes that cannot reach the output
            are not built.
        operations: name → factory, in the order of the genotype's counts.
        in_channels: channels of the input (node 0).
        width: factor of all channel counts, which are rounded, to at least 1.
        reduces: whether to halve the map while it is larger than `MIN_SIZE`, by 2×2 max pooling
            behind each operation that takes the input. The cell is then a reduction cell (Liu
            2018) with unchanged operations.
        shortcut: whether to add the cell's input to its output, halved as the cell halves it and
            with as many channels, by a 1×1 convolution with batch norm where it has others (He
            2016).

    Attributes:
        out_channels: channels of the last node.

    Raises:
        NetworkError: the genotype has another number of operations, or its output is not connected
            to its input.
        OperationError: a factory cannot make the channel counts; in `forward`, an operation does
            not keep (H, W) or returns another channel count.
    """

    def __init__(
        self,
        genotype: Genotype,
        operations: Mapping[str, Operation],
        in_channels: int,
        width: float = 1,
        *,
        reduces: bool = False,
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        operations = operation_table(operations)
        if genotype.n_operations != len(operations):
            raise NetworkError(
                f"genotype {genotype}: {genotype.n_operations} counts per block; "
                f"expected {len(operations)}, one per operation ({', '.join(operations)})"
            )
        live = genotype.live_nodes()
        if not live:
            raise NetworkError(f"genotype {genotype}: output not connected to the input")
        self.reduces = reduces
        channels = {0: in_channels}
        self.inputs: dict[int, list[tuple[int, str]]] = {}
        self.counts: dict[str, int] = {}
        self.operations = nn.ModuleDict()
        for target in live[1:]:
            flows = [
                (source, name, max(1, round(width * count)))
                for source in live
                if source < target
                for name, count in zip(operations, genotype.block(source, target), strict=True)
                if count
            ]
            self.inputs[target] = [
                (source, f"{source}->{target} {name}") for source, name, _ in flows
            ]
            for (source, key), (_, name, count) in zip(self.inputs[target], flows, strict=True):
                self.counts[key] = count
                self.operations[key] = build_operation(
                    name, operations[name], channels[source], count
                )
            channels[target] = sum(count for _, _, count in flows)
        self.out_channels = channels[live[-1]]
        skip = OPERATIONS["skip"]
        self.shortcut = skip(in_channels, self.out_channels) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) → (N, out_channels, H, W); half of H and W if it reduces."""
        nodes = {0: x}
        for target, flows in self.inputs.items():
            parts = [self._flow(source, key, nodes[source]) for source, key in flows]
            nodes[target] = parts[0] if len(parts) == 1 else concatenate(parts)
        if self.shortcut is None:
            return nodes[target]
        around: Tensor = self.shortcut(halve_features(x) if self.reduces else x)
        return nodes[target] + around

    def extra_repr(self) -> str:
        """Show in `repr` whether the cell halves the map, because none of its layers shows it."""
        return f"reduces={self.reduces}"

    def _flow(self, source: int, key: str, x: Tensor) -> Tensor:
        """Compute one operation's output, check its shape, and halve it where the cell reduces."""
        y: Tensor = self.operations[key](x)
        expected = (x.shape[0], self.counts[key], *x.shape[2:])
        if tuple(y.shape) != expected:
            raise OperationError(
                f"operation {key!r}: returned {tuple(y.shape)} for {tuple(x.shape)}; "
                f"expected {expected}: height and width kept, as many channels as asked for"
            )
        return halve_features(y) if self.reduces and source == 0 else y
