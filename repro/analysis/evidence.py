"""All records under a folder, matched to the experiments that they serve."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from repro.analysis.rows import (
    EXPORT_COLUMNS,
    EXPORT_TEXTS,
    NUMBERS,
    RENAMED,
    TEXTS,
    WEIGHT_COLUMNS,
    LoadedRun,
    load_run,
)
from repro.config import Config, Plan
from repro.config.options import NONE
from repro.config.schema import PRECISIONS
from repro.failures import last_words
from repro.records import EPOCH_COLUMNS, LAYER_COLUMNS, RecordError, find_records
from repro.text import harmless, printable

# The order of the report: the nearer to the paper, the earlier.
SCALES = ("paper", "paper_bf16", "short", "quick", "smoke")
NOT_RUN = "not run"

KEYS = ("scale", "experiment", "seed")
RUN_COLUMNS = (*KEYS, "group", "title", *TEXTS, *EXPORT_TEXTS, *NUMBERS, *EXPORT_COLUMNS)
STATE_COLUMNS = (*KEYS, "run", "status")
STALE_COLUMNS = ("path", *KEYS, "spec_hash", "reason")
UNREADABLE_COLUMNS = ("path", "error")

Match = tuple[str, str, int]


@dataclass(frozen=True)
class Evidence:
    """What the records say, as tidy data frames.

    Attributes:
        config: The configuration that the records were matched with.
        runs: One row an experiment, scale and seed that has a record. A run that serves several
            experiments has a row for each, with the same ``run`` and ``path``.
        epochs: ``epochs.csv`` of those runs, with ``scale``, ``experiment``, ``seed`` and ``path``.
        layers: ``layers.csv`` of those runs, with the same keys; its ``scale`` is named ``level_scale`` here.
        weights: Histograms of the latent weights at the end of those runs, one row a layer, with the same keys.
        repeats: Like ``runs``: second records of a run that serves already, from another machine. Only
            comparisons of machines use them; anywhere else a seed counts once.
        repeat_epochs: ``epochs`` of the repeats.
        repeat_layers: ``layers`` of the repeats.
        states: One row a run (not an experiment) that a scale asks for or that was found: its status is
            ``completed``, ``diverged`` or ``not run``.
        stale: Records that stand in no table, and why.
        unreadable: Record files that cannot be used, and why.
        failed: Runs whose log in the workflow ends in an error, and its last lines.
    """

    config: Config
    runs: pd.DataFrame
    epochs: pd.DataFrame
    layers: pd.DataFrame
    weights: pd.DataFrame
    repeats: pd.DataFrame
    repeat_epochs: pd.DataFrame
    repeat_layers: pd.DataFrame
    states: pd.DataFrame
    stale: pd.DataFrame
    unreadable: pd.DataFrame
    failed: pd.DataFrame

    def select(self, scale: str, experiment: str) -> pd.DataFrame:
        """Rows of ``runs`` of one experiment at one scale, indexed and sorted by seed; empty where not run."""
        return self._by_experiment.get((scale, experiment), self._no_runs)

    @cached_property
    def _no_runs(self) -> pd.DataFrame:
        return self.runs.iloc[:0].set_index("seed")

    @cached_property
    def _by_experiment(self) -> dict[tuple[str, str], pd.DataFrame]:
        groups = self.runs.set_index("seed").sort_index().groupby(["scale", "experiment"], sort=False)
        return {(str(keys[0]), str(keys[1])): rows for keys, rows in groups}

    def accuracies_at(self, scale: str, experiment: str, epochs: pd.Series) -> pd.Series:
        """Test accuracy of a training at the epoch that ``epochs`` names for each seed."""
        rows = self.epochs[(self.epochs["scale"] == scale) & (self.epochs["experiment"] == experiment)]
        found: pd.Series = rows[rows["epoch"] == rows["seed"].map(epochs)].set_index("seed")["test_accuracy"]
        return found

    def accuracies_taken(self, scale: str, experiment: str) -> pd.DataFrame:
        """Of PTQ, by seed, where the weights that it took have another accuracy than their own record.

        They were trained again on another platform, or evaluated there.

        Returns:
            ``taken``, the accuracy that those weights had, and ``recorded``; one row a seed.
        """
        runs = self.select(scale, experiment)
        taken = runs["source_test_accuracy"].dropna()
        source = self.runs.loc[self.runs["run"].isin(runs["source_run"]), "experiment"]
        if taken.empty or source.empty:
            return pd.DataFrame(columns=["taken", "recorded"], dtype=float)
        recorded = self.accuracies_at(scale, source.iloc[0], runs["best_test_epoch"]).reindex(taken.index)
        both = pd.DataFrame({"taken": taken, "recorded": recorded})
        return both[~((taken - recorded).abs() < 1e-6)]  # records round

    def trained_again(self, scale: str) -> pd.DataFrame:
        """What ``accuracies_taken`` finds for any experiment of a scale, each pair of accuracies of a seed once."""
        takes = (self.runs["scale"] == scale) & self.runs["source_test_accuracy"].notna()
        names = self.runs.loc[takes, "experiment"].unique()
        found = [self.accuracies_taken(scale, name).reset_index() for name in names]
        return pd.concat(found).drop_duplicates() if found else pd.DataFrame(columns=["seed", "taken", "recorded"])

    def weights_accuracy(self, scale: str, experiment: str) -> str:
        """The accuracy of those weights in words; empty where it is the record's."""
        taken = self.accuracies_taken(scale, experiment)["taken"]
        accuracies = ", ".join(f"{100 * accuracy:.2f}\N{NO-BREAK SPACE}%" for accuracy in taken)
        return f", of weights with {accuracies}" if accuracies else ""

    def scales_with(self, experiments: Iterable[str]) -> list[str]:
        """Scales with a record of any of the experiments, in the report's order; without one, the configured scale."""
        found = set(self.runs.loc[self.runs["experiment"].isin(list(experiments)), "scale"])
        return [scale for scale in scale_order(self.config) if scale in found] or [self.config.scale]


def scale_order(config: Config) -> list[str]:
    """The configured scales as the report orders them: those of ``SCALES``, then any other."""
    known = [name for name in SCALES if name in config.scales]
    return known + [name for name in config.scales if name not in known]


def deciding_scales(config: Config) -> list[str]:
    """Scales whose runs may give verdicts on the paper's claims, in order of precedence.

    FP32 arithmetic, the paper's own, goes before TF32 and bfloat16; within one arithmetic, the report's order.
    """
    deciding = [name for name in scale_order(config) if config.scales[name].decides]
    return sorted(deciding, key=lambda name: PRECISIONS.index(config.scales[name].precision or PRECISIONS[0]))


def in_bf16(config: Config, scale: str) -> bool:
    """Whether a scale's runs compute in bfloat16."""
    return config.scales[scale].precision == "bf16"


def after_training(config: Config, experiment: str) -> bool:
    """Whether an experiment quantises trained weights: it has one accuracy, theirs, and no epoch is chosen."""
    known = config.experiments.get(experiment)
    return known is not None and known.settings["ptq"]["name"] != NONE


def load_evidence(config: Config, results: str | Path) -> Evidence:
    """Read every record below ``results`` and match it by scale, spec hash and seed, whatever folder it is in.

    Args:
        config: The registry of experiments and scales.
        results: Folder of the records; it need not exist.

    Returns:
        The evidence. A damaged record is listed, not raised.
    """
    results = Path(results)
    plans = {name: Plan(config, name) for name in scale_order(config)}
    serves = {(name, spec_hash): names for name, plan in plans.items() for spec_hash, names in plan.serves.items()}
    loaded, unreadable = _load_all(results)
    used: dict[Match, LoadedRun] = {}
    repeats: list[tuple[Match, LoadedRun]] = []
    stale = []
    for run in sorted(loaded, key=lambda run: (not _is_at_home(run, plans, serves), run.path)):
        record = run.record
        match: Match = (record.scale, record.spec_hash, record.seed)
        if record.scale not in plans:
            stale.append(_stale_row(run, f"config.yaml has no scale {record.scale!r}"))
        elif match[:2] not in serves:
            stale.append(_stale_row(run, "no experiment resolves to this hash at this scale"))
        elif match in used and run.row["platform"] not in _platforms(match, used, repeats):
            repeats.append((match, run))
        elif match in used:
            stale.append(_stale_row(run, f"a second record of the run in {used[match].path}"))
        else:
            used[match] = run
    first, second = _serving(used.items(), serves), _serving(repeats, serves)
    layer_columns = tuple(RENAMED.get(name, name) for name in LAYER_COLUMNS)
    return Evidence(
        config=config,
        runs=_runs_frame(config, first),
        epochs=_tables(first, "epochs", EPOCH_COLUMNS),
        layers=_tables(first, "layers", layer_columns),
        weights=_tables(first, "weights", WEIGHT_COLUMNS),
        repeats=_runs_frame(config, second),
        repeat_epochs=_tables(second, "epochs", EPOCH_COLUMNS),
        repeat_layers=_tables(second, "layers", layer_columns),
        states=_states_frame(plans, used, serves),
        stale=pd.DataFrame(stale, columns=STALE_COLUMNS),
        unreadable=pd.DataFrame(unreadable, columns=UNREADABLE_COLUMNS),
        failed=pd.DataFrame(_failed(plans, used, results), columns=UNREADABLE_COLUMNS),
    )


def _failed(plans: Mapping[str, Plan], used: Mapping[Match, LoadedRun], results: Path) -> list[dict[str, str]]:
    waiting = [run for scale, plan in plans.items() for run in plan if (scale, run.spec_hash, run.seed) not in used]
    return [
        {"path": run.directory("").as_posix(), "error": words} for run in waiting if (words := last_words(run, results))
    ]


Serves = Mapping[tuple[str, str], list[str]]


def _load_all(results: Path) -> tuple[list[LoadedRun], list[dict[str, str]]]:
    loaded, unreadable = [], []
    for path in find_records(results):
        try:
            loaded.append(load_run(path, results))
        except RecordError as error:
            where = printable(path.parent.relative_to(results).as_posix())
            unreadable.append({"path": where, "error": harmless(str(error).replace(f"{results}/", ""))})
    return loaded, unreadable


def _is_at_home(run: LoadedRun, plans: Mapping[str, Plan], serves: Serves) -> bool:
    """Whether a record lies where this suite itself would write it: then it goes before any copy."""
    record = run.record
    names = serves.get((record.scale, record.spec_hash))
    if not names:
        return False
    return plans[record.scale].run(names[0], record.seed).directory("") == Path(run.path)


def _stale_row(run: LoadedRun, reason: str) -> dict[str, Any]:
    keys = {name: getattr(run.record, name) for name in (*KEYS, "spec_hash")}
    return {"path": run.path, **keys, "reason": reason}


def _platforms(match: Match, used: Mapping[Match, LoadedRun], repeats: Iterable[tuple[Match, LoadedRun]]) -> set[str]:
    """The machines that a run was recorded on so far."""
    others = {str(run.row["platform"]) for other, run in repeats if other == match}
    return {str(used[match].row["platform"]), *others}


Serving = list[tuple[dict[str, Any], LoadedRun]]


def _serving(runs: Iterable[tuple[Match, LoadedRun]], serves: Serves) -> Serving:
    """Every experiment that a run serves, with the run."""
    return [
        ({"scale": scale, "experiment": name, "seed": seed}, run)
        for (scale, spec_hash, seed), run in runs
        for name in serves[scale, spec_hash]
    ]


def _runs_frame(config: Config, serving: Serving) -> pd.DataFrame:
    rows = []
    for keys, run in serving:
        experiment = config.experiments[keys["experiment"]]
        rows.append({**keys, "group": experiment.group, "title": experiment.title, **run.row})
    scales, experiments = scale_order(config), list(config.experiments)
    rows.sort(key=lambda row: (scales.index(row["scale"]), experiments.index(row["experiment"]), row["seed"]))
    return pd.DataFrame(rows, columns=RUN_COLUMNS).astype(dict.fromkeys((*NUMBERS, *EXPORT_COLUMNS), float))


def _tables(serving: Serving, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """The tables of a kind below one another, each row with the keys of its run: one step for all of them."""
    if not serving:
        return pd.DataFrame(columns=[*KEYS, "path", *columns])
    frames: list[pd.DataFrame] = [getattr(run, name) for _, run in serving]
    keys = pd.DataFrame([{**keys, "path": run.path} for keys, run in serving])
    repeated = keys.loc[keys.index.repeat([len(frame) for frame in frames])].reset_index(drop=True)
    return pd.concat([repeated, pd.concat(frames, ignore_index=True)], axis=1)


def _states_frame(plans: Mapping[str, Plan], used: Mapping[Match, LoadedRun], serves: Serves) -> pd.DataFrame:
    rows = []
    for scale, plan in plans.items():
        wanted = {(scale, run.spec_hash, run.seed) for run in plan}
        for match in sorted(wanted | {match for match in used if match[0] == scale}):
            run = used.get(match)
            rows.append(
                {
                    "scale": scale,
                    "experiment": serves[match[:2]][0],
                    "seed": match[2],
                    "run": f"{scale}/{match[1]}/seed{match[2]}",
                    "status": run.record.status if run else NOT_RUN,
                }
            )
    return pd.DataFrame(rows, columns=STATE_COLUMNS)
