#!/usr/bin/env python3
"""Record numpy-financial's annuities and net present values.

usage: numpy_financial_annuities.py FIXTURE_JSON

Needs PyPI `numpy-financial`. `hardware/src/finance.rs` replays the cases.
"""

import json
import random
import sys

import numpy_financial as npf

draw = random.Random(20261123)
annuities = []
for case in range(60):
    rate = 0.0 if case < 3 else draw.choice([1e-9, draw.uniform(0.0001, 0.001), draw.uniform(0.001, 0.05)])
    periods = draw.choice([1, 12, 36, 48, 60, draw.randrange(1, 240)])
    present = draw.uniform(1_000, 5_000_000)
    residual = draw.choice([0.0, present * draw.uniform(0, 0.5)])
    payment = float(npf.pmt(rate, periods, -present, residual))
    annuities.append({"rate_per_period": rate, "periods": periods, "present": present, "residual": residual, "payment": payment})
values = []
for _ in range(40):
    rate = draw.uniform(0, 0.3)
    flows = [draw.uniform(-1e6, 1e6) for _ in range(draw.randrange(1, 40))]
    values.append({"rate_per_period": rate, "flows": flows, "value": float(npf.npv(rate, flows))})
version = npf.__version__ if hasattr(npf, "__version__") else "1"
json.dump({"numpy_financial": version, "annuities": annuities, "npvs": values}, open(sys.argv[1], "w"), indent=1)
