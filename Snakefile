"""Every experiment of the configured scale, then MLflow and the report."""

import shlex
import sys

from repro.config import Plan, load_config
from repro.records import find_records
from repro.records.environment import available_cores, has_gpu

CONFIG = load_config("config.yaml", overrides=config)
PLAN = Plan(CONFIG)
RECORDS = [str(run.record_path()) for run in PLAN]
PAGE = "report/index.html"
SYNCED = f"results/.mlflow-{PLAN.scale.name}.txt"
PYTHON = shlex.quote(sys.executable)
shell.prefix(f'set -euo pipefail; repro() {{{{ {PYTHON} -m repro "$@"; }}}}; ')


# Records of other scales, and stale ones, are plain files that no rule makes again.
wildcard_constraints:
    scale=PLAN.scale.name,
    seed=r"\d+",
    spec="|".join({run.spec_hash for run in PLAN}),


def slots(wildcards):
    """Slots of --cores that a training takes: --cores beyond the machine's would only slow each other."""
    oversubscription = -(-(workflow.cores or 1) // available_cores())
    return CONFIG.scales[wildcards.scale].torch_threads * oversubscription


rule all:
    input:
        RECORDS,
        PAGE,
        SYNCED,


# No file input: a run's identity is in its path; a touched source file retrains nothing, an edited setting does.
rule train:
    output:
        "results/{scale}/{experiment}/seed{seed}-{spec}/record.json",
    log:
        "logs/{scale}/{experiment}/seed{seed}-{spec}.log",
    conda:
        "profiles/environment.yaml"
    threads: slots
    resources:
        gpu=int(has_gpu()),
    shell:
        "repro train {wildcards.experiment} --scale {wildcards.scale} --seed {wildcards.seed}"
        " --expect-spec {wildcards.spec} >> {log} 2>&1"


# All records on disk, not only those of this scale: committed evidence stands beside what this machine ran.
rule report:
    input:
        "config.yaml",
        sorted({*RECORDS, *map(str, find_records())}),
    output:
        report(PAGE, category="page", caption="profiles/report/page.rst"),
        report(
            directory("report/figures"), patterns=["{name}.svg"], category="figures", caption="profiles/report/svg.rst"
        ),
        report(
            directory("report/tables"), patterns=["{name}.csv"], category="tables", caption="profiles/report/csv.rst"
        ),
    log:
        "logs/report.log",
    conda:
        "profiles/environment.yaml"
    shell:
        "repro report > {log} 2>&1"


rule track:
    input:
        RECORDS,
    output:
        SYNCED,
    log:
        "logs/track.log",
    conda:
        "profiles/environment.yaml"
    shell:
        "repro track --stamp {output} > {log} 2>&1"


for group in CONFIG.groups:

    rule:
        name:
            group
        input:
            [str(run.record_path()) for run in PLAN.group(group)],


# A failed run leaves the report's inputs incomplete; the report is then built from what there is.
onerror:
    shell("repro report")
