#!/usr/bin/env python3
"""Record optima of random purchases across hardware types from SciPy's `milp` (HiGHS).

usage: purchases.py FIXTURE_JSON

Needs PyPI `scipy`. `planner/tests/purchase_oracle.rs` replays the cases.
"""

import json
import random
import sys

import numpy as np
import scipy
from scipy.optimize import Bounds, LinearConstraint, milp

draw = random.Random(20261123)
cases = []
for number in range(50):
    kinds, hours = draw.randrange(1, 4), draw.randrange(1, 7)
    types = []
    for _ in range(kinds):
        capacity = draw.uniform(0.5, 8)
        hourly = capacity * draw.uniform(0.3, 1.2)
        always = hourly * draw.uniform(0.4, 0.9)
        which = draw.randrange(4)
        types.append({
            "capacity": capacity,
            "always": None if which == 0 else always,
            "hourly": None if which == 1 else hourly,
        })
    overflow = draw.choice([None, draw.uniform(0.0001, 0.0008)])
    if all(t["always"] is None and t["hourly"] is None for t in types):
        overflow = 0.0003
    demand = [draw.uniform(0, 20) for _ in range(hours)]
    # Columns: always by type, then for each hour hourly by type and the overflow. What is not on offer is held at 0.
    width = kinds + hours * (kinds + 1)
    cost, upper, whole = np.zeros(width), np.zeros(width), np.ones(width)
    rows = np.zeros((hours, width))
    for k, t in enumerate(types):
        cost[k], upper[k] = (t["always"] or 0) * hours, np.inf if t["always"] is not None else 0
        rows[:, k] = t["capacity"]
        for h in range(hours):
            at = kinds + h * (kinds + 1) + k
            cost[at], upper[at] = t["hourly"] or 0, np.inf if t["hourly"] is not None else 0
            rows[h, at] = t["capacity"]
    for h in range(hours):
        at = kinds + h * (kinds + 1) + kinds
        cost[at], upper[at], whole[at] = 3600 * (overflow or 0), np.inf if overflow is not None else 0, 0
        rows[h, at] = 1
    best = milp(cost, constraints=LinearConstraint(rows, demand, np.inf), bounds=Bounds(0, upper), integrality=whole,
                options={"mip_rel_gap": 0})
    assert best.success, best.message
    cases.append({"demand": demand, "types": types, "overflow_usd_per_request": overflow, "usd": float(best.fun)})
json.dump({"scipy": scipy.__version__, "cases": cases}, open(sys.argv[1], "w"), indent=1)
