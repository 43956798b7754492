"""What was found, in few words: counts, headline findings, and the README's part, all from the ledger."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repro.analysis import Evidence, after_training, deciding_scales, in_bf16, scale_order
from repro.claims.claim import Claim, Measured, Measurement
from repro.claims.combine import decide
from repro.claims.judge import ARITHMETIC, Judged, judge_all
from repro.claims.ledger import FOLDER, HEADLINES
from repro.claims.row import paper_text, selection
from repro.claims.rules import (
    AGAINST_ARITHMETIC,
    AGAINST_ITSELF,
    AGAINST_LOG,
    BOUNDS,
    NOT_MEASURED,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    REPRODUCED,
    VERDICTS,
    WITHIN_NOISE,
)
from repro.config.read import read_own_yaml
from repro.paper import paper_length, read_table
from repro.text import span

FULL_LENGTH = read_table("table7")["epochs"]  # that make a run one of the paper's length: its shortest have as many


@dataclass(frozen=True)
class Headline:
    """A finding of the first page.

    Attributes:
        title: What it is about.
        sentence: What the paper says and what became of it, from the verdict of the first claim.
        verdict: That verdict.
        claims: Ids, the deciding one first.
        others: Number of the other claims by verdict.
    """

    title: str
    sentence: str
    verdict: str
    claims: tuple[str, ...]
    others: Mapping[str, int]


@dataclass(frozen=True)
class Counts:
    """How many claims, and how many facts they are, have a verdict; by arithmetic and by training apart.

    Attributes:
        claims: By verdict, in the order of ``VERDICTS``.
        facts: The same of facts.
        by_arithmetic: Claims that are reproduced by arithmetic on printed numbers, without a run.
        by_training: Claims that are reproduced by runs.
        total: All claims.
        total_facts: All facts.
        own: Claims that are this suite's criteria.
    """

    claims: Mapping[str, int]
    facts: Mapping[str, int]
    by_arithmetic: int
    by_training: int
    total: int
    total_facts: int
    own: int


def count(judged: Sequence[Judged]) -> Counts:
    """The counts of the first page."""
    by = {verdict: [one for one in judged if one.judgement.verdict == verdict] for verdict in VERDICTS}
    computed = sum(one.judgement.decided_by == ARITHMETIC for one in by[REPRODUCED])
    return Counts(
        claims={verdict: len(found) for verdict, found in by.items()},
        facts={verdict: len({one.claim.fact for one in found}) for verdict, found in by.items()},
        by_arithmetic=computed,
        by_training=len(by[REPRODUCED]) - computed,
        total=len(judged),
        total_facts=len({one.claim.fact for one in judged}),
        own=sum(one.claim.own for one in judged),
    )


def headlines(judged: Sequence[Judged]) -> list[Headline]:
    """The findings of the first page, in the order of ``headlines.yaml``."""
    known = {one.claim.id: one for one in judged}
    raw: list[dict[str, Any]] = read_own_yaml(FOLDER / HEADLINES)
    found = []
    for entry in raw:
        first, *others = (known[name] for name in entry["claims"])
        found.append(
            Headline(
                title=entry["title"],
                sentence=f"{first.claim.statement}: {outcome(first)}{_note(first.claim)}.",
                verdict=first.judgement.verdict,
                claims=tuple(entry["claims"]),
                others=Counter(one.judgement.verdict for one in others),
            )
        )
    return found


def _note(claim: Claim) -> str:
    """What a reader needs to know of a bound, which is this suite's and not the paper's."""
    return f" ({claim.note})" if claim.note and claim.rule in BOUNDS else ""


def outcome(judged: Judged) -> str:
    """What became of a claim, in words and with the figure that decided."""
    claim, findings, judgement = judged
    deciding = next((one for one in findings.measured if one.scale == judgement.decided_by), None)
    figure = figure_text(judged, deciding) if deciding else ""
    if judgement.verdict == AGAINST_LOG and findings.log:
        if claim.query and claim.query.name == "equal_accuracies":
            number, cells = claim.show(findings.log.low), claim.query.arguments["cells"]
            return f"{number} of the table's {len(cells)} accuracies are those of the CPU run's log, digit for digit"
        log = claim.with_unit(claim.show(findings.log.low))
        theirs = f"the {'claim needs' if claim.rule in BOUNDS else 'paper has'} {paper_text(claim)}"
        return f"the authors' own log has {log} where {theirs}"
    if judgement.verdict == NOT_MEASURED:
        beside = figure_text(judged, findings.reduced) if findings.reduced else ""
        return "not measured at the paper's length yet" + (f"; {beside}" if beside else "")
    return {
        REPRODUCED: f"holds, {figure}" if figure else "holds by arithmetic on the printed numbers",
        WITHIN_NOISE: f"still open within noise, {figure}",
        NOT_REPRODUCED: f"does not hold, {figure}",
        AGAINST_ARITHMETIC: "contradicted by arithmetic on the printed numbers"
        + (f", {findings.arithmetic.how}" if findings.arithmetic else ""),
        AGAINST_ITSELF: f"contradicted by the paper itself, {claim.against}",
        NOT_TESTABLE: "cannot be tested here",
    }[judgement.verdict]


def figure_text(judged: Judged, measured: Measured) -> str:
    """A measured figure with its interval, seeds and scale."""
    claim, decision = judged.claim, decide(judged.claim, measured)
    found, width = decision.shown, decision.shown.half_width(decision.choices, single=judged.claim.single)
    half = f" ± {claim.show(width)}" if width else ""
    figure = claim.with_unit(claim.show(found.mean) + half)
    about = (f"n = {len(found.values)}", selection(claim, found), _reading(claim, measured, found))
    return f"{figure} ({'; '.join(filter(None, about))}) at scale {measured.scale}"


def _reading(claim: Claim, measured: Measured, found: Measurement) -> str:
    """What is compared with what, and how it was chosen among several readings."""
    chosen = "smallest" if claim.combine == "each" and claim.rule == "above" else "nearest to the paper"
    among = (
        f"the {chosen} of the {len(measured.found)} comparisons run, of {measured.choices}"
        if measured.choices > 1
        else ""
    )
    return "; ".join(filter(None, (found.runs if claim.minus else "", among)))


def length_warning(evidence: Evidence) -> str:
    """What is missing at the paper's length; empty once the main run and its unquantised twin have finished there."""
    wanted = ("main_cifar10", "fp32_cifar10")
    scales = deciding_scales(evidence.config)
    if any(all(len(evidence.select(scale, name)) for name in wanted) for scale in scales):
        return ""
    runs = evidence.runs[evidence.runs["scale"].isin(scales)].drop_duplicates("run")
    long = int((runs["epochs"] >= FULL_LENGTH).sum())
    short = runs.loc[runs["epochs"] < FULL_LENGTH, "epochs"]
    length = f"of the paper's length ({paper_length()})"
    if long:
        found = f"{long} run{'s' if long > 1 else ''} {length} {'are' if long > 1 else 'is'} finished"
        found += ", but not both the main run and its unquantised twin"
    else:
        found = f"No run {length} is finished yet"
        if len(short):
            found += f"; {len(short)} run{'s' if len(short) > 1 else ''} of {span(short, 'epoch')} "
            found += "are" if len(short) > 1 else "is"
    return f"{found}. So nothing here confirms or refutes its main result."


def readme_findings(evidence: Evidence, judged: Sequence[Judged] | None = None) -> str:
    """The README's part between its markers, as Markdown.

    Args:
        evidence: The records.
        judged: What ``judge_all`` gives for them, where it is at hand.
    """
    judged = judge_all(evidence) if judged is None else judged
    lines = [_counts_paragraph(count(judged)), ""]
    warning = length_warning(evidence)
    lines += [f"**{warning}**", ""] if warning else []
    for one in headlines(judged):
        others = ", ".join(f"{number} {verdict}" for verdict, number in one.others.items())
        lines.append(f"- **{one.title}.** {one.sentence}" + (f" Related claims: {others}." if others else ""))
    table = _table(evidence)
    if table:
        about = "Test accuracy on real CIFAR, in per cent, mean over seeds; a selection, the page below has every run:"
        lines += ["", about, "", *table]
    if trained_again := _trained_again(evidence):
        lines += ["", trained_again]
    return "\n".join(lines) + "\n"


def _counts_paragraph(counts: Counts) -> str:
    def part(verdict: str) -> str:
        claims, facts = counts.claims[verdict], counts.facts[verdict]
        return f"{claims} ({facts} fact{'s' if facts != 1 else ''})"

    return (
        f"Of {counts.total} claims, about {counts.total_facts} facts ({counts.own} claims are this suite's criteria "
        "for what the paper says without one), the authors' own "
        f"published log contradicts **{part(AGAINST_LOG)}**, arithmetic on the printed numbers "
        f"{part(AGAINST_ARITHMETIC)} and other words of the paper itself {part(AGAINST_ITSELF)}, before anything is "
        f"trained. {counts.by_arithmetic} hold by arithmetic on printed numbers and {counts.by_training} by training "
        f"here; {counts.claims[NOT_REPRODUCED]} are not reproduced, {counts.claims[WITHIN_NOISE]} lie within noise, "
        f"{counts.claims[NOT_MEASURED]} wait for runs at the paper's length or for more seeds, and "
        f"{counts.claims[NOT_TESTABLE]} cannot be tested here."
    )


# Experiments of the README's table, each read at its strongest scale on real CIFAR.
HIGHLIGHTS = (
    "main_cifar10", "fp32_cifar10", "fp32_sgd_cifar10", "ablation_full", "ablation_no_weight_clip",
    "ablation_no_gradient_clip", "ablation_standard_adamw", "qat8_cifar10", "dorefa_w4_cifar10", "ptq4_cifar10",
    "ptq4_mse_cifar10", "mobile_cifar10", "main_cifar100", "fp32_cifar100",
)  # fmt: skip


def _table(evidence: Evidence) -> list[str]:
    rows = []
    for experiment in HIGHLIGHTS:
        scales = [scale for scale in evidence.scales_with([experiment]) if len(evidence.select(scale, experiment))]
        real = [scale for scale in scales if evidence.select(scale, experiment)["data"].str.startswith("cifar").all()]
        if real:
            rows.append(_row(evidence, real[0], experiment))
    head = ["| run | scale | epochs | seeds | best epoch | last epoch |", "|---|---|---|---|---|---|"]
    return [*head, *rows] if rows else []


def _trained_again(evidence: Evidence) -> str:
    """How far one run ends from itself where it was trained again for PTQ; empty where none was."""
    found = [
        f"{row.taken:.2%} instead of {row.recorded:.2%} (seed {row.seed}, scale {scale})"
        for scale in scale_order(evidence.config)
        for row in evidence.trained_again(scale).itertuples()
    ]
    if not found:
        return ""
    return (
        "PTQ took weights that were trained again on another machine, with the same settings and seed: they have "
        f"{'; '.join(found)}. Rounding alone (another processor, other kernels) brings two such runs so far apart: "
        "smaller differences between single seeds say nothing, and PTQ's rows compare with the accuracy that they name."
    ).replace("%", "\N{NO-BREAK SPACE}%")


def _row(evidence: Evidence, scale: str, experiment: str) -> str:
    runs, title = evidence.select(scale, experiment), evidence.config.experiments[experiment].title
    name = title.replace("FP32", "unquantised (bf16)") if in_bf16(evidence.config, scale) else title
    name += evidence.weights_accuracy(scale, experiment)
    best, last = (f"{100 * runs[column].mean():.2f}" for column in ("best_test_accuracy", "final_test_accuracy"))
    figures = ["–" if after_training(evidence.config, experiment) else best, last]
    return f"| {name} | `{scale}` | {int(runs['epochs'].max())} | {len(runs)} | {' | '.join(figures)} |"
