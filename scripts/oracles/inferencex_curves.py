#!/usr/bin/env python3
"""Reduce the InferenceX points to latency against concurrency, one configuration after the other.

usage: inferencex_curves.py inferencex_silicon_points.csv FIXTURE_CSV

Nothing is left out but the disaggregated rows, whose concurrency is not one number, and the configurations measured at fewer
than four concurrencies. A configuration is everything the file says of a row but its batch size, its date and its figures; the
concurrency is the batch size times the attention's data parallelism. `planner/tests/curves.rs` leaves points out of it.
"""

import csv
import sys

rows = list(csv.DictReader(open(sys.argv[1])))
varies = {"id", "silicon_data_source", "batch_size", "prefill_batch_size", "decode_batch_size", "silicon_ttft_ms", "silicon_tpot_ms"}
configurations = {}
for row in rows:
    if row["mode"] == "agg":
        key = tuple(value for name, value in row.items() if name not in varies)
        concurrency = int(row["batch_size"]) * int(row["attention_dp_size"] or 1)
        point = (concurrency, row["osl"], row["silicon_ttft_ms"], row["silicon_tpot_ms"])
        configurations.setdefault(key, []).append(point)
with open(sys.argv[2], "w", newline="") as out:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["configuration", "concurrency", "output_tokens", "ttft_ms", "tpot_ms"])
    kept = [points for points in configurations.values() if len({point[0] for point in points}) >= 4]
    for number, points in enumerate(kept):
        for point in points:
            writer.writerow([number, *point])
