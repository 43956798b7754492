"""`sharpness` on a trained run: through the command line, against torch by hand, and in the ledger."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from repro.analysis import load_evidence
from repro.cli import main
from repro.config import Config, Plan
from repro.records.sharpness import RADIUS, SHARPNESS_NAME, read_sharpness
from repro.train import Settings, Trainer, quantize_run, train_run
from repro.train.surroundings import load_data


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Path:
    results = tmp_path_factory.mktemp("trained")
    for name in ("main_cifar10", "fp32_cifar10"):
        train_run(Plan(config, "smoke").run(name, 0), Settings(results=results))
    return results


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "results"))


def command(results: Path, project: Path, name: str = "main_cifar10") -> int:
    where = ["--scale", "smoke", "--results", str(results), "--config", str(project / "config.yaml")]
    return main(["sharpness", name, *where])


def test_it_measures_around_the_weights_at_rate_zero(
    results: Path, project: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Plan(config, "smoke").run("main_cifar10", 0)
    path = run.directory(results) / SHARPNESS_NAME
    assert command(results, project) == 0
    found = json.loads(path.read_text())
    assert f"{path}: training loss {found['train_loss']:.4f}" in capsys.readouterr().out
    assert found["weights"] == "zero_rate"
    assert found["images"] == {"train": 256, "test": 200}
    trainer = Trainer(run.spec, 0, load_data(run, None), torch.device("cpu"))
    trainer.model.load_state_dict(torch.load(path.with_name("weights-zero-rate.pt"), weights_only=True))
    for split in ("train", "test"):
        loss, _ = trainer.evaluate(getattr(trainer.data, split))
        assert found[f"{split}_loss"] == pytest.approx(loss, abs=1e-5)
    assert {len(draws) for at in found["moved"].values() for draws in at.values()} == {5}
    before = path.read_bytes()
    assert command(results, project) == 0
    assert path.read_bytes() == before, "seeded: the same again"
    (row,) = load_evidence(config, results).select("smoke", "main_cifar10").to_dict("records")
    rise = sum(found["moved"][str(RADIUS)]["train_loss"]) / 5 - found["train_loss"]
    assert row["sharpness"] == pytest.approx(rise)
    assert math.isnan(load_evidence(config, results).select("smoke", "fp32_cifar10")["sharpness"].iloc[0])


def test_the_noise_has_the_share_of_each_layers_norm(config: Config) -> None:
    from repro.export.sharpness import _draws

    run = Plan(config, "quick").run("fp32_cifar10", 0)
    trainer = Trainer(run.spec, 0, load_data(run, None), torch.device("cpu"))
    layers = [m for m in trainer.model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    before = [layer.weight.detach().clone() for layer in layers]
    shares = []
    for _ in _draws(trainer, 0, 0.1):
        shares.append([((m.weight - w).norm() / w.norm()).item() for m, w in zip(layers, before, strict=True)])
    assert len(shares) == 5
    assert all(share == pytest.approx(0.1, rel=0.2) for draw in shares for share in draw)
    assert shares[0] != shares[1]
    assert all(torch.equal(m.weight, w) for m, w in zip(layers, before, strict=True)), "put back"


def test_last_weights_where_the_run_kept_no_others(results: Path, project: Path, config: Config) -> None:
    folder = Plan(config, "smoke").run("main_cifar10", 0).directory(results)
    (folder / "weights-zero-rate.pt").unlink()
    assert command(results, project) == 0
    assert json.loads((folder / SHARPNESS_NAME).read_text())["weights"] == "last"


def test_what_it_refuses(results: Path, project: Path, config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(config, "smoke")
    assert command(results, project, "bits8_cifar10") == 1
    assert "no such run yet; `python -m repro train bits8_cifar10" in capsys.readouterr().err
    ptq = plan.run("ptq4_cifar10", 0)
    quantize_run(ptq, plan.run("fp32_cifar10", 0), Settings(results=results))
    assert command(results, project, "ptq4_cifar10") == 1
    assert "ptq4_cifar10 trains nothing" in capsys.readouterr().err
    for path in plan.run("main_cifar10", 0).directory(results).glob("*.pt"):
        path.unlink()
    assert command(results, project) == 1
    assert "python -m repro weights main_cifar10" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [({"schema_version": 2}, "schema version 2"), ({"seed": 5}, "of another run"), ({"moved": {}}, "not a readable")],
)
def test_a_damaged_file_is_named(results: Path, project: Path, config: Config, change: dict, message: str) -> None:
    assert command(results, project) == 0
    path = Plan(config, "smoke").run("main_cifar10", 0).directory(results) / SHARPNESS_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    (row,) = load_evidence(config, results).unreadable.to_dict("records")
    assert message in row["error"]
    assert SHARPNESS_NAME in row["error"]


def test_none_is_no_number(tmp_path: Path) -> None:
    assert math.isnan(read_sharpness(tmp_path, "0" * 8, 0))
