"""The packed file: its bytes by hand, its size by arithmetic, and the same logits after reading it back."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save, save_file

from repro.analysis import Architecture
from repro.config.registry import MODELS, QUANTIZERS
from repro.errors import ReproError
from repro.export import ExportError, load_packed, pack_model
from repro.export.bits import pack_codes, unpack_codes
from repro.export.packed import METADATA_KEY, payload_bytes
from repro.quant import count_levels, quant_layers
from repro.records.integrity import NO_STAMP, stamped
from repro.train.measure import model_sizes


@pytest.fixture
def packed(built, tmp_path):
    def make(**options):
        model, record = built(**options)
        path = tmp_path / "model.safetensors"
        path.write_bytes(pack_model(model, record))
        return model, record, path

    return make


def test_two_codes_share_a_byte_the_first_in_the_low_half():
    codes = np.array([1, -7, 7, -1, 3], dtype=np.int8)
    assert pack_codes(codes, 4).tolist() == [0x91, 0xF7, 0x03]
    assert unpack_codes(np.array([0x91, 0xF7, 0x03], dtype=np.uint8), 5, 4).tolist() == codes.tolist()


def test_three_bits_run_on_over_the_end_of_a_byte():
    """-1 is 111, 2 is 010, -3 is 101: 111 + 010 << 3 + 101 << 6 = 0b1_0101_0111."""
    assert pack_codes(np.array([-1, 2, -3], dtype=np.int8), 3).tolist() == [0b01010111, 0b1]


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_code_of_every_width_comes_back(bits):
    codes = np.tile(np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)), 3).astype(np.int8)[1:]
    packed = pack_codes(codes, bits)
    assert packed.nbytes == -(-len(codes) * bits // 8)
    assert np.array_equal(unpack_codes(packed, len(codes), bits), codes)


@pytest.mark.parametrize("image_shape", [(3, 32, 32), (1, 13, 10)])
@pytest.mark.parametrize("name", ["absmax", "dorefa", "lsq", "nf4"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_and_image_size_comes_back_bit_for_bit(packed, model, name, image_shape):
    net, _, path = packed(name=name, model=model, image_shape=image_shape)
    images = torch.randn(4, *image_shape).to(memory_format=torch.channels_last)
    again = load_packed(path).model
    with torch.no_grad():
        assert torch.equal(again(images), net(images))
    assert [count_levels(layer) for layer in quant_layers(again).values()] == [
        count_levels(layer) for layer in quant_layers(net).values()
    ]


METHODS = [(name, n) for name, m in QUANTIZERS.items() for n in (2, 3, 4, 8) if n == 4 or "bit_width" in m.options]


@pytest.mark.parametrize(("name", "bits"), METHODS)
def test_every_method_comes_back_bit_for_bit_or_refuses(built, images, tmp_path, name, bits):
    model, record = built(name, bits)
    with torch.no_grad():
        expected = model(images)
    try:
        content = pack_model(model, record)
    except ReproError as error:
        pytest.skip(f"refused: {error}")
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    again = load_packed(path)
    with torch.no_grad():
        assert torch.equal(again.model(images), expected)
    assert again.record["spec"] == record["spec"]
    before, after = quant_layers(model), quant_layers(again.model)
    assert [count_levels(layer) for layer in before.values()] == [count_levels(layer) for layer in after.values()]
    state, restored = model.state_dict(), again.model.state_dict()
    kept = {
        key for key in state if "weight_quantizer" not in key and not key.endswith((*(f"{n}.weight" for n in before),))
    }
    assert "layers.bn1.num_batches_tracked" in kept
    assert all(torch.equal(state[key], restored[key]) for key in kept)


def test_an_unquantised_model_comes_back_too(packed, images):
    model, _, path = packed(experiment="fp32_cifar10")
    with torch.no_grad():
        assert torch.equal(load_packed(path).model(images), model(images))
    assert set(load_file(path)) == set(model.state_dict())


def test_at_full_width_the_payload_is_what_arithmetic_says(packed):
    model, _, path = packed(width=1.0)
    content = path.read_bytes()
    assert payload_bytes(content) == 1_651_680 == Architecture(10).packed_bytes == model_sizes(model)["packed_bytes"]
    assert 1_650_000 < len(content) < 1_665_000
    tensors = load(content)
    assert sum(t.nbytes for t in tensors.values()) == 1_651_680
    assert sum(t.nbytes for name, t in tensors.items() if name.endswith(".codes")) == 3_246_784 // 2
    assert {t.dtype for name, t in tensors.items() if name.endswith(".codes")} == {torch.uint8}


def test_a_stranger_can_read_it(packed):
    """From the documented layout alone: bits of 4, low half first, two's complement, times the scale."""
    model, _, path = packed()
    tensors = load_file(path)
    data = tensors["layers.conv1.weight.codes"].numpy()
    codes = np.stack([data & 15, data >> 4], axis=1).ravel().astype(int)
    codes = np.where(codes > 7, codes - 16, codes)
    layer = model.layers.conv1
    expected, scale = layer.weight_quantizer.codes(layer.weight)
    assert codes.tolist() == expected.flatten().tolist()
    assert tensors["layers.conv1.weight.scale"] == scale


def test_the_same_model_gives_the_same_bytes_in_every_process(packed):
    _, _, path = packed()
    script = (
        "import hashlib, sys; from repro.export import load_packed, pack_model\n"
        f"packed = load_packed({str(path)!r})\n"
        "print(hashlib.sha256(pack_model(packed.model, packed.record)).hexdigest())"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(hashes) == 1
    model, record, _ = packed()
    assert hashlib.sha256(pack_model(model, record)).digest() == hashlib.sha256(path.read_bytes()).digest()


def test_codes_that_do_not_fit_and_weights_that_are_no_numbers_are_refused(built):
    model, record = built()
    layer = model.layers.conv2
    layer.weight_quantizer.bit_width = 3
    with pytest.raises(ExportError, match=r"layers.conv2: codes -\d to 7 do not fit 3 bits"):
        pack_model(model, record)
    layer.weight_quantizer.bit_width = 4
    layer.weight_quantizer.dequantize = lambda codes, scale: codes * scale * 2
    with pytest.raises(ExportError, match="absmax cannot be exported"):
        pack_model(model, record)
    layer.weight.data.fill_(float("nan"))
    with pytest.raises(ExportError, match=r"layers.conv2 holds weights that are no numbers"):
        pack_model(model, record)


def edit(path, change):
    """Rewrite a file with its metadata, or its tensors, changed, as a foreign program would."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata, tensors = json.loads(header["__metadata__"][METADATA_KEY]), load_file(path)
    change(metadata, tensors)
    if "stamp" in metadata:
        metadata["stamp"] = NO_STAMP
        path.write_bytes(stamped(save(tensors, {METADATA_KEY: json.dumps(metadata)})))
    else:
        save_file(tensors, path, {METADATA_KEY: json.dumps(metadata)})


DAMAGES = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a readable safetensors file"),
    "empty": (lambda path: path.write_bytes(b""), "not a readable safetensors file"),
    "absent": (lambda path: path.unlink(), "not a readable safetensors file"),
    "text": (lambda path: path.write_text("weights"), "not a readable safetensors file"),
    "foreign": (lambda path: save_file({"x": torch.zeros(2)}, path), "not one that `python -m repro export` wrote"),
    "one bit": (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x55"), "damaged"),
    "version": (lambda path: edit(path, lambda m, t: m.update(format_version=99)), "format version 99"),
    "spec": (lambda path: edit(path, lambda m, t: m["record"]["spec"].pop("model")), "spec.model: missing"),
    "record": (lambda path: edit(path, lambda m, t: m.pop("record")), "do not fit"),
    "classes": (lambda path: edit(path, lambda m, t: m["record"]["data"].update(classes=7)), "do not fit"),
    "width": (lambda path: edit(path, lambda m, t: m["record"]["spec"]["model"].update(width=0.25)), "do not fit"),
    "no layers": (lambda path: edit(path, lambda m, t: m.update(layers={})), "not those of the model"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_or_foreign_file_is_named_with_what_is_wrong(packed, name):
    _, _, path = packed()
    damage, message = DAMAGES[name]
    damage(path)
    with pytest.raises(ReproError, match=message) as raised:
        load_packed(path)
    assert str(path) in str(raised.value)


def test_mlflow_loads_a_logged_models_folder(packed, images, tmp_path):
    """The folder that `repro.tracking` logs, by MLflow's own loader."""
    from mlflow import pyfunc

    from repro.tracking.models import describe_model

    model, _, path = packed()
    describe_model("m-1", path.parent)
    logits = pyfunc.load_model(str(tmp_path)).predict(images.numpy())
    with torch.inference_mode():
        assert np.array_equal(logits, model(images).numpy())
