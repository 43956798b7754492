"""Full-precision parity as an equivalence test, and the ablation's paired tests with Holm's correction."""

import math
from collections.abc import Mapping

import pandas as pd

from repro.analysis import Equivalence, Evidence, equivalence, holm, paired_p_value
from repro.analysis.equivalence import ALPHA, MARGIN, MOST_SEEDS, WANTED_POWER
from repro.paper import read_table
from repro.report.cells import (
    BEST,
    LAST,
    NOT_RUN,
    VALIDATED,
    Cell,
    cell_frame,
    our_cell,
    our_difference,
    paper_cell,
    run_fields,
)
from repro.report.labels import twin
from repro.report.tables import MEASURED, RULES, THEIRS, row_titles, taking_part

PAIRS: Mapping[str, tuple[str, str]] = {
    "CIFAR-10": ("main_cifar10", "fp32_cifar10"),
    "CIFAR-100": ("main_cifar100", "fp32_cifar100"),
}
P_VALUE, POWER = f"equivalent within {100 * MARGIN:g} points?", "power at this n"
SEEDS = f"seeds for {100 * WANTED_POWER:.0f} % power"
# Computed from several records by more than a mean; `ours` itself is for what a record's summary holds.
DERIVED = "ours, derived"
NO_TEST, NO_SPREAD = "n = 1: no test", "no test: no spread"


def parity_table(evidence: Evidence) -> pd.DataFrame:
    """4-bit against FP32 with the same training, on both data sets, by each selection rule."""
    names = [name for pair in PAIRS.values() for member in pair for name in (member, twin(member))]
    gap = read_table("table2")["rows"][1]
    cells: list[Cell] = []
    for scale in evidence.scales_with(names):
        for title, pair in PAIRS.items():
            for rule, words in RULES.items():
                key = {"scale": scale, "row": f"{title} in the paper, {words.removesuffix(' (%)')}"}
                printed = gap["values"]["gap"] if (title, rule) == ("CIFAR-10", BEST) else None
                theirs = paper_cell(printed, "gap", gap["place"])
                cells.append({**key, "group": THEIRS, "column": "FP32 minus 4-bit (points)", **theirs})
                cells += [{**key, **cell} for cell in _parity(evidence, scale, *pair, rule)]
    return cell_frame(cells)


def _parity(evidence: Evidence, scale: str, main: str, reference: str, rule: str) -> list[Cell]:
    """Both accuracies, their difference, and the test of its being none."""
    both = [
        {"group": MEASURED, "column": column, **our_cell(evidence, scale, experiment, rule, "%")}
        for column, experiment in (("4-bit (%)", main), ("FP32 (%)", reference))
    ]
    if rule == VALIDATED:
        main, reference = twin(main), twin(reference)
    difference = our_difference(evidence, scale, main, reference, rule, "points")
    runs, base = evidence.select(scale, main), evidence.select(scale, reference)
    test = equivalence(runs[rule], base[rule])
    about = test_fields(runs, base, main, f"{rule} against {reference}")
    tests = {P_VALUE: equivalence_words(test), POWER: _power(test), SEEDS: _seeds_needed(test)}
    values = {P_VALUE: test.p_value, POWER: test.power, SEEDS: test.seeds_needed}
    return [
        *both,
        {"group": MEASURED, "column": "4-bit minus FP32 (points)", **difference},
        *[
            {"group": MEASURED, "column": name, **about, "value": values[name], "note": words}
            for name, words in tests.items()
        ],
    ]


def test_fields(runs: pd.DataFrame, base: pd.DataFrame, experiment: str, measure: str) -> Cell:
    """What the cells of a paired test share: the runs with a common seed, or that there are none."""
    common = runs.loc[runs.index.intersection(base.index)]
    about: Cell = {"source": DERIVED, "experiment": experiment, "measure": measure, "unit": "text", "n": len(common)}
    return {**about, **run_fields(common)} if len(common) else {**about, "status": NOT_RUN}


def equivalence_words(test: Equivalence) -> str:
    """Outcome of the two one-sided tests, such as ``p = 0.012: equivalent``."""
    if math.isnan(test.p_value):
        return no_test(test.difference.n)
    return f"{p_words(test.p_value)}: {'equivalent' if test.p_value < ALPHA else 'not shown'} (n = {test.difference.n})"


def p_words(p: float) -> str:
    """A p-value with three decimals."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def no_test(n: int) -> str:
    """Why there is no p-value."""
    return NO_TEST if n == 1 else NO_SPREAD


def _power(test: Equivalence) -> str:
    return f"{100 * test.power:.0f} %" if math.isfinite(test.power) else ""


def _seeds_needed(test: Equivalence) -> str:
    if math.isinf(test.seeds_needed):
        return f"over {MOST_SEEDS}"
    return "" if math.isnan(test.seeds_needed) else f"{test.seeds_needed:.0f}"


def ablation_tests(evidence: Evidence) -> pd.DataFrame:
    """Each ablation against the full method: paired difference, p-value, and p-value after Holm's correction."""
    paper = read_table("table7")
    members = [e for e in evidence.config.experiments.values() if e.group == paper["group"]]
    titles = row_titles(members)
    cells: list[Cell] = []
    for scale in evidence.scales_with(member.name for member in members):
        base = evidence.select(scale, paper["reference"])
        for rule in (BEST, LAST):
            group = RULES[rule].removesuffix(" (%)").capitalize()
            others = [member for member in taking_part(members, scale) if member.name != paper["reference"]]
            plain = [paired_p_value(evidence.select(scale, member.name)[rule], base[rule]) for member in others]
            for member, p, corrected in zip(others, plain, holm(plain), strict=True):
                key = {"scale": scale, "row": titles[member.name], "group": group}
                difference = our_difference(evidence, scale, member.name, paper["reference"], rule, "points")
                runs = evidence.select(scale, member.name)
                about = test_fields(runs, base, member.name, f"{rule} against {paper['reference']}")
                accuracy = our_cell(evidence, scale, member.name, rule, "%")
                cells.append({**key, "column": "accuracy (%)", **accuracy})
                cells.append({**key, "column": "to full (points)", **difference})
                for column, value in (("paired t-test", p), ("after Holm", corrected)):
                    words = no_test(about["n"]) if math.isnan(value) else p_words(value)
                    cells.append({**key, "column": column, **about, "value": value, "note": words})
    return cell_frame(cells)


PARITY_CAPTION = (
    "4-bit minus FP32 with the same training, over the seeds that both have, with its paired 95 % t-interval. Parity "
    f"is tested as equivalence: two one-sided paired t-tests at {ALPHA:g} of a difference below {100 * MARGIN:g} "
    "points either way (the 90 % interval inside that margin). The margin lies between the gap that the paper calls "
    "parity (0.16) and the one that it calls a gap (1.5), and is about two binomial standard errors of 10,000 test "
    "images. “Not shown” is no evidence of a difference. Power: the chance of p below that at this n, and the seeds "
    f"that would give {100 * WANTED_POWER:.0f} %, if the true difference were zero and the observed spread the true "
    "one; from few seeds that spread is rough. With one seed there is no test; the accuracies carry the binomial error "
    "of the test set. Choosing the best epoch on the test set favours both sides."
)
TESTS_CAPTION = (
    "Each ablation minus the full method over common seeds, with its paired 95 % t-interval, the p-value of a paired "
    "two-sided t-test, and the same after Holm's correction over all ablations of the scale and rule that could be "
    "tested. The intervals are not corrected. With one seed, or differences that are all the same, there is no test."
)
