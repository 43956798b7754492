"""Every experiment that runs by default at the scale, in order (later ones share what earlier left); then the report."""

from repro.config import Plan, load_config
from repro.live import Demands, begin_workflow, find_records, restore_records, was_stopped, workflow_command

PLAN = begin_workflow(Plan(load_config("config.yaml", overrides=config)), workflow)
RECORDS = [str(run.record_path()) for run in PLAN.default_runs]
DEMANDS = Demands(PLAN, workflow)
PAGE, CAPTIONS, SYNCED = "report/index.html", "profiles/report", f"results/.mlflow-{PLAN.scale.name}.txt"
shell.prefix(f'set -euo pipefail; repro() {{{{ {workflow_command(workflow.is_main_process)} "$@"; }}}}; ')


wildcard_constraints:
    scale=PLAN.scale.name,
    seed=r"\d+",
    spec="|".join({run.spec_hash for run in PLAN}),


rule all:
    input:
        [*RECORDS, PAGE, SYNCED],


# A run's identity is in its path: an edited setting retrains, a touched file never. Input: another run's weights.
rule train:
    input:
        ancient(lambda job: PLAN.weights_before(PLAN.run(job.experiment, int(job.seed)))),
    output:
        "results/{scale}/{experiment}/seed{seed}-{spec}/record.json",
    log:
        "logs/{scale}/{experiment}/seed{seed}-{spec}.log",
    priority: DEMANDS.priority
    group:
        DEMANDS.group
    conda:
        "profiles/environment.yaml"
    threads: DEMANDS.threads
    resources:
        **DEMANDS.resources,
    params:
        command="train {experiment} --scale {scale} --seed {seed} --expect-spec {spec}",
    shell:
        "repro {params.command} >> {log} 2>&1"


# Where weights are gone. `update`, for Snakemake deletes other outputs first: here what training has just written.
use rule train as weights with:
    input:
        ancient(rules.train.output),
    output:
        update("results/{scale}/{experiment}/seed{seed}-{spec}/weights.pt"),
    log:
        "logs/{scale}/{experiment}/seed{seed}-{spec}-weights.log",
    params:
        command="weights {experiment} --scale {scale} --seed {seed} --expect-spec {spec}",


# All records on disk, not only those of this scale: committed evidence stands beside what this machine ran.
rule report:
    input:
        ["config.yaml", *sorted({*RECORDS, *map(str, find_records())})],
    output:
        report(PAGE, category="page", caption=f"{CAPTIONS}/page.rst"),
        report(directory("report/figures"), patterns=["{name}.svg"], category="figures", caption=f"{CAPTIONS}/svg.rst"),
        report(directory("report/tables"), patterns=["{name}.csv"], category="tables", caption=f"{CAPTIONS}/csv.rst"),
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


for target, runs in PLAN.targets.items():

    rule:
        name:
            target
        input:
            [str(run.record_path()) for run in runs],


# A failed run leaves the report's inputs incomplete; it is then built from what there is. Not after Ctrl-C.
onerror:
    restore_records(PLAN)
    if not was_stopped(log):
        shell("repro report > logs/report.log 2>&1")
