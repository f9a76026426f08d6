"""Sizes of the towers, read from the shapes of weights.

Where the key that tells a size is missing, it is the published one: what is missing is named when
the weights are put in place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from train.towers.patches import TowerShape

HEAD_WIDTH = 64


def tower_shape(weights: Mapping[str, Tensor], published: TowerShape) -> TowerShape:
    """Of CED or Dasheng, from weights under the keys of the encoder alone."""
    width = length(weights, "norm.weight", 0, published.width)
    layers = layers_of(weights, "blocks.") or published.layers
    return TowerShape(width, heads_of(width), layers)


def length(weights: Mapping[str, Tensor], key: str, axis: int, otherwise: int) -> int:
    """Length of an axis of a weight, or `otherwise` where it has none."""
    found = weights.get(key)
    return otherwise if found is None or found.ndim <= axis else found.shape[axis]


def heads_of(width: int) -> int:
    """Heads of 64 values, or one head."""
    return max(1, width // HEAD_WIDTH)


def layers_of(weights: Mapping[str, Tensor], before: str) -> int:
    """How many different numbers follow `before` in the keys."""
    found = (re.match(rf"{re.escape(before)}(\d+)\.", key) for key in weights)
    return len({match[1] for match in found if match})
