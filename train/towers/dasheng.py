"""The Dasheng audio encoder (Dinkel et al., arXiv 2406.06992), in the keys of its checkpoints.

The transformer of CED over patches of all 64 mel bands by 4 frames: a patch is 40 ms, a clip of
10.08 s has 252 of them. Written from the paper and the shapes of the published weights.
"""

from __future__ import annotations

from train.towers.patches import Patching, PatchTower, TowerShape

DASHENG_SHAPES = {"base": TowerShape(768, 12)}


class Dasheng(PatchTower):
    """Waveform float32 [batch, samples] at 16 kHz → embedding [batch, width], not of unit length.

    A clip of less than 480 samples (one patch) is filled up with zeros. One of more than 161,279
    is heard through windows of 10 s (`PatchTower`): there `glap_model` 0.0.13 fills the normalised
    spectrogram up to whole pieces of 10.08 s, so that half of a clip of 10.1 s is filling to it,
    and 0.0.11, the code at the time of the weights, weighs each piece by its length. Up to 161,279
    samples all three agree.
    """

    patching = Patching(bands=64, frames=4, longest=1008)
