"""The records of passed endpoints: see `base.RelayedRecord`. They are alike but for their row in `endpoints`."""

from __future__ import annotations

from functools import partial

from weir_router.dialects.axes import Format
from weir_router.dialects.base import RelayedRecord
from weir_router.dialects.openai_chat import errors
from weir_router.dialects.passed import answers, request, upstream
from weir_router.dialects.passed.endpoints import ENDPOINTS


def _record(format: Format) -> RelayedRecord:
    endpoint = ENDPOINTS[format]
    return RelayedRecord(
        format=format,
        operation=endpoint.operation,
        title=endpoint.title,
        path=endpoint.route,
        key="authorization",
        request_id="x-request-id",
        look=request.look,
        read=partial(request.read, format, endpoint),
        error_body=errors.body,
        error_event=errors.event,
        question=endpoint.question,
        answer_headers=("x-request-id", "openai-processing-ms", "openai-version"),
        prepare=upstream.prepare,
        skim_whole=answers.skim_whole,
        read_whole=answers.read_whole,
        render_whole=answers.render_whole,
        failure=upstream.failure,
    )


PASSED = {format: _record(format) for format in ENDPOINTS}
