"""Clients for embeddings in Python, run as `python embed.py CLIENT JOB`; a job is JSON with `url`, `key` and `model`.

Each embeds two texts and a question as its own documentation says, and prints the vectors as one line of JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

TEXTS = ["A lantern fish lives in the dark.", "A weir holds the water back."]
QUESTION = "Who holds the water?"


def openai_sdk(job: Any) -> list[list[float]]:
    """The SDK, which asks for base64 by itself."""
    import openai

    client = openai.OpenAI(base_url=job["url"] + "/v1", api_key=job["key"])
    found = client.embeddings.create(model=job["model"], input=[*TEXTS, QUESTION])
    return [it.embedding for it in found.data]


def langchain(job: Any) -> list[list[float]]:
    """LangChain, without its count of tokens, for which it downloads a file of OpenAI's."""
    from langchain_openai import OpenAIEmbeddings

    model = OpenAIEmbeddings(
        base_url=job["url"] + "/v1", api_key=job["key"], model=job["model"], check_embedding_ctx_length=False
    )
    return [*model.embed_documents(TEXTS), model.embed_query(QUESTION)]


CLIENTS = {"openai": openai_sdk, "langchain": langchain}

if __name__ == "__main__":
    print(json.dumps(CLIENTS[sys.argv[1]](json.loads(sys.argv[2]))))
