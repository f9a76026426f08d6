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
        self._states: list[_RandomState] = []
        if chunk is None:
            self.vectors = encode(*inputs)
            return
        with torch.no_grad():
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
            if vectors.requires_grad:
                torch.autograd.backward(vectors, gradient)

    def _parts(self, size: int) -> Iterator[Inputs]:
        return zip(*(torch.split(one, size) for one in self._inputs), strict=True)

    def _first(self, part: Inputs) -> Tensor:
        self._states.append(_RandomState(part))
        return self._encode(*part)


def encode_in_chunks(encode: Encode, inputs: Inputs, chunk: int | None) -> Chunked:
    """Encode a batch so that only one chunk's activations are ever held.

    The gradient is that of the whole batch, dropout included: each chunk is encoded twice with the
    same random numbers. Batch statistics would differ, so normalisation layers that use them must
    be in eval mode (`refuse_batch_statistics`). Under autocast, call this and `backward` inside the
    same context.

    Args:
        encode: inputs → float [n, dim].
        inputs: tensors with the same first dimension n, at least 1.
        chunk: rows encoded at a time; None encodes all at once, with plain autograd.

    Raises:
        ValueError: the chunk is below 1, or there is nothing to encode.
    """
    if chunk is not None and chunk < 1:
        raise ValueError("a chunk needs at least one row")
    if not inputs or not len(inputs[0]):
        raise ValueError("nothing to encode")
    return Chunked(encode, inputs, chunk)


def refuse_batch_statistics(module: nn.Module) -> None:
    """Check that no layer would mix the rows of a chunk.

    Raises:
        ValueError: a batch normalisation in training mode.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training:
            raise ValueError(
                f"`{name}` normalises by batch statistics, which chunks change: put it in eval mode"
            )


class _RandomState:
    """The random numbers of one chunk, to be drawn a second time."""

    def __init__(self, inputs: Inputs) -> None:
        self._cpu = torch.get_rng_state()
        devices = {one.device for one in inputs if one.is_cuda}
        self._cuda = {device: torch.cuda.get_rng_state(device) for device in devices}

    @contextmanager
    def again(self) -> Iterator[None]:
        """A context in which the same numbers come; afterwards those that would have come."""
        with torch.random.fork_rng([device.index or 0 for device in self._cuda]):
            torch.set_rng_state(self._cpu)
            for device, state in self._cuda.items():
                torch.cuda.set_rng_state(state, device)
            yield
