"""systemd-boot: from a partition and an entry to what it hands to the image that it starts (systemd's boot.c)."""
