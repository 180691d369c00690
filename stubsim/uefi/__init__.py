"""What UEFI does on the machine: where it puts images, what it lets through, variables, the partition."""
