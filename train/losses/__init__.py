"""Losses of fine-tuning: the paper's (`contrastive`), and beyond (`agreement`)."""

from train.losses.contrastive import cacl, kcl, kcl_joint, sampled, two_way_infonce
from train.losses.registry import LOSSES, Loss, get_loss

__all__ = [
    "LOSSES",
    "Loss",
    "cacl",
    "get_loss",
    "kcl",
    "kcl_joint",
    "sampled",
    "two_way_infonce",
]
