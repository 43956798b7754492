"""Runs that are the first epochs of a longer one, bit for bit: table V's six epochs are the main run's."""

from functools import cached_property

from repro.analysis.evidence import Evidence
from repro.config import Plan
from repro.config.spec import Spec
from repro.config.trajectories import shared_epochs


class Openings:
    """Which experiments with records share first epochs with one at a scale that has the paper's epochs."""

    def __init__(self, evidence: Evidence) -> None:
        """Resolve nothing yet."""
        self.evidence = evidence
        self._specs: dict[str, dict[str, Spec]] = {}
        self._found: dict[tuple[str, str], dict[str, int]] = {}

    def of(self, scale: str, experiment: str) -> dict[str, int]:
        """The epochs that each experiment with a record shares with one; with itself, all.

        Args:
            scale: The scale. None where it shortens the experiment: there an epoch of the paper is another one.
            experiment: The longer run.
        """
        key = (scale, experiment)
        if key not in self._found:
            specs = self._resolved(scale)
            own = specs.get(experiment)
            if own is None or own["epochs"] != self.evidence.config.experiments[experiment].settings["epochs"]:
                shared = {}
            else:
                recorded = {name: specs[name] for name in self._recorded.get(scale, ())}
                shared = {name: own["epochs"] if spec == own else shared_epochs(own, spec)
                          for name, spec in recorded.items()}  # fmt: skip
            self._found[key] = {name: epochs for name, epochs in shared.items() if epochs}
        return self._found[key]

    @cached_property
    def _recorded(self) -> dict[str, list[str]]:
        pairs = self.evidence.runs.groupby("scale", sort=False)["experiment"].unique()
        return {str(scale): list(names) for scale, names in pairs.items()}

    def _resolved(self, scale: str) -> dict[str, Spec]:
        if scale not in self._specs:
            plan = Plan(self.evidence.config, scale)
            self._specs[scale] = {one.name: plan.run(one.name, 0).spec for one in plan.experiments}
        return self._specs[scale]
