#!/usr/bin/env python3
"""Record Erlang C from pyworkforce and Engset from fast-engset.

usage: queues.py FIXTURE_JSON

Needs PyPI `pyworkforce` and `fast_engset`. `planner/tests/queue_oracle.rs` replays the cases.
The first Erlang case is the one printed in pyworkforce's own documentation (10 Erlang, 14 positions).
"""

import json
import random
import sys
from importlib.metadata import version

import fast_engset
from pyworkforce.queuing import ErlangC

draw = random.Random(20261123)
erlang = []
for servers, load in [(14, 10.0), (1, 0.5), (2, 1.5), (100, 90.0)] + [
    (n := draw.randrange(1, 160), n * draw.uniform(0.3, 0.99)) for _ in range(60)
]:
    queue = ErlangC(transactions=load, asa=0.25, aht=1, interval=1, shrinkage=0)
    erlang.append({
        "servers": servers,
        "load": load,
        "waiting_probability": queue.waiting_probability(servers),
        # Share answered within a quarter of the mean service time.
        "service_level": queue.service_level(servers),
    })
engset = []
while len(engset) < 60:
    users = draw.randrange(2, 120)
    servers = draw.randrange(1, users)
    offered = draw.uniform(0.05, 0.9) * users
    blocked = fast_engset.blocking_prob(servers, users, offered, tol=1e-14)
    if blocked.status != fast_engset.Status.OK or not 1e-12 < blocked.value < 0.999:
        continue
    # fast-engset is given the offered load; an idle user's load follows from it and the blocking it found.
    per_user = offered / users
    idle = per_user / (1 - per_user * (1 - blocked.value))
    engset.append({"users": users, "servers": servers, "load_per_idle_user": idle, "blocking": blocked.value})
versions = {name: version(name) for name in ("pyworkforce", "fast_engset")}
json.dump({"versions": versions, "erlang": erlang, "engset": engset}, open(sys.argv[1], "w"), indent=1)
