#!/bin/busybox sh
# The first program of the guest: it tells what the machine is and what was done on it, as one archive on the serial
# port, and switches the machine off. The kernel's command line needs retain_initrd.
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin /proc /sys /dev /seen/pcrs /seen/fw_cfg /seen/variables
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t securityfs securityfs /sys/kernel/security
for module in /modules/*.ko; do insmod "$module"; done
mount -t efivarfs efivarfs /sys/firmware/efi/efivars

cd /seen
cat /proc/cmdline >cmdline
uname -r >kernel
dmesg >dmesg
cat /sys/kernel/security/tpm0/binary_bios_measurements >eventlog.bin
sha256sum </sys/firmware/initrd | cut -d' ' -f1 >initrd.sha256
stat -c %s /sys/firmware/initrd >initrd.size
cat /sys/firmware/dmi/tables/DMI >DMI
cat /sys/firmware/dmi/tables/smbios_entry_point >smbios_entry_point
for bank in /sys/class/tpm/tpm0/pcr-*; do
    mkdir "pcrs/${bank##*/pcr-}"
    for pcr in "$bank"/*; do cat "$pcr" >"pcrs/${bank##*/pcr-}/${pcr##*/}"; done
done
for variable in /sys/firmware/efi/efivars/*; do cat "$variable" >"variables/${variable##*/}"; done
(
    cd /sys/firmware/qemu_fw_cfg/by_name
    find . -type l | while read -r name; do
        mkdir -p "/seen/fw_cfg/${name%/*}"
        cat "$name/raw" >"/seen/fw_cfg/$name"
    done
)
[ ! -e /.extra ] || cp -a /.extra extra

stty -F /dev/ttyS0 raw
{
    echo
    echo 'BEGIN SEEN'
    tar -c . | gzip | base64
    echo 'END SEEN'
} >/dev/ttyS0
poweroff -f
