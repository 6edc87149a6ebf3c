#!/usr/bin/env python3
"""Record what the OpenAI SDK's own stream decoder and types make of each stream fixture.

usage: openai_sse.py FIXTURES_DIR EXPECTED_JSONL

Needs PyPI `openai` (3.54.0 wrote the file). `bench/src/target/http/fixtures.rs` replays the streams through our parser.
"""

import json
import sys
from pathlib import Path

from openai._streaming import SSEDecoder
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

root = Path(sys.argv[1])


def parts(content):
    """Visible text of a content that may be a list of typed parts, and the reasoning among them."""
    if content is None or isinstance(content, str):
        return content or "", ""
    visible, thinking = "", ""
    for part in content:
        if part.get("type") == "thinking":
            thinking += "".join(inner.get("text", "") for inner in part["thinking"])
        else:
            visible += part.get("text", "")
    return visible, thinking


with open(sys.argv[2], "w") as out:
    for path in sorted(root.rglob("*.sse")) + sorted(root.rglob("*.chunks.txt")):
        raw = path.read_bytes()
        if path.name.endswith(".chunks.txt"):
            raw = b"".join(b"data: " + line + b"\n\n" for line in raw.splitlines() if line.strip())
        row = {"file": str(path.relative_to(root)), "events": 0, "done": False, "error": False, "text": "", "reasoning": "",
               "tool_arguments": "", "finish_reason": None, "usage": None}
        for event in SSEDecoder().iter_bytes(iter([raw])):
            if not event.data.strip():
                continue
            row["events"] += 1
            if event.data.startswith("[DONE]"):
                row["done"] = True
                break
            data = json.loads(event.data)
            if event.event == "error" or data.get("error"):
                row["error"] = True
                break
            kind = Completion if any("text" in choice for choice in data.get("choices") or []) else ChatCompletionChunk
            chunk = kind.construct(**data)
            usage = chunk.usage or getattr(chunk, "x_groq", None) and chunk.x_groq.get("usage")
            if usage:
                usage = usage if isinstance(usage, dict) else usage.to_dict()
                row["usage"] = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
            for choice in chunk.choices or []:
                row["finish_reason"] = getattr(choice, "finish_reason", None) or row["finish_reason"]
                if (getattr(choice, "index", 0) or 0) != 0:
                    continue
                if kind is Completion:
                    row["text"] += choice.text or ""
                    continue
                delta = choice.delta
                visible, thinking = parts(getattr(delta, "content", None))
                row["text"] += visible + (getattr(delta, "refusal", None) or "")
                row["reasoning"] += getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None) or ""
                row["reasoning"] += thinking
                for call in getattr(delta, "tool_calls", None) or []:
                    function = call.function if hasattr(call, "function") else call.get("function")
                    arguments = function.arguments if hasattr(function, "arguments") else (function or {}).get("arguments")
                    row["tool_arguments"] += arguments or ""
        out.write(json.dumps(row, ensure_ascii=False) + "\n")
