"""Tokenizers that need no training: the bytes as they are, and a file that exists."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from trajlab.analysis import load_runs
from trajlab.config.groups import TokenizerConfig
from trajlab.data.tokenizer import byte_tokenizer, end_of_text_id, problems, token_bytes
from trajlab.errors import UserError


def test_bytes_stand_for_themselves() -> None:
    tokenizer = byte_tokenizer()
    text = "Zoë’s 猫\n\x00"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text
    assert (tokenizer.get_vocab_size(), end_of_text_id(tokenizer)) == (257, 0)
    assert token_bytes(tokenizer)[ids].sum() == len(ids)


def test_a_run_takes_bytes_or_a_file(micro: Callable[..., Path], tmp_path: Path) -> None:
    byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    bytes_ = micro("tokenizer=bytes", "tokenizer.vocab_size=257", runs="bytes")
    existing = ["tokenizer=existing", f"tokenizer.path={tmp_path / 'tokenizer.json'}", "tokenizer.vocab_size=257"]
    file = micro(*existing, runs="file")
    last = "snapshots/tokens=000000001920.safetensors"
    assert (bytes_ / last).read_bytes()[-4000:] == (file / last).read_bytes()[-4000:], "the same weights either way"


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    (said,) = problems(TokenizerConfig(path=str(tmp_path / "t.json"), vocab_size=300, train_bytes=1))
    assert "is no tokenizer.json" in said


def test_a_file_with_more_entries_than_the_model_is_refused(tmp_path: Path, micro: Callable[..., Path]) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["the", "and"])
    tokenizer.save(str(tmp_path / "t.json"))
    with pytest.raises(UserError, match="has 259 entries; write tokenizer.vocab_size=259"):
        micro(f"tokenizer.path={tmp_path / 't.json'}", "tokenizer.vocab_size=257", "data.source=no/such")


TEXT = ["Zoë saw a naïve 猫 and a dog.", "The dog ran home.", "A cat, a dog and a cat."] * 3


def trained(model: object, pre_tokenizer: object, decoder: object, trainer: object) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoder
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def metaspace(scheme: str, fallback: bool = True) -> Tokenizer:
    """As SentencePiece: a sign for the space, characters that it lacks as their bytes."""
    hexes = [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=["</s>", *hexes], show_progress=False)
    decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    pre = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer = trained(models.BPE(byte_fallback=fallback), pre, decoder, trainer)
    entries = json.loads(tokenizer.to_str())
    entries["added_tokens"] = [t for t in entries["added_tokens"] if t["content"] == "</s>"]
    return Tokenizer.from_str(json.dumps(entries))


def test_signs_for_spaces_and_bytes_of_rare_characters_count_for_what_they_are() -> None:
    tokenizer = metaspace("never")
    table = token_bytes(tokenizer)
    assert table is not None
    for text in (*TEXT, "Ünknown 犬 🐕  twice"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert table[ids].sum() == len(text.encode())


def test_where_an_id_does_not_tell_its_bytes_nothing_is_said() -> None:
    pieces = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", "</s>"], show_progress=False)
    words = trained(models.WordPiece(unk_token="[UNK]"), pre_tokenizers.Whitespace(), decoders.WordPiece(), pieces)
    lower = byte_tokenizer()
    lower.normalizer = normalizers.Lowercase()
    shortened = byte_tokenizer()
    shortened.normalizer = normalizers.NFKC()
    # a space before each text that the text does not have; spaces that are dropped; text that is changed before
    for tokenizer in (metaspace("always"), words, lower, shortened):
        assert token_bytes(tokenizer) is None


def test_bits_per_byte_is_null_where_bytes_are_not_known(micro: Callable[..., Path], tmp_path: Path) -> None:
    metaspace("always").save(str(tmp_path / "t.json"))
    folder = micro(
        "tokenizer=existing",
        f"tokenizer.path={tmp_path / 't.json'}",
        "tokenizer.vocab_size=340",
        "model.vocab_size=340",
    )
    rows = load_runs(folder).intervals
    assert rows["bits_per_byte"].isna().all()
    assert rows["loss"].notna().all()
