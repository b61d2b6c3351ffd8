"""An MCP server on stdin and stdout with one tool, whose name is as long as those of real plugins. For Claude Code."""

from __future__ import annotations

import json
import sys
from typing import Any

TOOL = "get_video_enhanced_transcript_with_speakers_and_chapters"

SCHEMA = {
    "type": "object",
    "properties": {"video": {"type": "string", "minLength": 1}, "depth": {"type": "integer", "minimum": 1}},
    "required": ["video"],
}


def answered(method: str, params: Any) -> Any:
    """The result of one request."""
    if method == "initialize":
        server = {"name": "videos", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": server}
    if method == "tools/list":
        return {"tools": [{"name": TOOL, "description": "Gives a transcript.", "inputSchema": SCHEMA}]}
    if method == "tools/call":
        return {
            "content": [{"type": "text", "text": f"transcript of {json.dumps(params['arguments'], sort_keys=True)}"}]
        }
    return {}


def main() -> None:
    """Answers request after request, until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            result = answered(request["method"], request.get("params"))
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main()
