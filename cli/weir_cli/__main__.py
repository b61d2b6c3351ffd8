"""`python -m weir_cli` is `weir`."""

from weir_cli.main import main

main()
