"""Tokenizers that need no training: the bytes as they are, and a file that exists."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trajlab.config.schema import TokenizerConfig
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
