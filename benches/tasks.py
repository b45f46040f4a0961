#!/usr/bin/env python3
"""Utterance tasks on real speech: benches/tasks.py POLYMIX FOLDER, with the folders fsdd and librispeech-251 in $POLYMIX_SHARED/data

PoM beside multi-head attention, from scratch and after BEST-RQ pre-training, with three seeds: digits and speakers of
unseen takes (fsdd), verification of speakers that training has not heard (librispeech-251: every speaker has one excerpt,
which is cut into windows), and linear probes of the layers of both pre-trained encoders. What FOLDER has already is not
run again. Prints tables in Markdown.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean

MIXERS = ["pom", "regular-mha"]
SEEDS = [0, 1, 2]
STARTS = ["scratch", "BEST-RQ"]
PRETRAIN_STEPS, PRETRAIN_BATCH, STEPS, BATCH = 600, 8, 120, 16
WINDOW, TEST_SPEAKERS, VALID_SPEAKERS = 2.0, 51, 10


def called(polymix, arguments, output):
    """Runs the command; returns what it printed, if `output` is a pipe."""
    command = [polymix, *map(str, arguments)]
    print("+", " ".join(command), file=sys.stderr, flush=True)
    return subprocess.run(command, check=True, stdout=output, text=True).stdout


def run(polymix, done, *arguments):
    """Runs the command unless `done` exists."""
    if not done.exists():
        called(polymix, arguments, sys.stderr)


def judged(polymix, path, *arguments):
    """The JSON that an evaluation prints, kept in `path`."""
    if not path.exists():
        path.write_text(called(polymix, [*arguments, "--json"], subprocess.PIPE))
    return json.loads(path.read_text())


def cut_into_windows(source, folder):
    """Manifests of windows for training, validation and test, each of other speakers."""
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    lines.sort(key=lambda line: line["speaker"])
    test, valid = lines[:TEST_SPEAKERS], lines[TEST_SPEAKERS:][:VALID_SPEAKERS]
    sets = {"train": lines[TEST_SPEAKERS + VALID_SPEAKERS :], "valid": valid, "test": test}
    for name, chosen in sets.items():
        with (folder / f"windows-{name}.jsonl").open("w") as file:
            for line in chosen:
                audio = str((source.parent / line["audio_filepath"]).resolve())
                for k in range(int(line["duration"] / WINDOW)):
                    window = {"audio_filepath": audio, "offset": k * WINDOW, "duration": WINDOW}
                    file.write(json.dumps(window | {"speaker": line["speaker"]}) + "\n")


def spread(values, digits=1):
    return f"{mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def widest(intervals, digits=1):
    low, high = max(intervals, key=lambda interval: interval[1] - interval[0])
    return f"{low:.{digits}f} to {high:.{digits}f}"


def print_table(heads, rows):
    for row in [heads, ["---"] * len(heads), *rows]:
        print("| " + " | ".join(row) + " |")
    print()


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    polymix, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    data = Path(os.environ.get("POLYMIX_SHARED", "../shared")) / "data"
    fsdd = data / "fsdd"
    cut_into_windows(data / "librispeech-251" / "unlabelled.jsonl", folder)
    recipes = Path(__file__).resolve().parent.parent / "recipes"
    # (name, settings, the folder of the manifests for training, validation and test, what their names begin with)
    tasks = [
        ("digits", ["finetune.target=text"], fsdd, ""),
        ("speakers", ["finetune.target=speaker"], fsdd, ""),
        ("verification", ["finetune.task=verify", "finetune.target=speaker"], folder, "windows-"),
    ]
    for mixer in MIXERS:
        run(
            polymix, folder / f"pre-{mixer}" / "best", "pretrain", recipes / "fsdd.toml",
            "--data", data / "librispeech-251" / "unlabelled.jsonl", "--data", fsdd / "train.jsonl",
            "--set", f"model.mixer={mixer}", "--set", f"pretrain.steps={PRETRAIN_STEPS}",
            "--set", f"pretrain.data.batch_utterances={PRETRAIN_BATCH}",
            "--out", folder / f"pre-{mixer}",
        )
    rows = []
    for name, settings, place, prefix in tasks:
        for mixer in MIXERS:
            for start in STARTS:
                found = []
                for seed in SEEDS:
                    out = folder / f"{name}-{mixer}-{start}-{seed}"
                    arguments = ["finetune", recipes / "fsdd-digits.toml", "--seed", seed, "--out", out]
                    arguments += ["--data", place / f"{prefix}train.jsonl", "--valid", place / f"{prefix}valid.jsonl"]
                    settings_of_all = [f"model.mixer={mixer}", f"finetune.steps={STEPS}", "run.checkpoint_every=1000"]
                    settings_of_all += [f"finetune.data.batch_utterances={BATCH}", "run.validate_every=1000"]
                    for setting in settings + settings_of_all:
                        arguments += ["--set", setting]
                    if start != "scratch":
                        arguments += ["--init", folder / f"pre-{mixer}"]
                    run(polymix, out / "best", *arguments)
                    found.append(judged(polymix, folder / f"{out.name}.json", "evaluate", out, "--data", place / f"{prefix}test.jsonl"))
                rows.append((name, mixer, start, found))
    results = []
    for name, mixer, start, found in rows:
        if name == "verification":
            cells = [
                "EER " + spread([100 * one["eer"] for one in found]) + " %",
                widest([[100 * x for x in one["eer_ci"]] for one in found]),
                "minDCF " + spread([one["min_dcf"] for one in found], 3),
            ]
        else:
            cells = [
                "accuracy " + spread([100 * one["accuracy"] for one in found]) + " %",
                widest([[100 * x for x in one["accuracy_ci"]] for one in found]),
                "macro-F1 " + spread([100 * one["macro_f1"] for one in found]) + " %",
            ]
        results.append([name, mixer, start, *cells])
    spread_of = f"mean of {len(SEEDS)} seeds (least to most)"
    print_table(["task", "mixer", "start", spread_of, "widest 95 % interval of one", "macro-F1 or minDCF"], results)
    probes = []
    for target in ("text", "speaker"):
        for mixer in MIXERS:
            out = folder / f"probe-{mixer}-{target}"
            probe = judged(
                polymix, folder / f"{out.name}.json", "probe", folder / f"pre-{mixer}", "--data", fsdd / "train.jsonl",
                "--test", fsdd / "test.jsonl", "--target", target, "--out", out,
            )
            layers = [f"{100 * one['accuracy']:.1f} ({one['weight']:.2f})" for one in probe["layers"]]
            probes.append([target, mixer, *layers, f"{100 * probe['sum']['accuracy']:.1f}"])
    layers = [f"layer {k}" for k in range(len(probe["layers"]))]
    print_table(["probe of", "mixer", *layers, "weighted sum"], probes)


if __name__ == "__main__":
    main()
