/* Run a stub's own code: the machine and the start on standard input, what came of it as JSON on standard output.
 *
 * The code runs in this process, so it gets no file, no socket and no other process: everything is read before. */
#define _GNU_SOURCE
#include "efirun.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

Machine machine = {.cpu = "kvm", .revision = 0x10000, .uefi_revision = 0x20046};
EFI_SYSTEM_TABLE system_table = {.header = {0x5453595320494249, 0x20046, sizeof(EFI_SYSTEM_TABLE), 0, 0}};

void load_stub(void);

static uint8_t digit(char c) {
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static Bytes hex(const char *text) {
    size_t size = strlen(text) / 2;
    Bytes bytes = {pool(size + 2), size, true};
    for (size_t i = 0; i < size; i++)
        bytes.data[i] = digit(text[2 * i]) << 4 | digit(text[2 * i + 1]);
    memset(bytes.data + size, 0, 2);
    return bytes;
}

/* The next word of a line, an empty one at its end. */
static char *word(char **rest) {
    char *found = strsep(rest, " ");
    return found ? found : "";
}

static uint64_t integer(char **rest) {
    return strtoull(word(rest), NULL, 0);
}

static void read_variable(char *rest) {
    uint32_t attributes = integer(&rest);
    EFI_GUID guid;
    memcpy(&guid, hex(word(&rest)).data, sizeof guid);
    CHAR16 *name = (CHAR16 *) hex(word(&rest)).data;
    variable_add(name, guid, attributes, hex(word(&rest)), false);
}

static void read_arguments(char *rest) {
    machine.shell = true;
    machine.n_arguments = integer(&rest);
    machine.arguments = pool((machine.n_arguments + 1) * sizeof *machine.arguments);
    for (size_t i = 0; i < machine.n_arguments; i++)
        machine.arguments[i] = (CHAR16 *) hex(word(&rest)).data;
}

static void read_fixup(char *rest) {
    const char *what = word(&rest);
    machine.fixup = true;
    if (!strcmp(what, "error"))
        machine.fix.error = integer(&rest);
    else if (!strcmp(what, "needs"))
        machine.fix.needs = integer(&rest);
    else if (!strcmp(what, "first-call-only"))
        machine.fix.first_only = true;
    else if (!strcmp(what, "append"))
        machine.fix.append = hex(word(&rest));
    else if (!strcmp(what, "fill")) {
        machine.fix.fill = true;
        machine.fix.fill_byte = integer(&rest);
    } else if (!strcmp(what, "patch")) {
        Patch *patch = pool(sizeof *patch);
        patch->next = machine.fix.patches;
        patch->offset = integer(&rest);
        patch->data = hex(word(&rest));
        machine.fix.patches = patch;
    }
}

static const struct {
    const char *key;
    Bytes *bytes;
} byte_keys[] = {
    {"path", &machine.path}, {"partition", &machine.partition}, {"load-options", &machine.load_options},
    {"smbios", &machine.smbios}, {"smbios-entry", &machine.smbios_entry}, {"edid", &machine.edid},
    {"devicetree", &machine.devicetree}, {"initrd", &machine.initrd}, {"vendor", &machine.vendor},
    {"keyboard", &machine.keyboard}, {"xbootldr-partition", &machine.xbootldr_partition},
};

static void read_line(char *line) {
    char *rest = line;
    const char *key = word(&rest);
    for (size_t i = 0; i < N_ELEMENTS(byte_keys); i++)
        if (!strcmp(key, byte_keys[i].key)) {
            *byte_keys[i].bytes = hex(word(&rest));
            return;
        }
    if (!strcmp(key, "uki"))
        machine.uki = strdup(rest);
    else if (!strcmp(key, "esp"))
        machine.esp = strdup(rest);
    else if (!strcmp(key, "xbootldr"))
        machine.xbootldr = strdup(rest);
    else if (!strcmp(key, "cpu"))
        machine.cpu = strdup(rest);
    else if (!strcmp(key, "arguments"))
        read_arguments(rest);
    else if (!strcmp(key, "variable"))
        read_variable(rest);
    else if (!strcmp(key, "fixup"))
        read_fixup(rest ? rest : "");
    else if (!strcmp(key, "banks")) {
        machine.tpm = true;
        machine.banks = integer(&rest);
    } else if (!strcmp(key, "serial")) {
        if (machine.n_serial < N_ELEMENTS(machine.serial))
            machine.serial[machine.n_serial++] = integer(&rest);
    } else if (!strcmp(key, "virtio"))
        machine.n_virtio = integer(&rest);
    else if (!strcmp(key, "graphics"))
        machine.graphics = true;
    else if (!strcmp(key, "rng"))
        machine.rng = true;
    else if (!strcmp(key, "secure-boot"))
        machine.secure_boot = true;
    else if (!strcmp(key, "revision"))
        machine.revision = integer(&rest);
    else if (!strcmp(key, "uefi-revision"))
        machine.uefi_revision = integer(&rest);
    else {
        fprintf(stderr, "efirun: unknown key %s\n", key);
        exit(2);
    }
}

static size_t EFIAPI raise_tpl(size_t level) {
    (void) level;
    return 4;
}

static void EFIAPI restore_tpl(size_t level) {
    (void) level;
}

static EFI_STATUS EFIAPI ok(void) {
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI unsupported(void) {
    return EFI_UNSUPPORTED;
}

static EFI_STATUS EFIAPI create_event(uint32_t type, size_t level, void *notify, void *context, void **event) {
    (void) type, (void) level, (void) notify, (void) context;
    *event = pool(16);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI create_event_ex(uint32_t type, size_t level, void *notify, void *context, EFI_GUID *group,
                                         void **event) {
    (void) group;
    return create_event(type, level, notify, context, event);
}

/* A failed assertion stalls by the minute, for ever; a message waits for some seconds. */
static EFI_STATUS EFIAPI stall(size_t microseconds) {
    if (microseconds >= 60000000)
        finish("halted", 0);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_monotonic_count(uint64_t *count) {
    static uint64_t next;
    *count = ++next;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI calculate_crc32(void *data, size_t size, uint32_t *sum) {
    if (!data || !size || !sum)
        return EFI_INVALID_PARAMETER;
    *sum = crc32(data, size);
    return EFI_SUCCESS;
}

static void services_init(void) {
    boot_services.raise_tpl = raise_tpl;
    boot_services.restore_tpl = restore_tpl;
    boot_services.stall = stall;
    boot_services.create_event = create_event;
    boot_services.create_event_ex = create_event_ex;
    boot_services.set_timer = (void *) ok;
    boot_services.signal_event = (void *) ok;
    boot_services.close_event = (void *) ok;
    boot_services.register_notify = (void *) unsupported;
    boot_services.set_watchdog = (void *) ok;
    boot_services.connect_controller = (void *) ok;
    boot_services.disconnect_controller = (void *) ok;
    boot_services.crc32 = calculate_crc32;
    boot_services.get_monotonic_count = get_monotonic_count;
    system_table.boot = &boot_services;
    system_table.runtime = &runtime_services;
    system_table.revision = machine.revision;
    system_table.header.revision = machine.uefi_revision;
    system_table.vendor = machine.vendor.given ? (CHAR16 *) machine.vendor.data : u"EDK II";
}

/* Where the system has them; qemu-user knows no seccomp filters. */
static void lock_up(void) {
    static const unsigned char allowed[] = {
        SYS_write, SYS_mprotect, SYS_mmap, SYS_munmap, SYS_brk, SYS_rt_sigreturn, SYS_exit, SYS_exit_group,
        SYS_mremap,
    };
    struct sock_filter filter[2 * N_ELEMENTS(allowed) + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    size_t n = 1;
    for (size_t i = 0; i < N_ELEMENTS(allowed); i++) {
        filter[n++] = (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
        filter[n++] = (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    filter[n++] = (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {n, filter};
    struct rlimit none = {0, 0}, seconds = {10, 10};
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_CPU, &seconds);
    setrlimit(RLIMIT_NPROC, &none);
    (void) unshare(CLONE_NEWNET | CLONE_NEWIPC);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    fflush(stdout);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(void) {
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    memory_init();
    while ((n = getline(&line, &room, stdin)) > 0) {
        line[n - (line[n - 1] == '\n')] = 0;
        read_line(line);
    }
    services_init();
    handles_init();
    device_path_init();
    variables_init();
    tables_init();
    measure_init();
    devices_init();
    files_init();
    images_init();
    processor_init();
    load_stub();
    lock_up();
    run_stub();
}
