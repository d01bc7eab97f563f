"""Sliding windows count every token once, whatever the stride; bytes add up to those of the text."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.series_material import byte_tokenizer, transformers_model
from trajlab.config.groups import DataConfig, ValidationConfig
from trajlab.data.documents import DocumentWindows, EvaluationText, TokenizedText, tokenize
from trajlab.errors import UserError
from trajlab.evaluation.checkpoint_model import CheckpointModel
from trajlab.models.hf import HFModel

TOKENIZER = byte_tokenizer()


def _counted(windows: DocumentWindows) -> list[int]:
    """Targets that count, over all windows in order."""
    numbers = range(len(windows))
    return windows.batch(numbers)[:, 1:][windows.mask(numbers)].tolist()


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4), context=st.integers(1, 12), align_last=st.booleans(),
    data=st.data(),
)  # fmt: skip
def test_every_target_counts_once_and_in_order(
    lengths: list[int], context: int, align_last: bool, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, context))
    ids = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
    texts = [TokenizedText(i.astype(np.int64), np.ones(len(i), np.int64)) for i in ids]
    expected = [int(x) for i in ids for x in i[1:]]
    if not expected:
        with pytest.raises(ValueError, match="no token to predict"):
            DocumentWindows(texts, context, stride)
        return
    windows = DocumentWindows(texts, context, stride, align_last=align_last)
    assert _counted(windows) == expected
    assert windows.token_count == len(expected) == windows.byte_count


def test_a_token_has_context_less_stride_before_it() -> None:
    text = TokenizedText(np.arange(100, dtype=np.int64), np.ones(100, np.int64))
    windows = DocumentWindows([text], context=16, stride=4)
    for number in range(1, len(windows)):
        first = int(windows.mask([number])[0].nonzero()[0])  # type: ignore[arg-type]
        assert first == 16 - 4


def test_a_stride_beyond_the_context_is_an_error() -> None:
    with pytest.raises(ValueError, match="stride 9 must lie between 1 and the context of 8"):
        DocumentWindows([TokenizedText(np.arange(20), np.ones(20, np.int64))], 8, 9)


def test_bytes_add_up() -> None:
    document = "Zoë says: “naïve” — 猫!"
    text = tokenize(TOKENIZER, document)
    assert text.bytes_N.sum() == len(document.encode())
    assert text.ids_N[0] == 0
    assert len(text.ids_N) == 1 + len(document.encode())
    stream = DocumentWindows.over([document, "b"], TOKENIZER, 8, layout="stream")
    apart = DocumentWindows.over([document, "b"], TOKENIZER, 8, layout="documents")
    assert stream.byte_count == apart.byte_count == len(document.encode()) + 1
    assert stream.token_count == apart.token_count + 2, "an end-of-text token after each document"


def test_a_long_document_equals_forward_passes_by_hand() -> None:
    model = CheckpointModel(HFModel(transformers_model("opt")), TOKENIZER)
    document = "Once upon a time there was a cat. " * 6
    ids = torch.from_numpy(tokenize(TOKENIZER, document).ids_N)
    context, stride, total, reached = 32, 12, 0.0, 0
    for start in range(0, len(ids), stride):
        part = ids[start : start + context + 1]
        with torch.no_grad():
            nll = F.cross_entropy(model.hf(part[None]).logits[0, :-1], part[1:], reduction="none")
        new = start + len(part) - 1 - reached
        total += float(nll[len(nll) - new :].double().sum())
        reached += new
        if reached == len(ids) - 1:
            break
    loss = model.document_loss(document, context, stride)
    assert loss.nll_sum == pytest.approx(total, abs=1e-3)
    assert loss.token_count == len(ids) - 1
    assert loss.bits_per_byte == pytest.approx(total / np.log(2) / len(document), rel=1e-6)
    assert loss.perplexity == pytest.approx(np.exp(total / (len(ids) - 1)), rel=1e-6)


def test_more_to_read_before_each_token_is_another_loss_over_the_same_tokens() -> None:
    model = CheckpointModel(HFModel(transformers_model("opt")), TOKENIZER)
    document = "The dog saw the cat and ran. " * 8
    coarse, fine = model.document_loss(document, 32, 32), model.document_loss(document, 32, 4)
    assert coarse.token_count == fine.token_count
    assert coarse.nll_sum != fine.nll_sum


def test_the_separator_is_a_choice() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    a, b = (tokenizer(t, add_special_tokens=False)["input_ids"][0] for t in "ab")
    found = {
        s: DocumentWindows.over(["a", "b"], tokenizer, 8, separator=s).texts[0].ids_N.tolist()
        for s in ("eos", "bos", "none", "b")
    }
    bos = tokenizer.bos_token_id
    assert found == {
        "eos": [bos, a, 0, b, 0],
        "bos": [bos, a, bos, b, bos],
        "none": [bos, a, b],
        "b": [bos, a, b, b, b],
    }
    tokenizer.bos_token = None
    with pytest.raises(UserError, match="has no begin-of-text token"):
        DocumentWindows.over(["a", "b"], tokenizer, 8, separator="bos")


def test_windows_in_the_middle_begin_as_texts_do_where_asked() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    bos = tokenizer.bos_token_id
    plain, begun = (
        DocumentWindows.over(["abcdef", "ghijkl"], tokenizer, 4, stride=2, begin_windows=b) for b in (False, True)
    )
    numbers = range(len(plain))
    assert set(begun.batch(numbers)[:, 0].tolist()) == {bos}
    assert plain.batch(numbers)[1:, 0].tolist().count(bos) == 0
    assert begun.batch(numbers)[:, 1:].equal(plain.batch(numbers)[:, 1:]), "the targets are the same"
    assert begun.mask(numbers).equal(plain.mask(numbers))
    assert begun.fingerprint() != plain.fingerprint()
    assert (begun.token_count, begun.byte_count) == (plain.token_count, plain.byte_count)
    tokenizer.bos_token = None
    with pytest.raises(UserError, match="begin_windows=true: the tokenizer has no begin-of-text token"):
        DocumentWindows.over(["a"], tokenizer, 4, begin_windows=True)


def test_the_last_window_is_as_long_as_the_others_where_asked() -> None:
    """Ten tokens in windows of four, as lm-evaluation-harness rolls over them: the last is 6 to 9, of which 8 and 9 count."""
    text = TokenizedText(np.arange(-1, 10), np.ones(11, np.int64))  # what stands before the first token is -1
    aligned, plain = (DocumentWindows([text], 4, align_last=a) for a in (True, False))
    assert aligned.batch(range(3)).tolist() == [[-1, 0, 1, 2, 3], [3, 4, 5, 6, 7], [5, 6, 7, 8, 9]]
    assert aligned.mask([2]).tolist() == [[False, False, True, True]]
    assert _counted(aligned) == _counted(plain) == list(range(10))
    assert plain.lengths.tolist() == [4, 4, 2]
    assert aligned.fingerprint() != plain.fingerprint()
    short = DocumentWindows([text, TokenizedText(np.arange(20, 23), np.ones(3, np.int64))], 8, 4, align_last=True)
    assert short.lengths.tolist() == [8, 8, 2], "a text that is shorter than a window stays as it is"
    assert _counted(short) == [*range(10), 21, 22]


def test_windows_know_their_length() -> None:
    windows = DocumentWindows.over(["abc", "a", "abcdefghij"], byte_tokenizer(), 4, layout="documents")
    assert windows.lengths.tolist() == [3, 1, 4, 4, 2]


def test_all_of_a_text_is_scored_where_asked(tmp_path: Path) -> None:
    (tmp_path / "held_out.txt").write_text("A cat.<|endoftext|>A dog.<|endoftext|>A hen.")

    def text(fraction: float) -> EvaluationText:
        data = DataConfig(
            source=str(tmp_path / "held_out.txt"), repo="", context=8, windows_per_step=1, unique_tokens=None,
            validation={"valid": ValidationConfig(windows=1)}, validation_fraction=fraction, cache_dir=str(tmp_path),
            hub_timeout=0,
        )  # fmt: skip
        return EvaluationText.of(data, 10)

    with pytest.raises(UserError, match="about 5% of them: write data.validation_fraction=1 to take all"):
        text(0.05)
    assert sorted(d.strip() for d in text(1).documents["valid"]) == ["A cat.", "A dog.", "A hen."]
