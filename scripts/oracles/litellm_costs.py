#!/usr/bin/env python3
"""Record what LiteLLM's own cost function says for random (model, usage) pairs.

usage: litellm_costs.py MODEL_PRICES_JSON FIXTURE_JSON PRICES_FIXTURE_JSON

Needs PyPI `litellm` 1.109.1. Draws models at random (fixed seed) from the price map, usages at random, and writes the pairs
with LiteLLM's answer, together with the price entries of the drawn models. `hardware/tests/litellm_oracle.rs` replays them.
Run with LITELLM_LOCAL_MODEL_COST_MAP=True so that the map in the package is used and nothing is fetched.
"""

import json
import os
import random
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402
from litellm.cost_calculator import cost_per_token  # noqa: E402
from litellm.types.utils import (  # noqa: E402
    CacheCreationTokenDetails,
    CompletionTokensDetailsWrapper,
    PromptTokensDetailsWrapper,
    Usage,
)

PAIRS = 400
prices = json.load(open(sys.argv[1]))
assert all(litellm.model_cost[key] == entry for key, entry in prices.items() if key != "fallback_generalizations"), "not the package's map"
draw = random.Random(20261123)

MODES = ("chat", "responses", "completion", "embedding", "moderation")
usable = sorted(
    key for key, entry in prices.items()
    if entry.get("mode") in MODES and entry.get("litellm_provider")
    and (any(k.startswith(("input_cost_per_token", "output_cost_per_token")) for k in entry) or "tiered_pricing" in entry)
)
tiered = [key for key in usable if "tiered_pricing" in prices[key] or any("_above_" in k for k in prices[key])]
serviced = [key for key in usable if any(k.endswith(("_flex", "_priority", "_batches")) for k in prices[key])]
cached = [key for key in usable if "cache_creation_input_token_cost" in prices[key]]

pairs, failed = [], []
while len(pairs) < PAIRS:
    # A quarter each from all models, those with tiers, those with classes of service and those with cache writes: drawn from
    # all alike, most pairs would price two numbers.
    key = draw.choice(draw.choice([usable, tiered, serviced, cached]))
    entry = prices[key]
    scale = draw.choice([2_000, 40_000, 150_000, 300_000, 600_000])
    uncached, read = draw.randrange(1, scale), draw.choice([0, draw.randrange(scale)])
    write, write_1h = draw.choice([0, draw.randrange(scale)]), draw.choice([0, 0, draw.randrange(scale)])
    output, reasoning = draw.randrange(20_000), draw.choice([0, draw.randrange(20_000)])
    if entry["mode"] in ("embedding", "moderation"):
        read = write = write_1h = output = reasoning = 0
    services = ["standard"] + [
        name for name, suffix in (("batch", "_batches"), ("flex", "_flex"), ("priority", "_priority"))
        if f"input_cost_per_token{suffix}" in entry and f"output_cost_per_token{suffix}" in entry
    ]
    service = draw.choice(services)
    prompt = uncached + read + write + write_1h
    usage = Usage(
        prompt_tokens=prompt, completion_tokens=output + reasoning, total_tokens=prompt + output + reasoning,
        prompt_tokens_details=PromptTokensDetailsWrapper(
            cached_tokens=read, cache_creation_tokens=write + write_1h,
            cache_creation_token_details=CacheCreationTokenDetails(
                ephemeral_5m_input_tokens=write, ephemeral_1h_input_tokens=write_1h),
        ),
        completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=reasoning, text_tokens=output),
    )
    bare = key.removeprefix(entry["litellm_provider"] + "/")
    try:
        prompt_cost, completion_cost = cost_per_token(
            model=key, custom_llm_provider=entry["litellm_provider"], usage_object=usage,
            prompt_tokens=prompt, completion_tokens=output + reasoning,
            service_tier=service if service in ("flex", "priority") else None,
            call_type="retrieve_batch" if service == "batch" else "completion",
        )
    except Exception as error:  # a model that LiteLLM itself cannot price is drawn again
        failed.append((key, service, type(error).__name__, str(error)[:80]))
        continue
    pairs.append({
        "key": key, "provider": entry["litellm_provider"], "model": bare,
        "uncached_input_tokens": uncached, "cached_read_tokens": read, "cache_write_tokens": write,
        "cache_write_1h_tokens": write_1h, "output_tokens": output, "reasoning_tokens": reasoning, "service": service,
        "litellm_input_usd": prompt_cost, "litellm_output_usd": completion_cost,
    })

json.dump({"litellm": "1.109.1", "seed": 20261123, "pairs": pairs}, open(sys.argv[2], "w"), indent=1)
drawn = sorted({pair["key"] for pair in pairs})
json.dump({key: prices[key] for key in drawn}, open(sys.argv[3], "w"), indent=1)
print(f"{len(pairs)} pairs over {len(drawn)} models; not priced by LiteLLM: {len(failed)}", *failed[:10], sep="\n  ")
