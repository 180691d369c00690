from __future__ import annotations

import pytest

from stubsim.formats import smbios
from stubsim.hosts.described import machine


@pytest.mark.parametrize(
    ("fields", "virtual"),
    [
        (smbios.Fields(manufacturer=b"QEMU"), True),
        (smbios.Fields(manufacturer=b"Google", product_name=b"Google Compute Engine"), True),
        (smbios.Fields(manufacturer=b"Amazon EC2", product_name=b"m5.2xlarge"), True),
        (smbios.Fields(manufacturer=b"Amazon EC2", product_name=b"m5.metal"), False),
        (smbios.Fields(manufacturer=b"VMware, Inc.", product_name=b"VMware20,1"), True),
        (smbios.Fields(manufacturer=b"Microsoft Corporation", product_name=b"Virtual Machine"), True),
        (smbios.Fields(manufacturer=b"Microsoft Corporation", product_name=b"Surface Laptop"), False),
        (smbios.Fields(manufacturer=b"Red Hat", product_name=b"KVM"), True),
        (smbios.Fields(manufacturer=b"LENOVO", product_name=b"20XW"), False),
        (smbios.Fields(), False),
    ],
)
def test_strings_of_hypervisors(fields: smbios.Fields, virtual: bool):
    """A confidential guest has the same strings as others, so that it may be one."""
    host = machine(fields, source="text")
    assert host.hypervisor is virtual
    assert ("confidential" in host.unknown) is virtual
