"""Inference: what the exported files of a run score, and how long a forward pass takes with them."""

import pandas as pd

from repro.analysis import Evidence
from repro.records import COMPLETED
from repro.records.export import BATCHES, VARIANTS
from repro.report.cells import NOT_RUN, Cell, cell_frame, our_cell
from repro.report.parity import DERIVED

INFERENCE_CAPTION = (
    "Runs that `python -m repro export` wrote as files, from export.json. Accuracy at the last epoch: of the "
    "safetensors file read back, in the record's arithmetic and in FP32, and of the ONNX files in onnxruntime, one of "
    "which computes in FP32, the other in integers, with the codes as weights and activations in 8 bits. Difference: "
    "the largest between the logits of the FP32 file and PyTorch's, in millionths of the largest logit. Milliseconds a "
    "call on a CPU, medians over rounds in which the variants take turns. All variants of a row but the last compute "
    "the same network: PyTorch with its weights as FP32, onnxruntime with them stored as FP32, as INT8 and as INT4, "
    "which become FP32 again at every call. The last has integers throughout."
)
# Shown as "not run" where nothing was exported.
EXPECTED = ("main_cifar10", "fp32_cifar10")
ACCURACIES = {
    "file_test_accuracy": "safetensors (%)",
    "file_fp32_test_accuracy": "safetensors in FP32 (%)",
    "onnx_test_accuracy": "ONNX (%)",
    "integer_test_accuracy": "ONNX, integers (%)",
}
TITLES = dict(zip(VARIANTS, ("PyTorch FP32", "ONNX FP32", "ONNX INT8", "ONNX INT4", "ONNX, integers"), strict=True))


def inference_table(evidence: Evidence) -> pd.DataFrame:
    """One row an exported experiment: accuracy of its files, size, and latency by batch and variant."""
    runs = evidence.runs.drop_duplicates("run")  # under the first of the experiments that it serves
    exported = list(dict.fromkeys(runs.loc[runs["file_bytes"].notna(), "experiment"]))
    names = exported or list(EXPECTED)
    cells: list[Cell] = []
    for scale in evidence.scales_with(names):
        for name in names:
            known = evidence.config.experiments.get(name)
            key = {"scale": scale, "row": f"{known.title} ({name})" if known else name}
            if not exported or evidence.select(scale, name)["file_bytes"].notna().any():
                cells += [{**key, **cell} for cell in _row(evidence, scale, name)]
    return cell_frame(cells)


def _row(evidence: Evidence, scale: str, name: str) -> list[Cell]:
    accuracies: list[Cell] = [
        {"group": "Test accuracy", "column": column, **our_cell(evidence, scale, name, measure, "%")}
        for measure, column in ACCURACIES.items()
    ]
    difference = our_cell(evidence, scale, name, "onnx_logit_difference", "ppm")
    latencies: list[Cell] = [
        {"group": f"Latency at batch {batch} (ms)", "column": title,
         **our_cell(evidence, scale, name, f"{variant}_seconds_{batch}", "ms")}
        for batch in BATCHES for variant, title in TITLES.items()
    ]  # fmt: skip
    return [
        *accuracies,
        {"group": "ONNX file", "column": "difference (ppm)", **difference},
        *[{"group": "ONNX file", **cell} for cell in _about(evidence, scale, name)],
        *latencies,
    ]


def _about(evidence: Evidence, scale: str, name: str) -> list[Cell]:
    """In words: how the ONNX file stores the weights, and the machine and its threads."""
    runs = evidence.select(scale, name)
    runs = runs[runs["file_bytes"].notna()]
    threads = [f"{platform}, {count:.0f} thread{'s' if count > 1 else ''}"
               for platform, count in zip(runs["export_platform"], runs["export_threads"], strict=True)]  # fmt: skip
    words = {"weights": list(runs["onnx_weights"]), "machine": threads}
    status = COMPLETED if len(runs) else NOT_RUN
    return [
        {"column": column, "source": DERIVED, "status": status, "unit": "text",
         "note": "; ".join(text for text in dict.fromkeys(texts) if text)}
        for column, texts in words.items()
    ]  # fmt: skip
