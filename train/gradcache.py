"""Exact gradients of a large batch in the memory of a small one (GradCache, Gao et al., 2021).

A contrastive loss needs the vectors of the whole batch at once, but not the activations that made
them. So: encode everything in chunks without gradients; take the loss of the vectors, and its
gradient with respect to them; then encode each chunk again, now with gradients, and pass its
part of that gradient on. With captions in K languages this keeps memory from growing with K.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_forward_pre_hook

from train.types import Inputs

Encode = Callable[..., Tensor]


class Chunked:
    """Vectors of a batch, and the way back to the encoder's parameters.

    Use `vectors` in a loss, let the loss run backward, then call `backward`.
    """

    def __init__(self, encode: Encode, inputs: Inputs, chunk: int | None) -> None:
        """See `encode_in_chunks`."""
        self._encode, self._inputs = encode, inputs
        self._size = chunk
        self._states: list[_State] = []
        if chunk is None:
            self.vectors = encode(*inputs)
            return
        with torch.no_grad(), _refusing_batch_statistics():
            rows = [self._first(part) for part in self._parts(chunk)]
        self.vectors = torch.cat(rows).requires_grad_()
        """Float [n, dim]; a leaf when the batch is chunked."""

    def backward(self) -> None:
        """Add the gradient that reached `vectors` to the encoder's parameters.

        Without chunks there is nothing to do: autograd has gone all the way.
        """
        if self._size is None or self.vectors.grad is None:
            return
        gradients = torch.split(self.vectors.grad, self._size)
        for part, state, gradient in zip(
            self._parts(self._size), self._states, gradients, strict=True
        ):
            with state.again():
                vectors = self._encode(*part)
            if not vectors.requires_grad:  # every part of the encoder is frozen
                return
            torch.autograd.backward(vectors, gradient)

    def _parts(self, size: int) -> Iterator[Inputs]:
        return zip(*(torch.split(one, size) for one in self._inputs), strict=True)

    def _first(self, part: Inputs) -> Tensor:
        self._states.append(_State(part))
        return self._encode(*part)


def encode_in_chunks(encode: Encode, inputs: Inputs, chunk: int | None) -> Chunked:
    """Encode a batch so that only one chunk's activations are ever held.

    The gradient is that of the whole batch, dropout included: each chunk is encoded twice with the
    same random numbers. The second time has the autocast of the first, wherever `backward` is
    called; a gradient scaler's factor passes through. The encoder's weights must not change in
    between.

    Args:
        encode: inputs → float [n, dim].
        inputs: tensors with the same first dimension n, at least 1.
        chunk: rows encoded at a time; None encodes all at once, with plain autograd.

    Raises:
        ValueError: the chunk is below 1, there is nothing to encode, or with chunks a batch
            normalisation that runs is in training mode: its statistics would be a chunk's. A layer
            is checked when called as a module, not `F.batch_norm`.
    """
    if chunk is not None and chunk < 1:
        raise ValueError("a chunk needs at least one row")
    if not inputs or not len(inputs[0]):
        raise ValueError("nothing to encode")
    return Chunked(encode, inputs, chunk)


def refuse_batch_statistics(module: nn.Module) -> None:
    """Check before a run that no layer would mix the rows of a chunk.

    Raises:
        ValueError: a batch normalisation in training mode, or without statistics of its own.
    """
    for name, layer in module.named_modules():
        _refuse(layer, name)


@contextmanager
def _refusing_batch_statistics() -> Iterator[None]:
    """Check each layer as it runs, because `encode` may be any function."""
    watch = register_module_forward_pre_hook(lambda layer, _: _refuse(layer))
    try:
        yield
    finally:
        watch.remove()


def _refuse(layer: nn.Module, name: str = "") -> None:
    if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
        raise ValueError(
            f"`{name or layer}` normalises by batch statistics, which chunks change: "
            "put it in eval mode"
        )


class _State:
    """Random numbers and autocast of one chunk, to be met a second time."""

    def __init__(self, inputs: Inputs) -> None:
        self._cpu = torch.get_rng_state()
        devices = {one.device for one in inputs if one.is_cuda}
        self._cuda = {device: torch.cuda.get_rng_state(device) for device in devices}
        kind = self._kind = inputs[0].device.type
        self._low = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    @contextmanager
    def again(self) -> Iterator[None]:
        """A context in which both are as they were; afterwards as they would have been."""
        enabled, dtype = self._low
        with (
            torch.random.fork_rng([device.index or 0 for device in self._cuda]),
            torch.autocast(self._kind, dtype, enabled, cache_enabled=False),
        ):
            torch.set_rng_state(self._cpu)
            for device, state in self._cuda.items():
                torch.cuda.set_rng_state(state, device)
            yield
