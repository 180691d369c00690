"""Why a boot went as it did, what it measures, and how a real machine's log compares."""
