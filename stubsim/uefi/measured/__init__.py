"""What the firmware itself measures: a module an event source."""
