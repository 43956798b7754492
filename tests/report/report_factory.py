"""Synthetic run records, written through ``repro.records`` so that the schema is exercised."""

import json
from dataclasses import dataclass
from pathlib import Path

from repro.config import Config, Plan
from repro.config.registry import DATASETS
from repro.config.schedules import zero_rate_epoch
from repro.records import Export, Record, read_record, write_export, write_record
from repro.records.export import VARIANTS

CONFIG = Path(__file__).parents[2] / "config.yaml"
LAYERS = ("features.0", "features.3", "classifier.4")
CLASSES = {"cifar10": 10, "cifar100": 100, "digits10": 10, "digits100": 100}


@dataclass(frozen=True)
class RecordFactory:
    """Writes plausible records of any experiment below ``results``."""

    config: Config
    results: Path

    def write(
        self,
        experiment: str,
        scale: str = "quick",
        seed: int = 0,
        best: float = 0.9,
        *,
        status: str = "completed",
        spec_hash: str | None = None,
        folder: str | None = None,
    ) -> Path:
        """One record; the accuracy peaks at ``best`` in the last epoch but one and then falls by a point."""
        run = Plan(self.config, scale).run(experiment, seed)
        spec_hash = spec_hash or run.spec_hash
        epochs = int(run.spec["epochs"])
        after_training = run.spec.get("ptq", {"name": "none"})["name"] != "none"
        quantized = after_training or run.spec["quantizer"]["name"] != "none"
        if after_training:  # a PTQ run has one row, at the epoch of the training whose weights it takes
            peak = zero_rate_epoch(run.spec) if run.spec["ptq"]["source"] == "zero_rate" else epochs
            accuracies = {peak: best}
        else:
            peak = max(1, epochs - 1)
            accuracies = {
                epoch: best * epoch / peak if epoch <= peak else best - 0.01 for epoch in range(1, epochs + 1)
            }
        last = list(accuracies.values())[-1]
        directory = self.results / (folder or f"{scale}/{run.experiment}/seed{seed}-{spec_hash}")
        validated = bool(run.spec["dataset"]["validation_fraction"])
        record = Record(
            experiment=run.experiment, group=self.config.experiments[experiment].group, scale=scale, seed=seed,
            spec=run.spec, spec_hash=spec_hash, core_version=1, status=status,
            reason="at chance" if status == "diverged" else "",
            summary={
                "epochs_run": len(accuracies), "parameters": 3251018, "quantized_weights": 3246784 if quantized else 0,
                "final_train_loss": 0.1, "final_train_accuracy": last + 0.005, "final_test_loss": 0.3,
                "final_test_accuracy": last, "best_test_accuracy": max(accuracies.values()),
                "best_test_epoch": peak,
                "validated_test_accuracy": best - 0.02 if validated else None,
                "validated_epoch": peak if validated else None,
            },
            data={
                "name": run.spec["dataset"]["name"], "fingerprint": "0123abcd",
                "classes": CLASSES[run.spec["dataset"]["name"]], "train_images": 1000, "validation_images": 0,
                "test_images": run.spec["dataset"]["test_images"] or DATASETS[run.spec["dataset"]["name"]].test_images,
            },
            layers=[],
            size={
                "fp32_bytes": 13004072, "paper_bytes": 1625509 if quantized else 13004072,
                "packed_bytes": 1651680 if quantized else 13018820,
            },
            compute={"forward_flops_per_image": 3.1e8, "step_flops_per_image": 9.3e8},
            timing={"started_at": "2025-01-01T00:00:00Z", "ended_at": "2025-01-01T00:01:00Z", "wall_seconds": 60.0,
                    "train_images_per_second": None if after_training else 300.0},
            environment={"git_commit": "0123456789abcdef", "git_dirty": False, "device": "cpu", "device_name": "a CPU"},
        )  # fmt: skip
        write_record(
            directory,
            record,
            [self._epoch(epoch, accuracy) for epoch, accuracy in accuracies.items()],
            [self._layer(epoch, index, quantized) for epoch in accuracies for index in range(len(LAYERS))],
        )
        return directory

    def write_all(self, scale: str, seeds: tuple[int, ...] = (0,), *, by_default: bool = False) -> None:
        """Every run of a scale, or every one of its default job, each accuracy different."""
        plan = Plan(self.config, scale)
        owners = {run.experiment: run for run in (plan.default_runs if by_default else plan)}
        for index, name in enumerate(owners):
            below = 0.01 * min(index, 80) + 0.001 * max(index - 80, 0)
            for seed in seeds:
                directory = self.write(name, scale, seed, best=0.95 - below + 0.002 * seed)
                if name in ("main_cifar10", "fp32_cifar10"):
                    self.export(directory, onnx=seed == 0)

    def take_retrained(self, experiment: str, scale: str, seed: int, source: str, accuracy: float) -> None:
        """Let a PTQ record say that the weights it took were trained again, and what accuracy those have."""
        path = Plan(self.config, scale).run(experiment, seed).record_path(self.results)
        raw = json.loads(path.read_text())
        key = Plan(self.config, scale).run(source, seed).key
        raw["summary"].update(source_run=key, source_test_accuracy=accuracy)
        path.write_text(json.dumps(raw))

    @staticmethod
    def export(directory: Path, *, onnx: bool = True) -> None:
        """An ``export.json`` beside the record in ``directory``."""
        record = read_record(directory / "record.json")
        accuracy, seed = record.summary["final_test_accuracy"], record.seed
        scores = {"test_accuracy": accuracy, "fp32_test_accuracy": accuracy - 0.001}
        packed = {"bytes": 1659528 + seed, "payload_bytes": 1651680, "metadata_bytes": 7848 + seed, **scores}
        seconds = {
            name: {str(batch): [place * batch * 1e-3 + k * 1e-5 for k in (3, 1, 9)] for batch in (1, 128)}
            for place, name in enumerate(VARIANTS, start=1 + seed)
        }
        write_export(directory, Export(
            spec_hash=record.spec_hash, seed=seed, packed={**packed, "logit_difference": 0.0},
            onnx={"bytes": 1658073, "weights": ["INT4"], "test_accuracy": accuracy - 0.002, "logit_difference": 4.4e-7}
            if onnx else None,
            integer={"bytes": 1658999, "weights": ["INT4"], "test_accuracy": accuracy - 0.003, "logit_difference": 0.02}
            if onnx else None,
            latency={"threads": 1, "rounds": 3, "seconds": seconds} if onnx else None,
            environment={"architecture": "x86_64", "processor": "a processor", "torch_threads": 1},
        ))  # fmt: skip

    @staticmethod
    def _epoch(epoch: int, accuracy: float) -> dict[str, object]:
        return {
            "epoch": epoch, "learning_rate": 1e-3 / epoch, "train_loss": 0.5, "train_accuracy": accuracy + 0.005,
            "test_loss": 0.6, "test_accuracy": accuracy, "validation_loss": None, "validation_accuracy": None,
            "gradient_norm": 2.0, "clipped_share": 1.0, "wall_seconds": 1.0, "images_per_second": 300.0,
        }  # fmt: skip

    @staticmethod
    def _layer(epoch: int, index: int, quantized: bool) -> dict[str, object]:
        return {
            "epoch": epoch, "layer": LAYERS[index], "levels": 13 + (epoch + index) % 3 if quantized else None,
            "scale": 0.02 if quantized else None, "max_abs_weight": 0.15, "shrink_mean_steps": 0.001,
            "shrink_max_steps": 0.1,
        }  # fmt: skip
