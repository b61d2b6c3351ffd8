"""The format of OpenAI's Responses API (`POST /v1/responses`), which OpenAI and many compatible servers speak."""
