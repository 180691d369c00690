"""What the kernel and the hypervisor get, as files."""

from __future__ import annotations

from stubsim.extent import Bytes
from stubsim.result import Boot

Parts = list[Bytes]

NAMES = ("firmware", "kernel", "initrd", "cmdline", "devicetree")


def handed_over(boot: Boot) -> dict[str, Parts]:
    """File name -> content: firmware, kernel, initrd, cmdline (UTF-8, no newline), devicetree; what there is of them.

    An initrd with a part that cannot be told (a boot secret drawn at random) is left out.
    """
    files: dict[str, Parts] = {}
    prepared = boot.prepared
    if prepared is None:
        return files
    kernel, firmware = prepared.sections.data(".linux"), prepared.sections.efifw()
    if firmware is not None:
        files["firmware"] = [firmware.payload]
    if kernel is not None:
        files["kernel"] = [kernel]
    if prepared.initrd is not None and prepared.initrd.known:
        files["initrd"] = list(prepared.initrd.parts)
    if prepared.cmdline is not None:
        files["cmdline"] = [prepared.cmdline.encode("utf-8", "surrogatepass")]
    if prepared.devicetree is not None and prepared.devicetree.data is not None:
        files["devicetree"] = [prepared.devicetree.data]
    return files
