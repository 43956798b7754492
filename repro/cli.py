"""The command line: ``python -m repro list | plan | train | weights | export | evaluate | ...``."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from repro import commands, training_commands
from repro.config import Config, load_config
from repro.errors import ReproError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 where the user has something to mend, 2 for a wrong
        call, 128 + signal for a run that was asked to stop.
    """
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("repro").setLevel(logging.INFO)
    command: Callable[[argparse.Namespace, Config], int] = parsed.command
    try:
        return command(parsed, load_config(parsed.config))
    except ReproError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"error: this command needs the package {error.name}, which is not installed here", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m repro", description="Reproduction suite for arXiv 2603.13931.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace, Config], int], text: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        sub.add_argument("--config", default="config.yaml", help="configuration file (default: config.yaml)")
        sub.add_argument("--results", type=Path, default=Path("results"), help="folder of the records")
        return sub

    listing = add("list", commands.list_experiments, "every experiment with the run that serves it")
    status = add("status", commands.show_status, "every run of a scale: state, epoch, accuracy, time left")
    planning = add(
        "plan", commands.show_plan, "what a scale would cost on this machine: cached runs, runs to train, time"
    )
    train = add(
        "train",
        training_commands.train,
        "train experiments, or go on where they stopped; several take turns in one process",
    )
    export = add("export", commands.export_files, "write a finished run's real files: packed weights, and ONNX")
    export.add_argument("experiment", help="a name from `python -m repro list`")
    export.add_argument("--seed", type=_at_least(0), default=0)
    export.add_argument("--onnx", action="store_true", help="also write ONNX, and time both")
    sharpness = add("sharpness", commands.measure_sharpness, "loss of a finished run where its weights are moved")
    sharpness.add_argument("experiment", help="a name from `python -m repro list`")
    sharpness.add_argument("--seed", type=_at_least(0), default=0)
    sharpness.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    sharpness.add_argument("--threads", type=_at_least(1), help="CPU threads (default: the scale's)")
    evaluation = add("evaluate", commands.evaluate_file, "accuracy of a file that export wrote, beside its record's")
    evaluation.add_argument("file", type=Path, help="model.safetensors or model.onnx")
    evaluation.add_argument("--precision", choices=("fp32", "bf16"), help="arithmetic (default: the record's)")
    weights = add("weights", training_commands.make_weights, "make sure of weights: they are there, or trained (again)")
    for sub in (listing, status, planning, train, weights, export, sharpness):
        sub.add_argument("--scale", help="scale (default: the configured one)")
    planning.add_argument("--budget", help="exit with status 1 if it would take longer, such as 90s, 45m, 3h or 2d")
    planning.add_argument("--cores", type=_at_least(1), help="as for snakemake (default: all of this machine)")
    for sub in (train, weights):
        sub.add_argument("experiment", nargs="+", help="names from `python -m repro list`, or `all`")
        sub.add_argument("--seed", type=_at_least(0), nargs="+", default=[0], help="one or several (default: 0)")
        sub.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
        sub.add_argument("--threads", type=_at_least(1), help="CPU threads (default: the scale's)")
        sub.add_argument(
            "--compile", action="store_true", help="compile the model with inductor; changes the last bits"
        )
        sub.add_argument("--no-track", action="store_true", help="do not log to MLflow while it trains")
        sub.add_argument("--expect-spec", help="fail unless the run's spec has this hash (used by the workflow)")
    train.add_argument("--at-once", type=_at_least(1), default=1, help="runs in turns on one GPU (default: 1)")
    track = add("track", commands.sync_tracking, "bring all records into MLflow; can be repeated")
    track.add_argument("--uri", help="MLflow address (default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db)")
    track.add_argument("--stamp", type=Path, help="file to write afterwards (used by the workflow)")
    report = add("report", commands.make_report, "build the report from all records, without training")
    report.add_argument("--output", type=Path, default=Path("report"), help="folder of the report")
    renewal = add(
        "refresh", commands.refresh_documents, "bring README's findings, docs/ and the example figures up to date"
    )
    renewal.add_argument("--project", type=Path, default=Path(), help="the repository's root")
    add("claims", commands.show_claims, "every checkable claim of the paper with its computed verdict")
    data = add("data", commands.make_data_ready, "make a data set ready: find or download, verify, cache")
    data.add_argument("name", help="cifar10, cifar100, digits10 or digits100")
    data.add_argument("--download", action="store_true", help="download it where it is absent")
    return parser


def _at_least(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{number} is less than {minimum}")
        return number

    parse.__name__ = "integer"  # argparse names it where the text is no number
    return parse
