"""What every tower is: a network, pooled to one vector, and a head that gives the unit vector."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor, nn

from train.towers.freezing import Freeze, freeze


class Tower(nn.Module):
    """`pooled` runs the network, `unit` the head; `forward` is one after the other.

    What does not change in training is cached between the two.
    """

    HEAD: ClassVar[str] = "head"
    """Name of the module that is the head."""

    @abstractmethod
    def pooled(self, *args: Any, **kwargs: Any) -> Tensor:
        """What the head reads, float [batch, width]."""

    def unit(self, pooled: Tensor) -> Tensor:
        """Unit vectors float [batch, dim] of pooled ones: what the head makes of them."""
        found: Tensor = getattr(self, self.HEAD)(pooled)
        return found

    def freeze(self, how: Freeze) -> None:
        """Freeze the network: all of it, none, or all but its last blocks. The head is trained.

        Raises:
            ValueError: there are not so many blocks.
        """
        freeze(self, how)
        for _, parameter in self._network():
            parameter.requires_grad_(parameter.requires_grad and how != "all")
        getattr(self, self.HEAD).requires_grad_(True)

    @property
    def is_frozen(self) -> bool:
        """Whether nothing but the head is trained, so that `pooled` may be cached."""
        return not any(parameter.requires_grad for _, parameter in self._network())

    def digest(self) -> str:
        """SHA-256 of everything that changes `pooled`."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for name, tensor in self.state_dict().items():
            if not name.startswith(f"{self.HEAD}."):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def _network(self) -> Iterator[tuple[str, nn.Parameter]]:
        named = self.named_parameters()
        return (pair for pair in named if not pair[0].startswith(f"{self.HEAD}."))
