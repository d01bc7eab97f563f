"""StoryGrammar: one derivation a story, exact probabilities, disjoint splits, sentences that agree."""

import hashlib
import math
import re
from bisect import bisect_right
from itertools import islice
from random import Random

import pytest

from tests.conftest import ROOT
from tests.trajlab.data.template_proofs import ambiguities, unbound_mentions, word_bounds
from trajlab.data.storygrammar.stories import SPLITS, NotInGrammar, StoryGrammar
from trajlab.data.storygrammar.template_grammar import Odds, Table, TemplateGrammar
from trajlab.data.storygrammar.words import TABLES, article, words

CORPUS = StoryGrammar()
PAGE = ROOT / "docs" / "storygrammar.md"
WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


@pytest.fixture(scope="module")
def stories():
    return list(CORPUS.stories("train", 2000))


@pytest.fixture(scope="module")
def derivations(stories):
    return [CORPUS.parse(story) for story in stories]


# --- what holds for every story, from the rules alone -----------------------------------------------------------------


def test_every_story_has_one_derivation():
    assert ambiguities(CORPUS.grammar) == []


def test_every_fact_is_introduced_before_it_is_mentioned():
    assert unbound_mentions(CORPUS.grammar) == []


def test_every_story_has_60_to_300_words(stories):
    shortest, longest = word_bounds(CORPUS.grammar)
    assert shortest >= 60
    assert longest <= 300
    assert all(shortest <= len(story.split()) <= longest for story in stories)


def test_every_table_and_rule_is_used(derivations):
    used = {choice.symbol for derivation in derivations for choice in derivation.choices}
    assert used == set(CORPUS.grammar.rules) | set(CORPUS.grammar.tables)


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"s": ["The [t] ran.", "The cat ran."]}, "<s>: templates 0 and 1"),
        ({"s": ["A cat", "A cat."]}, "<s>: templates 0 and 1"),
        ({"s": ["[t]s"]}, "<s>: no end of word before Literal(text='s')"),
        ({"s": ["[u]."]}, "[u.]: 'toy' and 'toy car'"),
    ],
)
def test_ambiguities_are_found(rules, problem):
    tables = [words(name, rows) for name, rows in {"t": "cat, dog", "u": "toy, toy car"}.items()]
    assert problem in ambiguities(TemplateGrammar(rules, tables, "s"))


def test_a_mention_before_its_introduction_is_found():
    rules = {"s": ["{x} and [x=t]."]}
    assert unbound_mentions(TemplateGrammar(rules, [words("t", "cat")], "s")) == ["<s>: {x.}"]


def test_a_rule_that_contains_itself_is_refused():
    with pytest.raises(ValueError, match="contains itself: s > r > s"):
        TemplateGrammar({"s": ["a <r>"], "r": ["b", "c <s>"]}, [], "s")


# --- reading and probability ------------------------------------------------------------------------------------------


def test_parse_returns_the_derivation_that_generated():
    grammar, random = CORPUS.grammar, Random(7)
    for _ in range(500):
        picks = []

        def pick(odds, picks=picks):
            picks.append(bisect_right(odds.cumulative, random.getrandbits(32)))
            return picks[-1]

        story = grammar.write(pick)
        assert CORPUS.parse(story).picks == tuple(picks)


def test_every_generated_story_is_read_back(stories, derivations):
    for story, derivation in zip(stories, derivations, strict=True):
        picks = iter(derivation.picks)
        assert CORPUS.grammar.write(lambda odds, picks=picks: next(picks)) == story


def assert_probabilities_sum_to_one(grammar):
    texts, log_probs = zip(*islice(grammar.enumerate(), 200_000), strict=True)
    assert len(texts) > 1000
    assert len(set(texts)) == len(texts)
    assert math.fsum(map(math.exp, log_probs)) == pytest.approx(1, abs=1e-12)
    assert -math.fsum(p * math.exp(p) for p in log_probs) == pytest.approx(grammar.entropy(), rel=1e-12)
    for index in range(0, len(texts), 97):
        assert grammar.read(texts[index]).log_prob == pytest.approx(log_probs[index], abs=1e-12)


def test_probabilities_of_all_openings_sum_to_one():
    assert_probabilities_sum_to_one(CORPUS.grammar.restrict("opening", rows=2, templates=4))


def test_probabilities_of_whole_stories_of_a_sub_grammar_sum_to_one():
    """One row a table and one template a rule, but for some: every plot, several endings, two names and two toys."""
    whole = CORPUS.grammar
    open_rules, open_tables = (
        {"story", "opening", "play", "lost_cry", "share_end", "map_end"},
        {"hero", "toy", "outdoor", "animal"},
    )
    rules = {name: found if name in open_rules else found[:1] for name, found in whole.rules.items()}
    tables = [Table(t.name, t.rows[: 2 if t.name in open_tables else 1], t.kind) for t in whole.tables.values()]
    assert_probabilities_sum_to_one(TemplateGrammar(rules, tables, "story"))


def test_monte_carlo_entropy_agrees_with_the_recursive_one(stories):
    surprisals = [-CORPUS.log_prob(story) for story in stories]
    mean = math.fsum(surprisals) / len(surprisals)
    variance = math.fsum((s - mean) ** 2 for s in surprisals) / (len(surprisals) - 1)
    assert abs(mean - CORPUS.entropy()) < 4 * math.sqrt(variance / len(surprisals))


def test_entropy_floor_is_nats_per_token(stories):
    total = -sum(map(CORPUS.log_prob, stories[:10]))
    assert CORPUS.entropy_floor(stories[:10], 1900) == pytest.approx(total / 1900)
    with pytest.raises(ValueError, match="positive"):
        CORPUS.entropy_floor(stories[:10], 0)


def test_shares_are_exact_and_follow_the_weights():
    odds = Odds([3.0, 2.0, 1.0])
    assert odds.cumulative[-1] == 2**32
    assert odds.p == pytest.approx([1 / 2, 1 / 3, 1 / 6], abs=1e-9)
    assert odds.entropy == pytest.approx(1.0114, abs=1e-4)


@pytest.mark.parametrize(
    "change", [lambda s: s + " ", lambda s: s[:-1], lambda s: "", lambda s: s.replace(".", "!", 1)]
)
def test_foreign_text_is_refused_where_it_departs(stories, change):
    for story in stories[:20]:
        foreign = change(story)
        with pytest.raises(NotInGrammar) as refusal:
            CORPUS.parse(foreign)
        agreed = next((i for i, (a, b) in enumerate(zip(story, foreign, strict=False)) if a != b), None)
        assert refusal.value.position == (agreed if agreed is not None else min(len(story), len(foreign)))


# --- the streams ------------------------------------------------------------------------------------------------------


def test_a_story_is_a_function_of_split_and_index(stories):
    assert list(StoryGrammar().stories("train", 5, start=995)) == stories[995:1000]
    assert list(islice(CORPUS.stories("train"), 5)) == stories[:5]
    assert list(CORPUS.stories("valid", 5)) != stories[:5]


def test_the_stories_of_version_1_stay_what_they_are(stories):
    """A change here needs a new VERSION: fingerprints of data rest on it."""
    assert hashlib.sha256("".join(stories).encode()).hexdigest()[:16] == "7dfee779f44bc8a8"


def test_the_page_prints_the_stories_of_this_version():
    assert PAGE.read_text(encoding="utf-8").endswith("\n\n* * *\n\n".join(CORPUS.stories("test", 20)) + "\n")


def test_splits_are_disjoint():
    """Each text is owned by one split, and a split holds only what it owns."""
    assert math.fsum(SPLITS.values()) == 1
    of_split = {split: set(CORPUS.stories(split, 700)) for split in SPLITS}
    for split, texts in of_split.items():
        assert {CORPUS.owner(text) for text in texts} == {split}
    assert len(set.union(*of_split.values())) == 2100


def test_unknown_split_and_version_are_refused():
    with pytest.raises(ValueError, match="train, valid, test"):
        next(CORPUS.stories("dev"))
    with pytest.raises(ValueError, match="version"):
        StoryGrammar("0")


# --- the language -----------------------------------------------------------------------------------------------------


def test_more_than_a_thousand_words_with_zipf_like_use(stories):
    counts: dict[str, int] = {}
    for story in stories:
        for word in WORD.findall(story.lower()):
            counts[word] = counts.get(word, 0) + 1
    assert len(counts) > 1000
    frequencies = sorted(counts.values(), reverse=True)
    slope = math.log(frequencies[9] / frequencies[499]) / math.log(500 / 10)
    assert 0.7 < slope < 1.8


def test_articles_agree(stories):
    for story in stories:
        for found in re.finditer(r"\b([Aa]n?) (\w+)", story):
            assert found[1].lower() == article(found[2]), found.group()


def test_articles_of_hard_words():
    assert [article(word) for word in ("unicorn", "ukulele", "umbrella", "hourglass", "honest man", "old unicorn")] == [
        *("a", "a", "an", "an", "an", "an")
    ]


def test_hero_keeps_one_gender(stories, derivations):
    """He or she directly before or after the hero's name in one sentence is the hero's own."""
    for story, derivation in zip(stories, derivations, strict=True):
        hero = next(r.row for r in derivation.references if r.variable == "hero")
        other = {"he": "she", "she": "he"}[hero.forms["he"]]
        assert f"{hero.forms['girl']}" in story or f"named {hero.text}" not in story
        assert re.search(rf"\b{hero.text}\b[^.!?\"]* and {other} ", story) is None


@pytest.mark.parametrize("pattern", [r"\b(\w+) \1\b", r"  ", r" [.,!?]", r"[{}\[\]<>=]", r"\bnone\b", r"[.!?] [a-z]"])
def test_no_slips_of_the_pen(stories, pattern):
    for story in stories:
        assert re.search(pattern, story) is None, story


def test_names_never_stand_for_two(derivations):
    tables = {table.name: {row.text for row in table.rows} for table in TABLES}
    assert not tables["hero"] & tables["friend"]
    assert not (tables["hero"] | tables["friend"]) & tables["pet_name"]


# --- contradictions ---------------------------------------------------------------------------------------------------


def test_a_contradiction_differs_in_one_mention_and_is_impossible(stories):
    broken = set()
    for story in stories[:300]:
        contradiction = CORPUS.contradict(story)
        start, end, original = contradiction.start, contradiction.end, contradiction.original
        assert contradiction.text[start:end] == contradiction.replacement != original
        assert contradiction.text[:start] + original + contradiction.text[end:] == story
        assert original in story[:start]
        assert re.search(rf"\b{contradiction.replacement}\b", story) is None
        with pytest.raises(NotInGrammar) as refusal:
            CORPUS.parse(contradiction.text)
        assert start <= refusal.value.position <= end
        broken.add(contradiction.broken)
    assert broken == {"name", "object", "place"}


def test_a_contradiction_is_a_function_of_story_and_seed(stories):
    story = stories[3]
    assert CORPUS.contradict(story) == CORPUS.contradict(story, seed=0)
    assert len({CORPUS.contradict(story, seed) for seed in range(20)}) > 10


def test_a_contradiction_agrees_with_its_surroundings(stories):
    rows = {(table.kind, row.text): row for table in TABLES for row in table.rows if table.kind in ("name", "place")}
    for story in stories[:200]:
        c = CORPUS.contradict(story)
        if c.broken != "object":
            assert rows[c.broken, c.original].agreement == rows[c.broken, c.replacement].agreement
