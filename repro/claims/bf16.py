"""What is known of bfloat16 against FP32 arithmetic: runs of one experiment and seed that exist in both."""

from collections.abc import Callable

from repro.analysis import deciding_scales, in_bf16
from repro.claims.claim import Call, Claim
from repro.claims.runs import Runs, ask
from repro.units import UNITS

LAST = Call("final_test_accuracy")
LISTED = 4  # runs that are named one by one
NOTHING = "bf16 against FP32: no run exists in both yet"


def known_of_bf16(claim: Claim, runs: Runs, scale: str) -> str:
    """The claim's own figure on its own runs in both arithmetics; failing that, the last accuracy of whatever runs.

    Args:
        claim: A claim with experiments.
        runs: The records.
        scale: A scale in bfloat16.
    """
    assert claim.query is not None
    own = _differences(runs, scale, (*claim.experiments, *claim.minus, *claim.less), claim.query)
    if own:
        factor = UNITS[claim.unit][0]
        shown = _list({name: value * factor for name, value in own.items()}, claim.show)
        return f"bf16 less FP32 on the same run: {shown} {'points' if claim.unit == '%' else claim.unit}"
    others = _differences(runs, scale, tuple(runs.evidence.config.experiments), LAST)
    if others:
        shown = _list({name: 100 * value for name, value in others.items()}, lambda value: f"{value:.2f}")
        return f"none of these runs exists in FP32; test accuracy at the last epoch, bf16 less FP32: {shown} points"
    return NOTHING


def _list(differences: dict[str, float], show: Callable[[float], str]) -> str:
    """Each of a few by name, or mean and range of many."""
    values = list(differences.values())
    if len(values) <= LISTED:
        text = ", ".join(f"{name} {show(value)}" for name, value in differences.items())
    else:
        mean, low, high = sum(values) / len(values), min(values), max(values)
        text = f"{show(mean)} on average ({show(low)} to {show(high)}) over {len(values)} runs,"
    return text.replace("-", "−")


def _differences(runs: Runs, scale: str, experiments: tuple[str, ...], query: Call) -> dict[str, float]:
    """Experiment and seed to bf16 less FP32, in the units of records; one experiment a training."""
    config, found, seen = runs.evidence.config, {}, set()
    exact = [name for name in deciding_scales(config) if not in_bf16(config, name)]
    for experiment in dict.fromkeys(experiments):
        for seed, view in runs.views(scale, experiment, query=query).items():
            twins = [runs.views(name, experiment, query=query).get(seed) for name in exact]
            twin = next((one for one in twins if one is not None), None)
            if twin is not None and view.facts["path"] not in seen:
                seen.add(view.facts["path"])
                difference = ask(query, view) - ask(query, twin)
                if difference == difference:
                    elsewhere = "" if view.facts["processor"] == twin.facts["processor"] else " (on another processor)"
                    found[f"{experiment} seed {seed}{elsewhere}"] = difference
    return found
