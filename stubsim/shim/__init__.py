"""shim: what it measures, what it trusts, and what it starts."""
