"""`weir import litellm`: a LiteLLM proxy config becomes manifests, with a list of settings that have no equivalent.

`convert` is pure; `command` reads, writes and prints. docs/import-litellm.md says how each setting is carried over.
"""

from weir_cli.import_litellm.command import litellm
from weir_cli.import_litellm.convert import Imported, NotLiteLLM, convert
from weir_cli.import_litellm.findings import Finding

__all__ = ["Finding", "Imported", "NotLiteLLM", "convert", "litellm"]
