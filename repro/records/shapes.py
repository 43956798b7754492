"""What a run's files hold, as types: the JSON Schemas and table schemas beside this file are generated from them.

Sections may gain keys, so that a record of a newer suite is still one. A number that a diverged run lost is ``None``.
"""

from typing import Annotated, Literal, NotRequired

from pydantic import AwareDatetime, Field
from typing_extensions import TypedDict  # pydantic reads the standard one from Python 3.12 on

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*/[0-9a-f]{8}/seed[0-9]+$")]


class Summary(TypedDict):
    """Figures of the whole run."""

    parameters: Positive
    quantized_weights: Count
    epochs_run: Positive
    final_train_loss: Amount | None
    final_train_accuracy: Share | None
    final_test_loss: Amount | None
    final_test_accuracy: Share | None
    best_test_accuracy: Share | None
    best_test_epoch: Positive
    validated_test_accuracy: Share | None
    validated_epoch: Positive | None
    source_run: NotRequired[Key]
    source_test_accuracy: NotRequired[Share]
    zero_rate_epoch: NotRequired[Positive | None]


class Data(TypedDict):
    """The data set."""

    name: Name
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    classes: Annotated[int, Field(ge=2)]
    image_shape: NotRequired[Annotated[list[Positive], Field(min_length=3, max_length=3)]]
    train_images: Positive
    validation_images: Count
    test_images: Positive


class Histogram(TypedDict):
    """Counts of the latent weights between edges."""

    edges: list[float | None]
    counts: list[Count]


class Layer(TypedDict):
    """A weight layer."""

    name: str
    shape: list[Positive]
    weights: Positive
    quantized: bool
    levels: Count | None
    scale: Amount | None
    max_abs_weight: Amount | None
    histogram: Histogram | None


class Size(TypedDict):
    """Bytes of the model."""

    fp32_bytes: Positive
    paper_bytes: Positive
    packed_bytes: Positive


class Compute(TypedDict):
    """Floating-point operations an image."""

    forward_flops_per_image: Amount
    step_flops_per_image: Amount


class Timing(TypedDict):
    """When and how fast."""

    started_at: AwareDatetime
    ended_at: AwareDatetime
    wall_seconds: Amount
    train_images_per_second: Amount | None


class Environment(TypedDict):
    """Versions and machine."""

    repro: str
    git_commit: str | None
    git_dirty: bool | None
    python: str
    system: str
    architecture: str
    processor: str
    cores: Positive
    torch: str
    torch_threads: Positive


class RecordFile(TypedDict):
    """``record.json``."""

    experiment: Name
    group: Name
    scale: Name
    seed: Count
    spec: dict[str, object]
    spec_hash: Hash
    core_version: Positive
    status: Literal["completed", "diverged"]
    reason: str
    summary: Summary
    data: Data
    layers: list[Layer]
    size: Size
    compute: Compute
    timing: Timing
    environment: Environment
    schema_version: Literal[1]


class Packed(TypedDict):
    """Of the safetensors file."""

    bytes: Positive
    payload_bytes: Positive
    metadata_bytes: Count
    precision: str
    test_images: Positive
    test_accuracy: Share
    test_loss: Amount
    fp32_test_accuracy: Share
    fp32_test_loss: Amount
    logit_difference: Amount
    compared_images: Positive


class Onnx(TypedDict):
    """Of an ONNX file."""

    bytes: Positive
    test_accuracy: Share
    test_loss: Amount
    logit_difference: Amount


class Latency(TypedDict):
    """Seconds a call, by variant and batch."""

    threads: Positive
    rounds: Positive
    seconds: dict[str, dict[str, list[Amount]]]


class ExportFile(TypedDict):
    """``export.json``."""

    spec_hash: Hash
    seed: Count
    packed: Packed
    onnx: Onnx | None
    latency: Latency | None
    environment: Environment
    schema_version: Literal[1]
    integer: NotRequired[Onnx | None]


class EpochRow(TypedDict):
    """A row of ``epochs.csv``; an empty cell is ``None``."""

    epoch: Positive
    learning_rate: Amount | None
    train_loss: Amount | None
    train_accuracy: Share | None
    test_loss: Amount | None
    test_accuracy: Share | None
    validation_loss: Amount | None
    validation_accuracy: Share | None
    gradient_norm: Amount | None
    clipped_share: Share | None
    wall_seconds: Amount
    images_per_second: Amount | None


class LayerRow(TypedDict):
    """A row of ``layers.csv``."""

    epoch: Positive
    layer: str
    levels: Count | None
    scale: Amount | None
    max_abs_weight: Amount | None
    shrink_mean_steps: float | None
    shrink_max_steps: float | None
