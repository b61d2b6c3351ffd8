"""The record of this format: see `base.ConversationRecord`."""

from __future__ import annotations

import msgspec

from weir_router.contract import Operation, WireFormat
from weir_router.dialects.axes import Format
from weir_router.dialects.base import ConversationRecord
from weir_router.dialects.openai_chat import models
from weir_router.dialects.openai_responses import answers, errors, request, understand, upstream, whole, write
from weir_router.dialects.openai_responses.counting import COUNTING
from weir_router.dialects.openai_responses.events import ResponseEvents
from weir_router.dialects.openai_responses.items import Items
from weir_router.dialects.openai_responses.stream import NORMAL_ENDS, ResponsesReader
from weir_router.dialects.wire.body import look_unnamed

RECORD = ConversationRecord(
    format=Format.OPENAI_RESPONSES,
    name=WireFormat.RESPONSES,
    operation=Operation.RESPONSES,
    title="OpenAI Responses",
    path="/v1/responses",
    turns="input",
    mark=None,
    key="authorization",
    request_id="x-request-id",
    look=look_unnamed,
    read=request.read,
    error_body=errors.body,
    error_event=errors.event,
    model=models.model,
    counting=COUNTING,
    listing=models.listing,
    question=b'{"model": "-", "input": "Hi", "max_output_tokens": 16}',
    answer_headers=("x-request-id", "openai-processing-ms", "openai-version"),
    prepare=upstream.prepare,
    reader=ResponsesReader,
    normal_ends=NORMAL_ENDS,
    renderer=upstream.renderer,
    skim_whole=whole.skim_whole,
    read_whole=whole.read_whole,
    render_whole=whole.render_whole,
    failure=upstream.failure,
    understand=understand.understand,
    fields=understand.FIELDS,
    write=write.write,
    table=write.TABLE,
    read_answer=answers.read_answer,
    write_answer=answers.write_answer,
    event_reader=ResponseEvents,
    needs_state=request.needs_state,
    event_writer=Items,
)

COMPACTING = msgspec.structs.replace(RECORD, path=RECORD.path + request.COMPACT, read=request.read_compact)
"""The same for callers that have a conversation made shorter. No other format can express it."""
