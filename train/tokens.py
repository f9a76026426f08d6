"""A smaller sentencepiece vocabulary for the text tower, cut from multilingual-e5-small's."""

from __future__ import annotations

import importlib
import io
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.e5 import PackedE5

SPECIAL = 4
SPACE = "\u2581"
SCRIPTS = ("LATIN", "CYRILLIC", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "ARABIC", "GREEK")


def _proto() -> Any:
    """The classes of sentencepiece's model file; they are made when imported, so untyped."""
    return importlib.import_module("sentencepiece.sentencepiece_model_pb2")


def _nmt_nfkc_rules() -> bytes:
    """The normalisation table XLM-R uses, as the sentencepiece library itself makes it."""
    import sentencepiece

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c"]),
        model_writer=made,
        vocab_size=8,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    model = _proto().ModelProto()
    model.ParseFromString(made.getvalue())
    return bytes(model.normalizer_spec.precompiled_charsmap)


def sentencepiece_model(pieces: Sequence[str], scores: Sequence[float]) -> bytes:
    """A unigram model of these pieces; ids 0-3 are <s>, <pad>, </s>, <unk>, as in XLM-R.

    Args:
        pieces: the four special ones first.
        scores: log-probabilities of the pieces.

    Returns:
        The contents of a sentencepiece model file.
    """
    model = _proto().ModelProto()
    _add_pieces(model, pieces, scores)
    _set_rules(model, len(pieces))
    return bytes(model.SerializeToString())


def _add_pieces(model: Any, pieces: Sequence[str], scores: Sequence[float]) -> None:
    kinds = type(model).SentencePiece
    special = [kinds.CONTROL, kinds.CONTROL, kinds.CONTROL, kinds.UNKNOWN]
    for place, (piece, score) in enumerate(zip(pieces, scores, strict=True)):
        entry = model.pieces.add()
        entry.piece, entry.score = piece, float(score)
        entry.type = special[place] if place < SPECIAL else kinds.NORMAL


def _set_rules(model: Any, size: int) -> None:
    """Unigram segmentation, the ids of the special pieces, and XLM-R's normalisation."""
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type = trainer.UNIGRAM
    trainer.vocab_size = size
    trainer.bos_id, trainer.pad_id, trainer.eos_id, trainer.unk_id = 0, 1, 2, 3
    normalizer.name = "nmt_nfkc"
    normalizer.precompiled_charsmap = _nmt_nfkc_rules()
    normalizer.add_dummy_prefix = True
    normalizer.remove_extra_whitespaces = True
    normalizer.escape_whitespaces = True


def _script_ok(piece: str) -> bool:
    """Whether all letters are of a script that a served language writes."""
    for char in piece.replace(SPACE, ""):
        if char.isalpha() and not unicodedata.name(char, "").startswith(SCRIPTS):
            return False
    return True


def used_pieces(packed: PackedE5, texts: Iterable[str]) -> NDArray[np.int64]:
    """How often the full vocabulary uses each piece in `texts`: int64 [pieces]."""
    import sentencepiece

    full = sentencepiece.SentencePieceProcessor(
        model_proto=sentencepiece_model(packed.pieces, packed.scores.tolist())
    )
    counts = np.zeros(len(packed.pieces), dtype=np.int64)
    for ids in full.encode(list(texts)):
        np.add.at(counts, ids, 1)
    return counts


def choose_pieces(packed: PackedE5, counts: NDArray[np.int64], size: int) -> list[int]:
    """Ids to keep: specials, the pieces our texts use (`counts`), then by rank up to `size`.

    The model's ids are sorted by frequency over a hundred languages, so a low id is a common
    piece; scripts none of the served languages writes are left out.
    """
    keep = set(range(SPECIAL)) | {int(i) for i in np.nonzero(counts)[0]}
    for place, piece in enumerate(packed.pieces):
        if len(keep) >= size:
            break
        if _script_ok(piece):
            keep.add(place)
    return sorted(keep)
