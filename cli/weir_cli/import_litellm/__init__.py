"""`weir import litellm`: a LiteLLM proxy config becomes manifests, with a list of what has no equivalent.

`convert` is pure; `command` reads, writes and prints. What is kept of the meaning is told in docs/import-litellm.md.
"""

from weir_cli.import_litellm.command import litellm
from weir_cli.import_litellm.convert import Imported, NotLiteLLM, convert
from weir_cli.import_litellm.findings import Finding

__all__ = ["Finding", "Imported", "NotLiteLLM", "convert", "litellm"]
