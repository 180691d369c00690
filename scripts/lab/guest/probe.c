/* The kernel of the lab's UKIs: it writes what it was handed, a line each of "LAB", a key and values in hex, and
 * switches the machine off. x64: QEMU's debug console, port 0xE9; aa64: the first serial port of "virt". */
#include "guest.h"

static void put(char c) {
#ifdef __x86_64__
    __asm__ volatile("outb %b0, %w1" ::"a"(c), "Nd"((uint16_t) 0xe9));
#else
    volatile uint32_t *serial = (void *) 0x09000000;
    while (serial[6] & 0x20)
        ;
    serial[0] = c;
#endif
}

static void text(const char *s) {
    while (*s)
        put(*s++);
}

static void hex(const void *data, size_t size) {
    put(' ');
    for (const uint8_t *at = data; size--; at++) {
        put("0123456789abcdef"[*at >> 4]);
        put("0123456789abcdef"[*at & 15]);
    }
}

static void begin(const char *key) {
    text("\nLAB ");
    text(key);
}

static void line(const char *key, const void *data, size_t size) {
    begin(key);
    hex(data, size);
    put('\n');
}

static void status_line(const char *key, EFI_STATUS status) {
    line(key, &status, sizeof status);
}

static int same_guid(const EFI_GUID *one, const EFI_GUID *other) {
    const uint64_t *a = (const void *) one, *b = (const void *) other;
    return a[0] == b[0] && a[1] == b[1];
}

static void *table(EFI_SYSTEM_TABLE *system, EFI_GUID guid) {
    for (size_t i = 0; i < system->n_tables; i++)
        if (same_guid(&system->tables[i].guid, &guid))
            return system->tables[i].table;
    return 0;
}

static void *allocate(EFI_SYSTEM_TABLE *system, size_t size) {
    void *at = 0;
    return system->boot->allocate_pool(2, size + 16, &at) ? 0 : at;
}

static void load_options(EFI_HANDLE image, EFI_SYSTEM_TABLE *system) {
    EFI_GUID guid = LOADED_IMAGE;
    EFI_LOADED_IMAGE *loaded = 0;
    system->boot->handle_protocol(image, &guid, (void **) &loaded);
    if (loaded && loaded->options && loaded->options_size)
        line("load-options", loaded->options, loaded->options_size);
    if (loaded) {
        line("image-base", &loaded->base, sizeof loaded->base);
        line("image-size", &loaded->size, sizeof loaded->size);
    }
}

static void initrd(EFI_SYSTEM_TABLE *system) {
    struct {
        EFI_DEVICE_PATH vendor;
        EFI_GUID guid;
        EFI_DEVICE_PATH end;
    } __attribute__((packed)) media = {{PATH_MEDIA, 3, 20}, INITRD_MEDIA, {PATH_END, 0xff, 4}};
    EFI_GUID guid = LOAD_FILE2;
    EFI_DEVICE_PATH *path = &media.vendor;
    EFI_LOAD_FILE2 *loader = 0;
    EFI_HANDLE handle = 0;
    size_t size = 0;
    if (system->boot->locate_device_path(&guid, &path, &handle) ||
        system->boot->handle_protocol(handle, &guid, (void **) &loader))
        return;
    EFI_STATUS status = loader->load(loader, path, 0, &size, 0);
    void *data = status == EFI_BUFFER_TOO_SMALL ? allocate(system, size) : 0;
    if (data)
        status = loader->load(loader, path, 0, &size, data);
    if (!data || status)
        status_line("initrd-status", status);
    else
        line("initrd", data, size);
}

static void devicetree(EFI_SYSTEM_TABLE *system) {
    uint8_t *tree = table(system, DEVICETREE);
    if (!tree)
        return;
    uint32_t size = (uint32_t) tree[4] << 24 | tree[5] << 16 | tree[6] << 8 | tree[7];
    if (tree[0] == 0xd0 && tree[1] == 0x0d && tree[2] == 0xfe && tree[3] == 0xed && size < 0x1000000)
        line("devicetree", tree, size);
    else
        line("devicetree-window", tree, 256);
}

static void variables(EFI_SYSTEM_TABLE *system) {
    static const EFI_GUID loader = GUID(4a67b082, 0a4c, 41cf, 0xb6, 0xc7, 0x44, 0x0b, 0x29, 0xbb, 0x8c, 0x4f);
    CHAR16 *name = allocate(system, 4096);
    uint8_t *data = allocate(system, 65536);
    EFI_GUID guid = {0};
    name[0] = 0;
    for (;;) {
        size_t room = 4096, size = 65536;
        uint32_t attributes = 0;
        if (system->runtime->get_next_variable(&room, name, &guid))
            return;
        if (!same_guid(&guid, &loader) || system->runtime->get_variable(name, &guid, &attributes, &size, data))
            continue;
        begin("variable");
        hex(&attributes, sizeof attributes);
        hex(name, 2 * length16(name));
        hex(data, size);
        put('\n');
    }
}

typedef struct {
    EFI_STATUS (EFIAPI *capability)(void *, void *);
    EFI_STATUS (EFIAPI *log)(void *, uint32_t, uint64_t *, uint64_t *, uint8_t *);
    void *extend;
    EFI_STATUS (EFIAPI *submit)(void *, uint32_t, uint8_t *, uint32_t, uint8_t *);
    EFI_STATUS (EFIAPI *banks)(void *, uint32_t *);
} Tcg2;

/* TPM2_PCR_Read of one register of one bank; what follows the header of the answer is left to the reader. */
static void registers(Tcg2 *tpm, uint32_t banks) {
    static const uint8_t algorithms[] = {0x04, 0x0b, 0x0c, 0x0d};
    for (unsigned bank = 0; bank < 4; bank++) {
        for (unsigned pcr = 0; banks >> bank & 1 && pcr < 16; pcr++) {
            uint8_t command[20] = {0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, algorithms[bank], 3};
            uint8_t answer[128] = {0}, key[2] = {bank, pcr};
            command[17 + pcr / 8] = 1 << pcr % 8;
            if (tpm->submit(tpm, sizeof command, command, sizeof answer, answer))
                continue;
            begin("pcr");
            hex(key, sizeof key);
            hex(answer, sizeof answer);
            put('\n');
        }
    }
}

/* Entries have no length of their own: the last one is walked over with the digest sizes of the log's header. */
static size_t event_size(const uint8_t *event, int first) {
    uint32_t n, size;
    if (first) {
        copy(&size, event + 28, 4);
        return 32 + size;
    }
    copy(&n, event + 8, 4);
    size_t at = 12;
    for (uint32_t i = 0; i < n; i++) {
        uint16_t algorithm = event[at] | event[at + 1] << 8;
        at += 2 + (algorithm == 4 ? 20 : algorithm == 0x0c ? 48 : algorithm == 0x0d ? 64 : 32);
    }
    copy(&size, event + at, 4);
    return at + 4 + size;
}

static void measurements(EFI_SYSTEM_TABLE *system) {
    EFI_GUID guid = TCG2;
    Tcg2 *tpm = 0;
    uint64_t start = 0, last = 0;
    uint8_t cut = 0;
    uint32_t banks = 0;
    if (system->boot->locate_protocol(&guid, 0, (void **) &tpm))
        return;
    tpm->banks(tpm, &banks);
    line("banks", &banks, sizeof banks);
    if (!tpm->log(tpm, 2, &start, &last, &cut) && start)
        line("eventlog", (void *) start, last - start + event_size((void *) last, last == start));
    registers(tpm, banks);
}

static void smbios(EFI_SYSTEM_TABLE *system) {
    uint8_t *entry = table(system, SMBIOS3);
    uint64_t address = 0;
    uint32_t size = 0;
    if (entry) {
        copy(&size, entry + 12, 4);
        copy(&address, entry + 16, 8);
        line("smbios-entry", entry, entry[6]);
    } else if ((entry = table(system, SMBIOS2))) {
        copy(&size, entry + 22, 2);
        copy(&address, entry + 24, 4);
        line("smbios-entry", entry, entry[5]);
    } else
        return;
    /* An SMBIOS 3 entry point has the largest size only: up to the end of type 127. */
    const uint8_t *at = (void *) address, *end = at + size;
    while (at + 4 < end) {
        uint8_t type = at[0];
        for (at += at[1]; at + 1 < end && (at[0] || at[1]); at++)
            ;
        at += 2;
        if (type == 127)
            break;
    }
    line("smbios", (void *) address, at - (const uint8_t *) address);
}

EFI_STATUS EFIAPI entry(EFI_HANDLE image, EFI_SYSTEM_TABLE *system) {
    line("kernel", &system->header.revision, 4);
    line("vendor", system->vendor, 2 * length16(system->vendor));
    line("revision", &system->revision, 4);
    load_options(image, system);
    initrd(system);
    devicetree(system);
    variables(system);
    smbios(system);
    measurements(system);
    line("end", "", 0);
    system->runtime->reset_system(2, 0, 0, 0);
    for (;;)
        ;
}
