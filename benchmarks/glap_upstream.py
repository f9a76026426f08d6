"""The public code of GLAP and of ML-CLAP with random weights, for `benchmarks.glap_parity`.

Needs the packages `glap_model` and `dasheng`; ML-CLAP's code comes from a clone of its repository.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import sentencepiece
import torch
from torch import Tensor, nn

SMALL = {"model_dim": 256, "num_layers": 4, "num_heads": 4, "ffn_inner_dim": 1024}
CAPTIONS = (
    "A dog barks, then a door slams.",
    "rain",
    "Une cloche d'église sonne au loin pendant que des enfants jouent dans la cour.",
    "Ein Zug fährt vorbei.",
    "一只猫在叫。",
    "雨が窓を叩いている",
)
CODES = ("eng_Latn", "eng_Latn", "fra_Latn", "deu_Latn", "zho_Hans", "jpn_Jpan")


@dataclass(frozen=True)
class Upstream:
    """A model of the public code and its checkpoint on disk.

    Attributes:
        audio: waveform [batch, samples] → unit vectors.
        pooled: waveform [batch, samples] → what the head sees.
        text: captions of one language and its FLORES code → unit vectors.
        ids: caption and code → token ids, as the public tokenizer gives them.
    """

    checkpoint: Path
    audio: Callable[[Tensor], Tensor]
    pooled: Callable[[Tensor], Tensor]
    text: Callable[[list[str], str], Tensor]
    ids: Callable[[str, str], list[int]]


@torch.no_grad()
def shake(net: nn.Module) -> None:
    """Random norms, biases and statistics too, in the range of trained ones: all must matter."""
    for name, value in net.state_dict().items():
        if name.endswith("running_mean"):
            value.copy_(-30 + 5 * torch.randn_like(value))
        elif name.endswith("running_var"):
            value.copy_(300 + 50 * torch.rand_like(value))
        elif name.endswith(("weight", "bias")) and value.ndim == 1:
            value.add_(0.1 * torch.randn_like(value))


def tokenizer_file(folder: Path) -> Path:
    """A SentencePiece model of 400 pieces, learnt from the captions."""
    text = folder / "captions.txt"
    text.write_text("\n".join(CAPTIONS * 50), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "pieces"),
        vocab_size=400,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder / "pieces.model"


def glap(folder: Path, *, full: bool) -> Upstream:
    """GLAP of `glap_model`: Dasheng-base, and SONAR at a reduced size unless `full`."""
    from dasheng.pretrained.pretrained import Dasheng
    from glap_model.config import GlapTrainConfig
    from glap_model.models import GLAP

    dasheng = Dasheng(embed_dim=768, depth=12, num_heads=12)
    shake(dasheng)
    start = folder / "dasheng_base.pt"
    torch.save({"model": dasheng.state_dict(), "config": {}}, start)
    _shrink_sonar(full)
    model = GLAP(
        audio_encoder_args={"path": str(start)},
        text_encoder_args={"tokenizer_path": str(tokenizer_file(folder))},
    ).eval()
    for part in (model.text_encoder, model.audio_proj, model.text_proj):
        shake(part)
    config = GlapTrainConfig(train_data={}, test_data={}, config_file="parity.yaml").state_dict()
    checkpoint = folder / "glap_checkpoint.pt"
    torch.save({"model": model.state_dict(), "config": config}, checkpoint)
    return Upstream(
        checkpoint,
        model.encode_audio,
        model.audio_encoder,
        lambda captions, code: model.encode_text(captions, source_lang=code),
        lambda caption, code: model.text_encoder.tokenizer.create_encoder(lang=code)(caption),
    )


def ml_clap(clone: Path, folder: Path, *, full: bool) -> Upstream:
    """ML-CLAP of its repository: CED-base and heads; SONAR is that of `glap_model`.

    fairseq2, from which its own code takes SONAR, needs another torch than GLAP's code.
    """
    from glap_model.models.textencoders.sonar_text_encoder import TextEncoderSonarWrapper

    _shrink_sonar(full)

    class Text(TextEncoderSonarWrapper):  # type: ignore[misc]
        def __init__(self, **_: object) -> None:
            super().__init__(tokenizer_path=str(tokenizer_file(folder)))
            self.text_width = self.embed_dim

        def forward(self, captions: list[str], source_lang: str) -> Tensor:
            found: Tensor = super().forward(captions, torch.device("cpu"), source_lang)
            return found

    sys.modules["models.text_encoder"] = stub = ModuleType("models.text_encoder")
    stub.TextEncoderSonarWrapper = Text  # type: ignore[attr-defined]
    sys.path.insert(0, str(clone))
    from models.mlclap_model import MLCLAP, MLCLAPConfig

    config = MLCLAPConfig(training=False)
    config.audio_encoder["pretrained"] = False
    model = MLCLAP(config, device="cpu").eval()
    shake(model)
    checkpoint = folder / "pretrain.pt"
    torch.save(model.state_dict(), checkpoint)
    tokenizer = model.text_encoder.tokenizer
    return Upstream(
        checkpoint,
        model.encode_audio,
        model.audio_encoder,
        model.encode_text,
        lambda caption, code: tokenizer.create_encoder(lang=code)(caption),
    )


def ml_clap_words(clone: Path) -> Callable[[str], list[str]]:
    """The words that its `dataset.text_preprocess` leaves of a caption."""
    tree = ast.parse((clone / "dataset.py").read_text(encoding="utf-8"))
    [found] = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == "text_preprocess"
    ]
    space: dict[str, Any] = {"sub": re.sub}
    exec(compile(ast.Module([found], []), "dataset.py", "exec"), space)
    return lambda caption: space["text_preprocess"](caption).split()


def _shrink_sonar(full: bool) -> None:
    from glap_model.models.textencoders import sonar_standalone, sonar_text_encoder

    whole = sonar_standalone.SonarTextEncoder

    def smaller(**sizes: Any) -> nn.Module:
        found: nn.Module = whole(**{**sizes, **({} if full else SMALL)})
        return found

    sonar_text_encoder.SonarTextEncoder = smaller
