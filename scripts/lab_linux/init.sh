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
        # QEMU 11 has what -kernel was given here, and Linux reads a file from its beginning for each page of it.
        [ "$(cat "$name/size")" -le 1048576 ] || continue
        mkdir -p "/seen/fw_cfg/${name%/*}"
        cat "$name/raw" >"/seen/fw_cfg/$name"
    done
)
[ ! -e /.extra ] || cp -a /.extra extra

# What the TPM makes a policy of PCR 11, before and after the phases that systemd-pcrphase would measure.
tpm() {
    # A command and its answer, in hexadecimal, by one open file and one write.
    exec 3<>/dev/tpm0
    printf "$(echo "$1" | sed 's/../\\x&/g')" >/command
    dd if=/command bs=4096 count=1 2>/dev/null >&3
    dd bs=4096 count=1 2>/dev/null <&3 | od -A n -t x1 -v | tr -d ' \n'
    exec 3>&-
}
# /phases: a word of systemd-pcrphase (or "none"), bank, TPM_ALG_ID, the word's hash in that bank
mkdir policies
while read -r phase bank algorithm hash; do
    [ -d "pcrs/$bank" ] || continue
    # TPM2_PCR_Extend of register 11, with a password that is empty
    size=$(printf %08x $((33 + ${#hash} / 2)))
    [ "$phase" = none ] ||
        tpm "8002${size}000001820000000b0000000940000009000000000000000001$algorithm$hash" >/dev/null
    # TPM2_StartAuthSession (policy, SHA-256), TPM2_PolicyPCR, TPM2_PolicyGetDigest, TPM2_FlushContext
    answer=$(tpm 80010000002b000001764000000740000007001000112233445566778899aabbccddeeff0000010010000b)
    session=$(echo "$answer" | cut -c 21-28)
    tpm "80010000001a0000017f${session}000000000001${algorithm}03000800" >/dev/null
    tpm "80010000000e00000189$session" | cut -c 25- >"policies/$phase.$bank"
    tpm "80010000000e00000165$session" >/dev/null
done </phases

stty -F /dev/ttyS0 raw
{
    echo
    echo 'BEGIN SEEN'
    tar -c . | gzip | base64
    echo 'END SEEN'
} >/dev/ttyS0
poweroff -f
