#!/usr/bin/env python3
"""Write hardware/catalog/{compute_prices,api_prices}.csv from the collected price data.

usage: seed_catalogue.py PRICES_FOLDER CATALOG_FOLDER

PRICES_FOLDER holds gpu_cloud_prices.csv, managed_api_prices.csv and litellm_model_prices_1.109.1.json. Nothing is
invented: every figure is one of theirs, in the catalogue's units. managed_api_prices.csv chooses the models; their prices
come from the LiteLLM map it was derived from, which also has the rates above each tier, and must agree with it.
"""

import csv
import json
import re
import sys
from decimal import Decimal
from pathlib import Path

prices, catalog = Path(sys.argv[1]), Path(sys.argv[2])
LITELLM_DATASET = "LiteLLM model price map 1.109.1 (PyPI, MIT)"
LITELLM_READ = "2026-11-23"


def plain(number: Decimal) -> str:
    text = format(number.normalize(), "f")
    return "0" if text == "-0" else text


# --- machines by the hour -------------------------------------------------------------------------------------------
TERMS = {"on_demand": "on-demand", "spot": "spot", "spot_min": "spot", "spot_max": "spot", "capacity_block": "capacity-block"}
COMPUTE = ["provider", "region", "instance", "device", "sku", "device_memory_gb", "device_count", "term", "tier",
           "currency", "price_per_hour", "date", "source_url", "dataset"]
with open(prices / "gpu_cloud_prices.csv", newline="") as source, open(catalog / "compute_prices.csv", "w", newline="") as out:
    rows = []
    for row in csv.DictReader(source):
        date = row["as_of"].split(" ")[0]
        region, dataset, tier = row["region"], row["dataset"], row["tier"]
        if " (rates valid until " in row["as_of"]:
            dataset += "; rates valid until 2025-01-01"
        url = row["source_url"]
        if url.endswith(" (mirror)"):
            url, dataset = "https://" + url.removesuffix(" (mirror)"), dataset + " (a mirror)"
        if region == "per GPU":  # the unit of the price, not a place
            region = ""
        if row["price_kind"] in ("spot_min", "spot_max"):
            tier = row["price_kind"].replace("spot_", "") + " of availability zones"
        per_device, count = Decimal(row["usd_per_gpu_hour"]), int(row["gpu_count"])
        whole = Decimal(row["usd_per_instance_hour"]) if row["usd_per_instance_hour"] else per_device * count
        # The per-device figure of the data is the instance price divided and rounded to four decimals.
        assert abs(whole / count - per_device) <= Decimal("0.0051"), row
        rows.append({
            "provider": row["provider"], "region": region, "instance": row["instance"], "device": row["gpu"],
            "sku": row["model_or_sku"], "device_memory_gb": row["gpu_mem_gb"], "device_count": count,
            "term": TERMS[row["price_kind"]], "tier": tier, "currency": "USD", "price_per_hour": plain(whole),
            "date": date or "undated", "source_url": url, "dataset": dataset,
        })
    # Some providers list one thing at several prices and the source keeps no word on how they differ: each stays, numbered.
    # A row that is there twice to the last cell is one row.
    rows = [dict(cells) for cells in dict.fromkeys(tuple(row.items()) for row in rows)]
    listed: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        listed.setdefault(tuple(str(row[c]) for c in COMPUTE if c not in ("price_per_hour", "date", "source_url")), []).append(row)
    for group in listed.values():
        for number, row in enumerate(group, 1):
            if len(group) > 1:
                row["tier"] = f"{row['tier']}, listing {number} of {len(group)}"
    writer = csv.DictWriter(out, COMPUTE, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)

# --- managed APIs ---------------------------------------------------------------------------------------------------
KINDS = {
    "input_cost_per_token": "input_per_million_tokens", "output_cost_per_token": "output_per_million_tokens",
    "output_cost_per_reasoning_token": "reasoning_per_million_tokens",
    "cache_read_input_token_cost": "cached_read_per_million_tokens",
    "cache_creation_input_token_cost": "cache_write_per_million_tokens",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_per_million_tokens",
}
SERVICES = {"": "standard", "_batches": "batch", "_flex": "flex", "_priority": "priority"}
API = ["provider", "model", "service", "above_input_tokens", "currency", *KINDS.values(), "price_per_request",
       "price_per_tool_call", "max_input_tokens", "max_output_tokens", "deprecated_on", "date", "source_url", "dataset"]
MANAGED = {"input_usd_per_mtok": ("standard", 0, "input_per_million_tokens"),
           "output_usd_per_mtok": ("standard", 0, "output_per_million_tokens"),
           "cache_read_usd_per_mtok": ("standard", 0, "cached_read_per_million_tokens"),
           "cache_write_5m_usd_per_mtok": ("standard", 0, "cache_write_per_million_tokens"),
           "cache_write_1h_usd_per_mtok": ("standard", 0, "cache_write_1h_per_million_tokens"),
           "batch_input_usd_per_mtok": ("batch", 0, "input_per_million_tokens"),
           "batch_output_usd_per_mtok": ("batch", 0, "output_per_million_tokens"),
           "flex_input_usd_per_mtok": ("flex", 0, "input_per_million_tokens"),
           "priority_input_usd_per_mtok": ("priority", 0, "input_per_million_tokens"),
           "above_200k_input": ("standard", 200_000, "input_per_million_tokens"),
           "above_272k_input": ("standard", 272_000, "input_per_million_tokens")}
KEY = re.compile(rf"^({'|'.join(sorted(KINDS, key=len, reverse=True))})(?:_above_(\d+)k_tokens)?({'|'.join(SERVICES)})$")

litellm = json.loads((prices / "litellm_model_prices_1.109.1.json").read_text(), parse_float=Decimal, parse_int=Decimal)
with open(prices / "managed_api_prices.csv", newline="") as source, open(catalog / "api_prices.csv", "w", newline="") as out:
    writer = csv.DictWriter(out, API, lineterminator="\n")
    writer.writeheader()
    for row in csv.DictReader(source):
        entry, provider = litellm[row["model_key"]], row["provider"]
        steps: dict[tuple[str, int], dict[str, str]] = {("standard", 0): {}}
        for key, value in entry.items():
            if (match := KEY.match(key)) and isinstance(value, Decimal):
                threshold = int(match[2] or 0) * 1000
                if threshold and provider == "xai":
                    threshold -= 1  # xAI bills the tier from the threshold on, others above it
                steps.setdefault((SERVICES[match[3]], threshold), {})[KINDS[match[1]]] = plain(value * 1_000_000)
        for column, (service, threshold, kind) in MANAGED.items():
            if row[column]:
                if threshold and provider == "xai":
                    threshold -= 1
                found = steps[(service, threshold)][kind]
                assert abs(Decimal(found) - Decimal(row[column])) < Decimal("1e-6"), (row["model_key"], column, found, row[column])
        search = entry.get("search_context_cost_per_query") or {}
        tool_call = search.get("search_context_size_medium")
        whole = {
            "price_per_request": plain(entry["input_cost_per_request"]) if "input_cost_per_request" in entry else "",
            "price_per_tool_call": plain(tool_call) if tool_call is not None else "",
            "max_input_tokens": row["max_input_tokens"], "max_output_tokens": row["max_output_tokens"],
            "deprecated_on": row["deprecation_date"],
        }
        model = row["model_key"].removeprefix(provider + "/")
        for (service, threshold), rates in sorted(steps.items(), key=lambda s: (s[0] != ("standard", 0), s[0])):
            writer.writerow({
                "provider": provider, "model": model, "service": service, "above_input_tokens": threshold or "",
                "currency": "USD", **rates, **(whole if (service, threshold) == ("standard", 0) else {}),
                "date": LITELLM_READ, "source_url": row["price_source_url"], "dataset": LITELLM_DATASET,
            })
