"""The first screen in words: what was asked, what came out, how sure, what is missing. All of it computed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from repro.analysis import Equivalence, in_bf16
from repro.analysis.equivalence import ALPHA, MARGIN
from repro.paper import paper_length, parse_printed, read_table
from repro.report.page.ledger import Ledger
from repro.report.tables.ablation import TABLE7
from repro.report.tables.accuracy import MAIN, PAIRS, PARITY, test_of
from repro.report.tables.records import coverage, set_aside
from repro.report.tables.table import Row
from repro.report.text import cell_text, number
from repro.report.view import Records, View, is_digits
from repro.report.vocabulary import BEST, LAST, RULES, counted, data_label, seeds_label
from repro.text import span

PRIMARY = (BEST, LAST)  # rules of selection that the answer states, never one alone
LISTED = 4  # losses of the ablation on the first screen
QUESTION = (
    "Does training with 4-bit weights from scratch reach full-precision accuracy on CIFAR, and does each component of "
    "the method contribute what the paper's ablation says?"
)


@dataclass(frozen=True)
class Progress:
    """How far a scale is: its runs, seeds, hours and machines."""

    scale: str
    about: str
    decides: bool
    done: int
    planned: int
    diverged: int
    seeds: str
    hours: float
    machines: str

    @property
    def command(self) -> str:
        """What trains the rest."""
        return f"snakemake --cores 4 --config scale={self.scale}"


@dataclass(frozen=True)
class Story:
    """The first screen.

    Attributes:
        headline: The answer in a sentence or two.
        answers: Question to answer, five of them.
        warnings: What limits every number.
        progress: Scales with records, and those that decide.
    """

    headline: str
    answers: Mapping[str, str]
    warnings: list[str]
    progress: list[Progress]


def tell(records: Records, ledger: Ledger) -> Story:
    """The story that the records tell."""
    progress = list(_progress(records))
    return Story(
        headline=" ".join(_headline(records, ledger)),
        answers={
            "What does the paper claim?": _claimed(),
            "What was measured?": _measured(records),
            "Does parity hold?": " ".join(_parity(records)),
            "Which component matters?": _ablation(records),
            "What is missing?": " ".join(filter(None, (ledger.warning, _missing(progress)))),
        },
        warnings=list(_warnings(records)),
        progress=progress,
    )


def _warnings(records: Records) -> Iterator[str]:
    config, evidence = records.config, records.evidence
    if evidence.runs.empty:
        about = config.scales[config.scale].description
        yield f"No record was found: everything measured says “not run”. Configured scale: {config.scale} ({about})."
    elif all(is_digits(config, scale) for scale in records.scales):
        names = ", ".join(map(data_label, sorted(evidence.runs["data"].unique())))
        yield f"All there is so far are runs on {names}: they test the machinery and say nothing of the paper."
    if aside := set_aside(evidence):
        yield aside


def _tests(view: View) -> dict[tuple[str, str], Equivalence]:
    """The equivalence tests that have a common seed, by data set and rule."""
    found = {_pair(row): test_of(view, row) for row in PARITY.rows(view)}
    return {key: test for key, test in found.items() if test.difference.n}


def _pair(row: Row) -> tuple[str, str]:
    """Data set and rule of a parity row."""
    return row.label.partition(",")[0], str(row.data)


def _best_view(records: Records) -> View:
    """The strongest scale that has a pair; else the strongest."""
    views = PARITY.views(records)
    return next((view for view in views if _tests(view)), views[0])


def _headline(records: Records, ledger: Ledger) -> Iterator[str]:
    view = _best_view(records)
    tests = {key: test for key, test in _tests(view).items() if key[1] in PRIMARY}
    if not view.comparable or not tests:
        yield "Not answered yet: no 4-bit run on CIFAR stands beside its full-precision partner."
    elif not view.decides:
        gaps: dict[str, list[str]] = {}
        for (data, rule), test in tests.items():
            gaps.setdefault(data, []).append(f"{_signed(test)} ({RULES[rule]})")
        yield f"Not answered yet: only runs of the paper's length ({paper_length()}) decide."
        runs = (view.runs(name) for pair in PAIRS.values() for name in pair)
        length = span((epochs for each in runs for epochs in each["epochs"]), "epoch")
        yield f"In runs shortened to {length}, 4-bit training minus the same training {_plain(view)} is, in"
        seeds = span((test.difference.n for test in tests.values()), "seed")
        yield "points: " + "; ".join(f"{data} {', '.join(texts)}" for data, texts in gaps.items()) + f" ({seeds})."
    else:
        yield " ".join(f"{_verdict(test)} on {data}, {RULES[rule]}: {_words(test)}."
                       for (data, rule), test in tests.items())  # fmt: skip
    claims, facts = ledger.settled
    yield (
        f"Before anything is trained, {claims} of the ledger's {len(ledger.claims)} claims, about "
        f"{counted(facts, 'fact')}, are contradicted by its authors' log, arithmetic or its own text."
    )


def _signed(test: Equivalence) -> str:
    return number(100 * test.difference.value, 2, signed=True)


def _plain(view: View) -> str:
    return f"unquantised in {'bfloat16' if in_bf16(view.config, view.scale) else 'FP32'}"


def _verdict(test: Equivalence) -> str:
    if test.difference.n < 2:
        return "Undecided"
    if test.p_value < ALPHA:
        return "Yes"
    low, high = test.interval
    return "No" if low > MARGIN or high < -MARGIN else "Not shown"


def _words(test: Equivalence) -> str:
    known = test.difference
    spread = f" ±{100 * (known.value - known.low):.2f}" if known.n > 1 else ""
    return f"4-bit minus unquantised is {_signed(test)}{spread} points ({counted(known.n, 'seed')})"


def _claimed() -> str:
    fp32, ours = (row["values"] for row in read_table("table2")["rows"][:2])
    best, losses = read_table("table3")["rows"][0]["values"], [-value for value, _ in _printed_losses()]
    return (
        f"4-bit weights trained from scratch on a CPU reach {best['cifar10']} % on CIFAR-10, "
        f"{ours['gap']} points from FP32's {fp32['accuracy']} % (quoted), and {best['cifar100']} % on CIFAR-100; "
        f"leaving components out costs {min(losses):.1f} to {max(losses):.1f} points. Its runs have {paper_length()}."
    )


def _printed_losses() -> list[tuple[float, str]]:
    """What leaving each component out changes by the paper, the largest loss first."""
    full, *others = read_table("table7")["rows"]
    start = parse_printed(full["values"]["accuracy"]).low
    return sorted((parse_printed(row["values"]["accuracy"]).low - start, row["label"].partition(" (")[0])
                  for row in others)  # fmt: skip


def _measured(records: Records) -> str:
    view = MAIN.views(records)[0]
    grid = MAIN.grid(view)
    by_data: dict[str, list[str]] = {}
    for row, best, last in zip(grid.rows, grid.column(BEST), grid.column(LAST), strict=True):
        if best.known:
            title = row.label.partition(",")[0].replace("Unq", "unq")
            by_data.setdefault(data_label(best.data), []).append(f"{title} {cell_text(best)} / {cell_text(last)}")
    if not by_data:
        return "Nothing yet: neither the 4-bit run nor its FP32 partner has a record."
    texts = "; ".join(f"{data}: {', '.join(cells)} %" for data, cells in by_data.items())
    shortened = "" if view.decides else ", which decides nothing"
    rules = "Test accuracy at the best epoch (chosen on the test set) / the last epoch"
    return f"At scale {view.about(grid.experiments)}{shortened}. {rules}, {texts}."


def _parity(records: Records) -> Iterator[str]:
    view = _best_view(records)
    tests = _tests(view)
    if not tests:
        yield "Not tested: no 4-bit run and FP32 run share a scale and a seed."
        return
    if not view.decides:
        yield f"Undecided: scale {view.scale} is shorter than the paper's runs."
    grid = PARITY.grid(view)
    cells = {_pair(row): cell for row, cell in zip(grid.rows, grid.column("difference"), strict=True)}
    for rule in PRIMARY:
        found = [f"{data} {_verdict(test).lower() if view.decides else ''} {cell_text(cells[data, each])}"
                 .replace("  ", " ") for (data, each), test in tests.items() if each == rule]  # fmt: skip
        if found:
            yield f"4-bit minus {_plain(view)} at the {RULES[rule]}: {', '.join(found)} points."
    most = max(test.difference.n for test in tests.values())
    if most > 1:
        yield f"Two one-sided tests within ±{100 * MARGIN:g} points, {most} seeds."
        return
    yield "One seed: no test."
    again = records.evidence.trained_again(view.scale)
    if len(again):
        apart = 100 * (again["taken"] - again["recorded"]).abs().max()
        yield f"The unquantised run, trained again on another machine, has {apart:.2f} points more or less."


def _ablation(records: Records) -> str:
    view = TABLE7.views(records)[0]
    grid = TABLE7.grid(view)
    theirs = f"Paper: {', '.join(f'{name} {number(value, 1)}' for value, name in _printed_losses())}."
    ours = [(cell.value, f"{row.label} {cell_text(cell)}")
            for row, cell in zip(grid.rows, grid.column(f"points {LAST}"), strict=True) if cell.known]  # fmt: skip
    if not ours:
        return f"{theirs} Here: not run yet."
    found = ", ".join(text for _, text in sorted(ours)[:LISTED])
    measured = [row.experiment for row in grid.rows if row.experiment]
    note = "" if view.decides else " Too short to rank them."
    return f"{theirs} Here, last epoch, the largest losses at scale {view.about(measured)}: {found}.{note}"


def _progress(records: Records) -> Iterator[Progress]:
    config = records.config
    table = {row["scale"]: row for row in coverage(records.evidence).to_dict("records")}
    for scale in dict.fromkeys([*records.scales, *records.digits, *config.scales]):
        row = table[scale]
        done = row["completed"] + row["diverged"]
        if done or config.scales[scale].decides:
            seeds = row["seeds"].split()
            yield Progress(
                scale, row["about"], config.scales[scale].decides, done, row["runs"], row["diverged"],
                seeds_label(seeds) if seeds else "", row["hours"], row["machines"],
            )  # fmt: skip


def _missing(progress: list[Progress]) -> str:
    texts = []
    for decides, kind in ((True, "decide"), (False, "do not decide")):
        some = [each for each in progress if each.decides == decides and (decides or each.done < each.planned)]
        finished = (f"{each.done} of {counted(each.planned, 'run')} at scale {each.scale}" for each in some)
        texts += [f"{' and '.join(finished)}, which {kind}"] if some else []
    nothing = "" if any(each.decides for each in progress) else " No configured scale decides."
    return f"Finished so far: {'; '.join(texts)}.{nothing}" if texts else nothing.strip()
