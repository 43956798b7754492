"""The accuracy of a file: safetensors through PyTorch, ONNX through onnxruntime."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repro.data import ImageData, load_dataset
from repro.errors import ReproError
from repro.export.onnx_export import INPUT
from repro.export.onnx_import import read_onnx
from repro.export.packed import ExportError, load_packed
from repro.records.check import FieldError, check_record
from repro.text import points, printable
from repro.train import evaluation
from repro.train.device import autocast, set_arithmetic
from repro.train.evaluation import Logits, batch_logits

MOST_THREADS = 1024
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Evaluation:
    """What a file scored on the test set beside what its record says.

    Attributes:
        record: The record in its metadata.
        precision: Arithmetic of this evaluation, ``fp32``, ``bf16`` or ``int8``.
        threads: Threads of this evaluation.
        images: Test images.
        accuracy: Fraction that is right.
        loss: Mean cross entropy in nats.
    """

    record: Mapping[str, Any]
    precision: str
    threads: int
    images: int
    accuracy: float
    loss: float

    def describe(self) -> str:
        """The figures in two lines: the file's and the record's."""
        record, summary, data = self.record, self.record["summary"], self.record["data"]
        accuracy, loss = summary["final_test_accuracy"], summary["final_test_loss"]
        same = tuple(float(f"{value:.8g}") for value in (self.accuracy, self.loss)) == (accuracy, loss)  # 8 digits
        precision, device = record["spec"]["precision"], record["environment"]["device"]
        where = f"{precision} on {device}, {record['experiment']}, scale {record['scale']}, seed {record['seed']}"
        beside = f"accuracy {accuracy:.2%} ({points(self.accuracy - accuracy)}), loss {loss:.6g}"
        return (
            f"test accuracy {self.accuracy:.2%}, loss {self.loss:.6g} on {self.images:,} images of {data['name']} "
            f"({self.precision} on cpu, {self.threads} thread{'s' if self.threads > 1 else ''})\n"
            f"record: {'the same' if same else beside} ({where})"
        )


def evaluate_file(path: Path, precision: str | None = None) -> Evaluation:
    """Evaluate a file that ``python -m repro export`` wrote, on the test images of its record.

    Args:
        path: ``.safetensors`` or ``.onnx``.
        precision: ``fp32`` or ``bf16``; by default the record's. An ONNX file has its own, FP32 or INT8.

    Raises:
        ReproError: If the file or the data are absent, damaged or not those of the record.
    """
    if not path.exists():
        raise ReproError(f"{path}: there is no such file; `python -m repro export` writes them")
    try:
        if path.suffix == ".onnx":
            content, record, arithmetic = read_onnx(path)
            check_record(record)
            if precision not in (None, arithmetic):
                raise ReproError(f"{path}: this ONNX file computes in {arithmetic}, not in {precision}")
            precision, logits = (
                arithmetic,
                _guarded(path, session_logits(_onnx_session(path, content, record_threads(record)))),
            )
        elif path.suffix == ".safetensors":
            packed = load_packed(path)
            check_record(packed.record)
            record, precision = packed.record, precision or packed.record["spec"]["precision"]
            logits = model_logits(packed.model, precision)
        else:
            raise ReproError(f"{path}: its name ends in neither .safetensors nor .onnx")
        threads = record_threads(record)
        set_arithmetic(CPU, threads, "fp32")
        data = recorded_data(record)
        accuracy, loss = score(predict(logits, data), data)
        return Evaluation(record, precision, threads, len(data.test.labels), accuracy, loss)
    except (FieldError, KeyError, TypeError, IndexError, RuntimeError) as error:
        reason = f"its metadata hold no whole record, or none of its weights ({printable(error)})"
        raise ExportError(f"{path}: {reason}; export the run again") from None


def record_threads(record: Mapping[str, Any]) -> int:
    """CPU threads of the recorded run: another number may change the last bits."""
    return min(int(record["environment"].get("torch_threads") or 1), MOST_THREADS)


def recorded_data(record: Mapping[str, Any]) -> ImageData:
    """The data set of a record with the images that it was trained and tested on.

    Raises:
        ReproError: If it is not here, or not the recorded one.
    """
    dataset = record["spec"]["dataset"]
    sizes = {key: dataset[key] for key in ("train_images", "test_images", "validation_fraction")}
    data = load_dataset(dataset["name"], **sizes, seed=record["seed"])
    if data.fingerprint != record["data"]["fingerprint"]:
        raise ReproError(f"{data.name} here is not the data set that the run was recorded with")
    return data


def model_logits(model: nn.Module, precision: str) -> Logits:
    """A model as the trainer evaluates it."""

    def logits(images: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(CPU, precision):
            result: Tensor = model(images)
        return result.float()

    return logits


def _onnx_session(path: Path, content: bytes, threads: int) -> Any:
    """As ``onnx_session``, for a file from elsewhere."""
    try:
        return onnx_session(content, threads)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # onnxruntime's errors share no narrower base
        raise ExportError(f"{path}: not a usable ONNX file ({printable(error)})") from None


def _guarded(path: Path, logits: Logits) -> Logits:
    """The same function, whose failure names the file."""

    def call(images: Tensor) -> Tensor:
        try:
            return logits(images)
        except Exception as error:  # onnxruntime's errors share no narrower base
            raise ExportError(f"{path}: cannot be computed ({printable(error)})") from None

    return call


def onnx_session(content: bytes, threads: int) -> Any:
    """An onnxruntime session on the CPU with so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors alone
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def session_operators(content: bytes) -> dict[str, int]:
    """The operators, with their number, that onnxruntime makes of a file on this machine."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimised.onnx")
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath, options.log_severity_level = str(path), 3
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(path).graph.node
    return dict(sorted(Counter(node.op_type for node in nodes).items()))


def session_logits(session: Any) -> Logits:
    """An onnxruntime session as a function of tensors."""
    return lambda images: torch.from_numpy(session.run(None, {INPUT: images.contiguous().numpy()})[0])


def predict(logits: Logits, data: ImageData, batches: int | None = None) -> Tensor:
    """Logits of the test images in the trainer's batches, of all or of the first few; FP32 [N, K]."""
    return torch.cat(list(itertools.islice(batch_logits(logits, data, data.test), batches)))


def score(predictions: Tensor, data: ImageData) -> tuple[float, float]:
    """Accuracy as a fraction and mean loss in nats of all test images, as the trainer computes them."""
    loss, accuracy = evaluation.score(torch.split(predictions, evaluation.BATCH["cpu"]), data.test.labels)
    return accuracy, loss
