"""What systemd-boot and systemd-stub have in common (systemd's src/boot and src/fundamental)."""
