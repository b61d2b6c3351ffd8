"""An application that sends requests and prints one JSON object per line. The scenarios run it in its pod.

Beside a sidecar it sets neither Weir's URL nor a key: the SDK reads both from its own environment variables.

ask.py one MODEL [PROMPT]              one request: where it went, and what came
ask.py steady MODEL SECONDS RETRIES    requests one after the other, by several workers; RETRIES are the SDK's
ask.py streams MODEL COUNT             streams that are open at the same time, each read to its end
ask.py models URL... -- MODEL          per gateway pod, the time at which it serves MODEL
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

import httpx2
from openai import APIError, AsyncOpenAI

WORKERS = 4
PROMPT = [{"role": "user", "content": "What is the capital of Portugal?"}]
TOKEN = Path("/var/run/secrets/weir/token")


async def key() -> str:
    """An API key if there is one, otherwise the pod's token, read afresh; beside a sidecar, a placeholder."""
    return os.environ.get("KEY") or os.environ.get("OPENAI_API_KEY") or TOKEN.read_text()  # noqa: ASYNC240 - small


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def one(client: AsyncOpenAI, model: str, *prompt: str) -> None:
    messages = [{"role": "user", "content": it} for it in prompt] or PROMPT
    try:
        answer = await client.chat.completions.with_raw_response.create(model=model, messages=messages)
    except APIError as error:
        say(status=getattr(error, "status_code", None), error=str(error))
        return
    way = {name.removeprefix("x-weir-"): value for name, value in answer.headers.items() if name.startswith("x-weir-")}
    say(status=answer.http_response.status_code, text=answer.parse().choices[0].message.content, **way)


async def steady(client: AsyncOpenAI, model: str, seconds: str, retries: str) -> None:
    client = client.with_options(max_retries=int(retries))
    end = time.monotonic() + float(seconds)
    outcomes: Counter[str] = Counter()
    slowest = 0.0

    async def work() -> None:
        nonlocal slowest
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                await client.chat.completions.create(model=model, messages=PROMPT)
                outcomes["ok"] += 1
            except APIError as error:
                outcomes[f"{type(error).__name__}: {error} ({error.__cause__!r})"] += 1
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.02)

    say(started=True)
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    say(outcomes=outcomes, slowest=round(slowest, 3))


async def streams(client: AsyncOpenAI, model: str, count: str) -> None:
    reached: Counter[str] = Counter()
    all_open = asyncio.Event()

    async def read() -> None:
        finish, chunks = None, 0
        try:
            async for chunk in await client.chat.completions.create(model=model, messages=PROMPT, stream=True):
                if not chunks:
                    reached["open"] += 1
                    if reached["open"] == int(count):
                        all_open.set()
                chunks += 1
                finish = (chunk.choices[0].finish_reason if chunk.choices else None) or finish
        except (APIError, httpx2.HTTPError) as error:
            reached[f"{type(error).__name__}: {error} after {chunks} chunks"] += 1
            all_open.set()
            return
        reached[f"finish: {finish}"] += 1

    readers = [asyncio.create_task(read()) for _ in range(int(count))]
    await all_open.wait()
    say(open=reached["open"])
    await asyncio.gather(*readers)
    say(reached=reached)


async def models(client: AsyncOpenAI, *arguments: str) -> None:
    urls, model = arguments[:-2], arguments[-1]
    async with httpx2.AsyncClient() as http:

        async def watch(url: str) -> float:
            while True:
                answer = await http.get(f"{url}/v1/models", headers={"authorization": f"Bearer {await key()}"})
                if any(it["id"] == model for it in answer.json().get("data", ())):
                    return time.time()
                await asyncio.sleep(0.02)

        watching = [asyncio.create_task(watch(url)) for url in urls]
        await asyncio.sleep(0.2)
        say(watching=len(urls))
        say(seen=dict(zip(urls, await asyncio.gather(*watching), strict=True)))


async def main(what: str, *arguments: str) -> None:
    url = os.environ.get("WEIR_URL")
    async with AsyncOpenAI(base_url=url, api_key=key) if url else AsyncOpenAI() as client:
        await {"one": one, "steady": steady, "streams": streams, "models": models}[what](client, *arguments)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
