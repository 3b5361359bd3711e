"""Check whether a network can be trained and kept, as far as its images do not decide this."""

from __future__ import annotations

from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pymoo_nas.errors import NetworkError
from pymoo_nas.training._weights import copy_state


def check_trainable(network: Any) -> None:
    """Refuse a network that cannot be trained, kept in a file, or given its best weights again.

    A tensor whose elements share memory, as after `expand`, cannot be written to. It gets memory of
    its own; all values stay as they are.

    Raises:
        NetworkError: such a network; the message names the module or the tensor, and a remedy.
    """
    if not isinstance(network, nn.Module):
        raise NetworkError(f"network: got {_kind(network)}; expected a torch.nn.Module")
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise NetworkError(
                f"network: {_named(name)} is scripted or traced, so that its layers cannot be "
                "seen; train the module that it was made of, and script it afterwards"
            )
    _check_tensors(network)
    try:
        network.train()
    except Exception as error:
        raise NetworkError(
            f"network: cannot be put into training mode ({type(error).__name__}: {error}); train "
            "the module that it was made of, and export it afterwards"
        ) from error
    if not any(weight.requires_grad for weight in network.parameters()):
        raise NetworkError("network: no trainable parameters; expected some to train")
    _check_state(network)


def _kind(given: Any) -> str:
    """Name the thing that was given, and tell how to make a network of it."""
    if hasattr(given, "opt") and hasattr(given, "algorithm"):
        return "a pymoo result, and no network; build one: train(build_final(result), ...)"
    return (
        f"{type(given).__name__}, and no network; of a genotype build one: "
        "train(build_final(genotype, problem=problem), ...)"
    )


def _check_tensors(network: nn.Module) -> None:
    """Refuse parameters and buffers without values, and separate elements that share memory."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    for name, tensor in tensors:
        if is_lazy(tensor):
            raise NetworkError(
                f"network: {name!r} belongs to a lazy module, which has no weights before its "
                "first call; call the network once, with a batch of the images, and train it then"
            )
        if tensor.device.type == "meta":
            raise NetworkError(
                f"network: {name!r} is on the device meta and has no values; give it some: "
                'network.to_empty(device="cpu"), and initialise it'
            )
        if tensor.is_inference():
            raise NetworkError(
                f"network: {name!r} was made within torch.inference_mode(), and cannot be trained "
                "with; build the network outside"
            )
    for _, tensor in tensors:
        shared = tensor.layout == torch.strided and any(
            step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True)
        )
        if shared:
            tensor.data = tensor.detach().clone(memory_format=torch.contiguous_format)


def _named(module: str) -> str:
    return f"module {module!r}" if module else "the network itself"


def _can_be_kept(tensor: Tensor) -> bool:
    """Whether a tensor of this type can be written to a file."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        return False
    try:
        safetensors.torch.save({"": torch.zeros(0, dtype=tensor.dtype)})
    except (KeyError, ValueError, TypeError, safetensors.SafetensorError):
        return False
    return True


def _check_state(network: nn.Module) -> None:
    """Refuse a network whose state is not made of tensors, or cannot be loaded again."""
    try:
        state = network.state_dict()
    except Exception as error:
        raise NetworkError(
            f"network: its state_dict() fails ({type(error).__name__}: {error}); mend it, or the "
            "hooks that it calls"
        ) from error
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise NetworkError(
                f"network: {_named(name.rpartition('.')[0])} keeps a value of type "
                f"{type(value).__name__} ({name!r}) in its state, which no .safetensors file "
                "holds; keep it in buffers (register_buffer), or let get_extra_state return a "
                "tensor"
            )
        if not _can_be_kept(value):
            raise NetworkError(
                f"network: {name!r} is a tensor of {value.dtype}, {value.layout}, which no "
                ".safetensors file holds; keep its values in dense tensors of usual numbers, such "
                "as float32 (a buffer that need not be kept: persistent=False)"
            )
    try:
        network.load_state_dict(copy_state(network))
    except Exception as error:
        raise NetworkError(
            f"network: does not take its own state_dict() back ({type(error).__name__}: {error}); "
            "mend load_state_dict, or the hooks that it calls"
        ) from error
