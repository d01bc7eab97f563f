"""Task curves: definitions by hand, planted predictors, known answers on published results, readers."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trajlab.analysis.published import parameters_of, read_lm_eval, read_published
from trajlab.analysis.task_curves import (
    breakthroughness,
    improvement,
    linearity,
    matched_accuracy,
    mean_over_tasks,
    predictor_frame,
    predictors,
    task_shapes,
)

BREAKTHROUGH_TASKS = {
    "codelinedescription",
    "humanorganssenses",
    "implicatures",
    "phraserelatedness",
    "swahilienglishproverbs",
    "whatisthetao",
}
"""As named by Xia et al. 2023: their released analysis (section 3) lists six breakthrough and twelve linearity tasks."""


class TestShapes:
    def test_by_hand(self) -> None:
        """y = 1, 2, 2, 5: z = 1, 0, 3; I = 4; mean z² = 10/3; median z² = 1."""
        y = [1.0, 2.0, 2.0, 5.0]
        assert improvement(y) == 4
        assert linearity(y) == pytest.approx(4 / math.sqrt(10 / 3))
        assert breakthroughness(y) == pytest.approx(4)

    def test_a_fall_is_negative(self) -> None:
        assert linearity([3.0, 2.0, 1.0]) == -2
        assert breakthroughness([3.0, 2.5, 1.0]) < 0

    def test_degenerate_curves(self) -> None:
        assert linearity([2.0, 2.0, 2.0]) == breakthroughness([2.0, 2.0, 2.0]) == 0
        assert breakthroughness([0.0, 0.0, 0.0, 0.0, 1.0]) == math.inf
        assert breakthroughness([1.0, 0.0, 0.0, 0.0, 0.0]) == -math.inf

    def test_a_step_breaks_through_and_a_line_is_linear(self) -> None:
        rng = np.random.default_rng(0)
        wiggle = rng.normal(0, 0.01, 40)
        step, line = (np.arange(40) >= 30) + wiggle, np.arange(40) / 39 + wiggle
        assert breakthroughness(step) > 1.5 * breakthroughness(line)
        assert linearity(line) > 3 * linearity(step)

    @given(st.lists(st.floats(-100, 100).map(lambda v: round(v, 3)), min_size=2, max_size=30), st.floats(0.5, 20))
    def test_units_do_not_matter_and_linearity_is_bounded(self, y: list[float], scale: float) -> None:
        assert abs(linearity(y)) <= len(y) - 1 + 1e-9
        assert linearity(scale * np.array(y) + 3) == pytest.approx(linearity(y), rel=1e-6, abs=1e-9)

    @pytest.mark.parametrize("y", [[1.0], [1.0, math.nan], [[1.0, 2.0]]])
    def test_refusals(self, y: list) -> None:
        with pytest.raises(ValueError, match="two or more finite scores"):
            linearity(y)


def planted(truth: str = "ppl", models: int = 4, noise: float = 0.002) -> pd.DataFrame:
    """Checkpoints whose accuracy depends on perplexity alone, or on size too."""
    rng = np.random.default_rng(1)
    rows = []
    for k in range(models):
        size = 1e8 * 4.0**k
        for step in range(1000, 20000, 1000):
            tokens = step * 2e6
            ppl = 3 + 4e3 * size**-0.3 + 5e4 * tokens**-0.4
            accuracy = 0.9 - 0.15 * np.log(ppl) + (0.03 * np.log(size / 1e8) if truth == "size" else 0)
            row = (f"m{k}", size, step, tokens, ppl, accuracy + rng.normal(0, noise))
            rows.append(row)
    return pd.DataFrame(rows, columns=["model", "parameters", "step", "tokens", "ppl", "accuracy"])


class TestPredictors:
    def test_perplexity_alone(self) -> None:
        table = predictors(planted()).set_index("predictor")
        assert table.index[0] == "ln ppl"
        assert table.loc["ln ppl", "r2"] > 0.99
        assert table.loc["ln ppl + ln size", "p"] > 0.01
        assert table.loc["ln ppl + ln size", "r2"] - table.loc["ln ppl", "r2"] < 1e-3
        assert table.loc["ln tokens", "p_ppl"] < 1e-10

    def test_size_beside_perplexity(self) -> None:
        table = predictors(planted("size")).set_index("predictor")
        assert table.loc["ln ppl + ln size", "p"] < 1e-10
        assert table.loc["ln ppl + ln size", "r2"] > table.loc["ln ppl", "r2"] + 0.01

    def test_r2_and_f_equal_a_regression_by_hand(self) -> None:
        frame = planted(noise=0.02)
        x, s, y = np.log(frame["ppl"]), np.log(frame["parameters"]), frame["accuracy"]
        ones = np.ones(len(y))

        def rss(*columns: np.ndarray) -> float:
            design = np.column_stack(columns)
            return float(((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum())

        small, large = rss(ones, x, x**2), rss(ones, x, x**2, s)
        f = (small - large) / (large / (len(y) - 4))
        table = predictors(frame).set_index("predictor")
        assert table.loc["ln ppl", "r2"] == pytest.approx(1 - small / rss(ones))
        row = table.loc["ln ppl + ln size"]
        assert (row["f"], row["df1"], row["df2"]) == (pytest.approx(f, rel=1e-6), 1, len(y) - 4)
        assert row["p"] == pytest.approx(stats.f.sf(f, 1, len(y) - 4), rel=1e-6)

    def test_whole_numbers_do_not_overflow(self) -> None:
        frame = planted()
        whole = frame.assign(
            parameters=(frame["parameters"] * 100).astype("int64"), tokens=frame["tokens"].astype("int64")
        )
        scaled = frame.assign(parameters=frame["parameters"] * 100)
        pd.testing.assert_frame_equal(predictors(whole), predictors(scaled), rtol=1e-6)

    def test_one_model_has_no_size_and_flops_are_tokens(self) -> None:
        table = predictors(planted(models=1)).set_index("predictor")
        assert table.loc["ln FLOPs", "r2"] == pytest.approx(table.loc["ln tokens", "r2"])
        assert table.loc["ln size", "terms"] == 0
        assert math.isnan(table.loc["ln ppl + ln size", "p"])
        assert table["r2_left_out"].isna().all()

    def test_refusals(self) -> None:
        frame = planted()
        with pytest.raises(ValueError, match="ppl"):
            predictors(frame.drop(columns="ppl"))
        with pytest.raises(ValueError, match="step 0 has seen no tokens"):
            predictors(frame.assign(tokens=0))
        with pytest.raises(ValueError, match="eight or more"):
            predictors(frame.head(5))


class TestMatchedAccuracy:
    def test_size_adds_nothing(self) -> None:
        assert matched_accuracy(planted(noise=0))["range"].max() < 0.01

    def test_size_adds_what_was_planted(self) -> None:
        table = matched_accuracy(planted("size", models=2, noise=0)).dropna()
        assert table["range"].to_numpy() == pytest.approx(0.03 * np.log(4), abs=0.01)


class TestFrames:
    def results(self) -> pd.DataFrame:
        rows = []
        for model in ("toy-10m", "toy-1.5b"):
            for step in (0, 1000, 2000):
                rows += [(model, step, step * 100, t, "acc", 0.5 + i / 10) for i, t in enumerate(("piqa", "sciq"))]
                rows.append((model, step, step * 100, "lambada_openai", "ppl", 20.0))
        return pd.DataFrame(rows, columns=["model", "step", "tokens", "task", "metric", "value"])

    def test_checkpoints_with_their_mean(self) -> None:
        frame = predictor_frame(self.results(), ("piqa", "sciq"))
        assert len(frame) == 4
        assert frame["accuracy"].to_numpy() == pytest.approx(0.55)
        assert list(frame["parameters"].unique()) == [10e6, 1.5e9]

    def test_a_checkpoint_without_a_task_is_named(self) -> None:
        with pytest.warns(UserWarning, match=r"1 checkpoints lack .*toy-10m step 1000"):
            frame = predictor_frame(self.results().drop(index=3), ("piqa", "sciq"))
        assert len(frame) == 3

    def test_duplicates_and_nothing_at_all_are_refused(self) -> None:
        with pytest.raises(ValueError, match="stands more than once"):
            predictor_frame(pd.concat([self.results()] * 2), ("piqa", "sciq"))
        with pytest.raises(ValueError, match="no checkpoint has"):
            predictor_frame(self.results(), ("piqa", "sciq"), min_step=10**6)

    @pytest.mark.parametrize(
        ("name", "size"),
        [
            ("pythia-1.4b-deduped", 1.4e9),
            ("160m-deduped", 160e6),
            ("opt-125M", 125e6),
            ("OPT_175B", 175e9),
            ("70m", 70e6),
        ],
    )
    def test_sizes_in_names(self, name: str, size: float) -> None:
        assert parameters_of(name) == pytest.approx(size)

    @pytest.mark.parametrize("name", ["gpt2", "step1000", "model-v1"])
    def test_names_without_a_size(self, name: str) -> None:
        with pytest.raises(ValueError, match="holds no size"):
            parameters_of(name)

    def test_a_mean_over_different_tasks_is_refused(self) -> None:
        frame = pd.DataFrame({"model": ["a", "a", "a"], "step": [1, 1, 2], "task": ["x", "y", "x"], "accuracy": 0.5})
        with pytest.raises(ValueError, match="different tasks"):
            mean_over_tasks(frame)
        assert len(mean_over_tasks(frame.head(2))) == 1


class TestLmEval:
    def test_the_old_format(self, tmp_path: Path) -> None:
        content = {
            "results": {
                "sciq": {"acc": 0.246, "acc_stderr": 0.0136},
                "lambada_openai": {"ppl": 98957.4, "ppl_stderr": 5e3},
            },
            "versions": {"sciq": 0},
            "config": {"model_args": "use_accelerate=True,pretrained=org/toy-160m,revision=step512", "num_fewshot": 0},
        }
        file = tmp_path / "anything.json"
        file.write_text(json.dumps(content))
        frame = read_lm_eval(file, tokens_per_step=2_097_152).set_index("task")
        assert frame.loc["sciq", ["model", "step", "metric", "value", "stderr", "shots"]].tolist() == [
            "toy-160m",
            512,
            "acc",
            0.246,
            0.0136,
            0,
        ]
        assert frame.loc["lambada_openai", "tokens"] == 512 * 2_097_152

    def test_the_new_format(self, tmp_path: Path) -> None:
        content = {
            "results": {
                "arc_easy": {"alias": "arc_easy", "acc,none": 0.25, "acc_stderr,none": 0.02, "acc_norm,none": 0.3},
                "gsm8k": {"exact_match,strict-match": 0.1, "exact_match,flexible-extract": 0.2, "x_stderr,none": "N/A"},
            },
            "config": {"model": "hf", "model_args": {"pretrained": "org/toy-1.4b", "revision": "step3000"}},
            "n-shot": {"arc_easy": 5},
            "n-samples": {"arc_easy": {"original": 2376, "effective": 100}},
        }
        (tmp_path / "results.json").write_text(json.dumps(content))
        frame = read_lm_eval(tmp_path)
        assert len(frame) == 4
        easy = frame[(frame["task"] == "arc_easy") & (frame["metric"] == "acc")].iloc[0]
        assert (easy["value"], easy["stderr"], easy["n"], easy["shots"]) == (0.25, 0.02, 100, 5)
        assert set(frame.loc[frame["task"] == "gsm8k", "filter"]) == {"strict-match", "flexible-extract"}
        assert frame["tokens"].isna().all()

    def test_model_and_step_from_the_name(self, tmp_path: Path) -> None:
        for step in (8, 16):
            (tmp_path / f"160m-deduped_step{step}.json").write_text(json.dumps({"results": {"piqa": {"acc": 0.5}}}))
        frame = read_lm_eval(tmp_path)
        assert set(zip(frame["model"], frame["step"], strict=True)) == {("160m-deduped", 8), ("160m-deduped", 16)}

    def test_refusals(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no lm-evaluation-harness JSON"):
            read_lm_eval(tmp_path)
        (tmp_path / "a.json").write_text("[1]")
        with pytest.raises(ValueError, match="no 'results' in it"):
            read_lm_eval(tmp_path)


class TestPublished:
    """Known answers of docs/methods.md §5 on published results."""

    def test_pythia_perplexity_predicts_and_size_adds_little(self, shared_data: Path) -> None:
        results = read_published(shared_data / "trajectories" / "pythia_zero_shot.csv.gz")
        frame = predictor_frame(results)
        assert len(frame) == 80
        table = predictors(frame).set_index("predictor")["r2"]
        assert table["ln ppl"] == pytest.approx(0.969, abs=5e-4)
        assert table["ln FLOPs"] == pytest.approx(0.898, abs=5e-4)
        assert table["ln tokens"] == pytest.approx(0.560, abs=5e-4)
        assert 0 < table["ln ppl + ln size"] - table["ln ppl"] < 0.01

    def test_opt_breakthrough_tasks_are_the_least_linear(self, shared_data: Path) -> None:
        shapes = task_shapes(read_published(shared_data / "trajectories" / "opt_bigbench_acc.csv")).set_index("task")
        named = shapes.index.isin(BREAKTHROUGH_TASKS)
        assert named.sum() == 6
        assert set(shapes.index[:4]) <= BREAKTHROUGH_TASKS
        auc = stats.mannwhitneyu(shapes.loc[named, "linearity"], shapes.loc[~named, "linearity"])
        assert auc.statistic / 72 < 0.1
        assert auc.pvalue < 0.01
        # low, not high: 147 noisy checkpoints make the typical step a measure of noise
        values = shapes["breakthroughness"]
        assert stats.mannwhitneyu(values[named], values[~named]).statistic / 72 < 0.02

    def test_opt_perplexity_leads_flops_and_tokens(self, shared_data: Path) -> None:
        frame = mean_over_tasks(read_published(shared_data / "trajectories" / "opt_bigbench_acc.csv"))
        assert len(frame) == 147
        table = predictors(frame).set_index("predictor")
        assert table.loc["ln ppl", "r2"] > table.loc["ln FLOPs", "r2"] > table.loc["ln tokens", "r2"]
        assert table.loc["ln ppl + ln size", "r2"] - table.loc["ln ppl", "r2"] < 0.01
        assert matched_accuracy(frame)["range"].max() < 0.03

    def test_opt_perplexity_falls_with_size(self, shared_data: Path) -> None:
        frame = read_published(shared_data / "trajectories" / "opt_valid_ppl.csv")
        last = frame.sort_values("tokens").groupby("parameters")["ppl"].last()
        assert last.is_monotonic_decreasing
