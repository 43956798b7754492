"""Nothing stays that nothing uses."""

import re
from pathlib import Path

from vulture import Vulture

PROJECT = Path(__file__).parents[1]
# Where names are used that Python's syntax does not show: registries, templates, the workflow and data files.
NAMED_IN = [
    "repro/config/registry.py",
    "Snakefile",
    "snakemake_logger_plugin_repro/files.py",
    "config.yaml",
    *(f"repro/**/*.{end}" for end in ("j2", "yaml")),
]
SET_FOR_OTHERS = {  # attributes of libraries' objects
    "allow_tf32", "benchmark", "fill_uninitialized_memory", "inter_op_num_threads", "intra_op_num_threads",
    "license", "log_severity_level", "maxdict", "maxlevel", "maxlist", "maxlong", "maxother", "maxset", "maxstring",
    "maxtuple", "optimized_model_filepath",
    # and what they call
    "_load_pyfunc", "closure",
}  # fmt: skip


def test_no_function_class_or_field_is_unused() -> None:
    """Whatever a text of the code names counts as used: columns and settings are read by their names."""
    vulture = Vulture()
    vulture.scavenge([str(PROJECT / name) for name in ("repro", "benchmarks", "tests")])
    other = "\n".join(path.read_text(encoding="utf-8") for pattern in NAMED_IN for path in PROJECT.glob(pattern))
    code = "\n".join(path.read_text(encoding="utf-8") for path in (PROJECT / "repro").rglob("*.py"))
    words = set(re.findall(r"\w+", other)) | set(re.findall(r"""["'](\w+)["']""", code))
    unused = [
        f"{Path(item.filename).relative_to(PROJECT)}:{item.first_lineno}: {item.typ} {item.name}"
        for item in vulture.get_unused_code(min_confidence=60)
        if item.name not in words | SET_FOR_OTHERS and not str(item.filename).startswith(str(PROJECT / "tests"))
    ]
    assert unused == []
