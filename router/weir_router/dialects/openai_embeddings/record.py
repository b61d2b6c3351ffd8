"""The record of this format: see `base.FormatRecord`."""

from __future__ import annotations

from weir_router.contract import Operation
from weir_router.dialects.axes import Format
from weir_router.dialects.base import FormatRecord
from weir_router.dialects.openai_chat import errors
from weir_router.dialects.openai_embeddings import answers, request, upstream

RECORD = FormatRecord(
    format=Format.OPENAI_EMBEDDINGS,
    operation=Operation.EMBEDDINGS,
    title="OpenAI Embeddings",
    path="/v1/embeddings",
    key="authorization",
    request_id="x-request-id",
    look=request.look,
    read=request.read,
    error_body=errors.body,
    question=b'{"model": "-", "input": "Hi"}',
    answer_headers=("x-request-id", "openai-processing-ms", "openai-version"),
    prepare=upstream.prepare,
    skim_whole=answers.skim_whole,
    read_whole=answers.read_whole,
    render_whole=answers.render_whole,
    failure=upstream.failure,
)
