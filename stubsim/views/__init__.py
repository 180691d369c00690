"""Values to terminal, JSON and files; no view is known to the boot."""
