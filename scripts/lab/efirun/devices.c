#include "efirun.h"

#include <stdlib.h>
#include <string.h>

static CHAR16 *console;
static size_t console_size, console_room;

static EFI_STATUS EFIAPI output_string(EFI_TEXT_OUTPUT *this, CHAR16 *text) {
    (void) this;
    size_t n = length16(text);
    if (n > 1 << 20)
        return EFI_UNSUPPORTED;
    if (console_size + n > console_room) {
        console_room = 2 * (console_size + n);
        console = realloc(console, console_room * sizeof *console);
    }
    memcpy(console + console_size, text, 2 * n);
    console_size += n;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI output_ok(void) {
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI query_mode(EFI_TEXT_OUTPUT *this, size_t mode, size_t *columns, size_t *rows) {
    (void) this, (void) mode;
    *columns = 80;
    *rows = 25;
    return EFI_SUCCESS;
}

static EFI_TEXT_OUTPUT output;

void console_report(FILE *out) {
    print_hex(out, "console", console, 2 * console_size, "");
}

static bool enter_pressed;

typedef struct {
    uint16_t scan;
    CHAR16 character;
} Key;

static EFI_STATUS EFIAPI read_key(void *this, Key *key) {
    (void) this;
    if (!enter_pressed)
        return EFI_NOT_READY;
    enter_pressed = false;
    *key = (Key) {0, '\r'};
    return EFI_SUCCESS;
}

static void *input[] = {output_ok, read_key, NULL};

/* Time passes at once: the timer, which is the first event, is always what comes. Who goes on waiting nonetheless, as a
 * boot loader's menu does, gets an Enter, and is given up soon after. */
static EFI_STATUS EFIAPI wait_for_event(size_t n, void **events, size_t *index) {
    enum { PATIENCE = 3000 };
    static int waits;
    (void) events;
    if (++waits > PATIENCE + 1000)
        finish("hung", 0);
    enter_pressed = waits > PATIENCE && n > 1;
    *index = enter_pressed;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI check_event(void *event) {
    (void) event;
    return enter_pressed ? EFI_SUCCESS : EFI_NOT_READY;
}

/* A serial port as EDK II's SioBusDxe and TerminalDxe show it; the port's number is Serial()'s. */
static EFI_DEVICE_PATH *path_serial(uint32_t port) {
    static const uint32_t ports[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    static const EFI_GUID ansi = {0xe0c14753, 0xf9be, 0x11d2, {0x9a, 0x0c, 0, 0x90, 0x27, 0x3f, 0xc1, 0x4d}};
    uint32_t id[2] = {0x050141d0, 0};
    uint8_t uart[15] = {0, 0, 0, 0, 0, 0xc2, 1, 0, 0, 0, 0, 0, 8, 1, 1};
    while (id[1] < N_ELEMENTS(ports) && ports[id[1]] != port)
        id[1]++;
    EFI_DEVICE_PATH *path = path_append(path_pci(0x1f, 0), PATH_ACPI, 1, id, sizeof id);
    path = path_append(path, PATH_MESSAGING, 14, uart, sizeof uart);
    return path_append(path, PATH_MESSAGING, 10, &ansi, sizeof ansi);
}

typedef struct {
    void *functions[16];
    uint32_t id;
} Pci;

static EFI_STATUS EFIAPI pci_read(Pci *this, int width, uint32_t offset, size_t n, void *buffer) {
    uint8_t registers[64] = {0};
    size_t size = n << (width & 3);
    memcpy(registers, &this->id, sizeof this->id);
    if (offset + size > sizeof registers)
        memset(buffer, 0, size);
    else
        memcpy(buffer, registers + offset, size);
    return EFI_SUCCESS;
}

void *pci_device(uint16_t vendor, uint16_t id) {
    Pci *pci = pool(sizeof *pci);
    memset(pci, 0, sizeof *pci);
    pci->functions[6] = pci_read;
    pci->id = vendor | (uint32_t) id << 16;
    return pci;
}

static void add_pci(uint8_t device, uint16_t vendor, uint16_t id) {
    EFI_HANDLE handle = handle_new();
    handle_install(handle, DEVICE_PATH, path_pci(device, 0));
    handle_install(handle, PCI_IO, pci_device(vendor, id));
}

static struct {
    uint32_t version, width, height, format, masks[4], line;
} screen = {0, 1024, 768, 1, {0}, 1024};

static struct {
    uint32_t max, mode;
    void *info;
    size_t size;
    uint64_t frame_buffer, frame_buffer_size;
} graphics_mode = {1, 0, &screen, sizeof screen, 0x80000000, 0x300000};

static void *graphics[] = {output_ok, output_ok, output_ok, &graphics_mode};

static void add_graphics(void) {
    uint32_t address = 0x80010100;
    EFI_HANDLE handle = handle_new();
    add_pci(2, 0x1234, 0x1111);
    handle_install(handle, DEVICE_PATH, path_append(path_pci(2, 0), PATH_ACPI, 3, &address, sizeof address));
    handle_install(handle, GRAPHICS_OUTPUT, graphics);
    handle_install(handle, TEXT_OUTPUT, &output);
}

/* US keyboards are "en-US", then a blank and a text (UEFI 2.10, 33.3.8.4). */
static EFI_STATUS EFIAPI keyboard_layout(void *this, EFI_GUID *guid, uint16_t *size, uint8_t *layout) {
    (void) this, (void) guid;
    uint32_t strings = 23, needed = strings + 2 + machine.keyboard.size + 2 + 6;
    if (!machine.keyboard.given)
        return EFI_NOT_FOUND;
    uint16_t room = *size;
    *size = needed;
    if (room < needed)
        return EFI_BUFFER_TOO_SMALL;
    memset(layout, 0, needed);
    memcpy(layout, size, 2);
    memcpy(layout + 18, &strings, 4);
    layout[strings] = 1;
    memcpy(layout + strings + 2, machine.keyboard.data, machine.keyboard.size);
    memcpy(layout + strings + 2 + machine.keyboard.size, u" Any", 8);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI rng_info(void *this, size_t *size, void *list) {
    (void) this, (void) list;
    *size = 0;
    return EFI_SUCCESS;
}

/* A counter: what is drawn can be told from what is derived. */
static EFI_STATUS EFIAPI rng_get(void *this, EFI_GUID *algorithm, size_t size, uint8_t *buffer) {
    static uint8_t next = 1;
    (void) this, (void) algorithm;
    for (size_t i = 0; i < size; i++)
        buffer[i] = next++;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI load_previous(EFI_LOAD_FILE2 *this, EFI_DEVICE_PATH *path, uint8_t policy, size_t *size,
                                       void *buffer) {
    (void) this, (void) path;
    if (policy)
        return EFI_UNSUPPORTED;
    size_t room = *size;
    *size = machine.initrd.size;
    if (!buffer || room < *size)
        return EFI_BUFFER_TOO_SMALL;
    memcpy(buffer, machine.initrd.data, *size);
    return EFI_SUCCESS;
}

static void add_initrd(void) {
    static EFI_LOAD_FILE2 protocol = {load_previous};
    EFI_HANDLE handle = handle_new();
    EFI_GUID media = INITRD_MEDIA;
    handle_install(handle, DEVICE_PATH, path_append(NULL, PATH_MEDIA, 3, &media, sizeof media));
    handle_install(handle, LOAD_FILE2, &protocol);
}

static uint32_t tree_size(const uint8_t *tree, size_t room) {
    uint32_t magic, total;
    memcpy(&magic, tree, 4);
    memcpy(&total, tree + 4, 4);
    total = __builtin_bswap32(total);
    return magic == 0xedfe0dd0 && total < room ? total : room;
}

/* As a host file describes it: what it needs, then what it appends, fills and patches. */
static EFI_STATUS EFIAPI fix_up(void *this, uint8_t *tree, size_t *size, uint32_t flags) {
    static unsigned calls;
    (void) this, (void) flags;
    if (machine.fix.error)
        return machine.fix.error;
    size_t end = tree_size(tree, *size), changed = end + machine.fix.append.size, needed = changed;
    for (Patch *p = machine.fix.patches; p; p = p->next)
        if (p->offset + p->data.size > needed)
            needed = p->offset + p->data.size;
    if (machine.fix.needs > needed && !(machine.fix.first_only && calls))
        needed = machine.fix.needs;
    calls++;
    if (*size < needed) {
        *size = needed;
        return EFI_BUFFER_TOO_SMALL;
    }
    if (machine.fix.append.size)
        memcpy(tree + end, machine.fix.append.data, machine.fix.append.size);
    if (machine.fix.fill && changed < *size) {
        memset(tree + changed, machine.fix.fill_byte, *size - changed);
        changed = *size;
    }
    if (changed != end)
        *(uint32_t *) (tree + 4) = __builtin_bswap32(changed);
    for (Patch *p = machine.fix.patches; p; p = p->next)
        memcpy(tree + p->offset, p->data.data, p->data.size);
    return EFI_SUCCESS;
}

void devices_init(void) {
    boot_services.wait_for_event = wait_for_event;
    boot_services.check_event = (void *) check_event;
    static struct {
        int32_t max_mode, mode, attribute, column, row;
        uint8_t visible;
    } mode = {1, 0, 7, 0, 0, 0};
    static void *hii[11] = {[8] = keyboard_layout}, *rng[] = {rng_info, rng_get};
    static struct {
        uint64_t revision;
        void *fix_up;
    } fixup = {0x10000, fix_up};
    static struct {
        uint32_t size;
        uint8_t *data;
    } edid;

    output = (EFI_TEXT_OUTPUT) {(void *) output_ok, output_string, output_string, query_mode, (void *) output_ok,
                                (void *) output_ok, (void *) output_ok, (void *) output_ok, (void *) output_ok,
                                (void *) &mode};
    /* The splitter's handles have no device path. */
    system_table.output_handle = handle_new();
    system_table.input_handle = handle_new();
    system_table.error_handle = handle_new();
    handle_install(system_table.output_handle, TEXT_OUTPUT, &output);
    handle_install(system_table.error_handle, TEXT_OUTPUT, &output);
    handle_install(system_table.input_handle, TEXT_INPUT, input);
    system_table.output = system_table.error = &output;
    system_table.input = input;

    add_pci(0, 0x8086, 0x29c0);
    if (machine.graphics)
        add_graphics();
    for (uint32_t i = 0; i < machine.n_serial; i++) {
        EFI_HANDLE handle = handle_new();
        handle_install(handle, DEVICE_PATH, path_serial(machine.serial[i]));
        handle_install(handle, TEXT_OUTPUT, &output);
    }
    for (uint32_t i = 0; i < machine.n_virtio; i++)
        add_pci(8 + i, 0x1af4, 0x1003);
    if (machine.edid.given) {
        edid.size = machine.edid.size;
        edid.data = machine.edid.data;
        handle_install(handle_new(), EDID_DISCOVERED, &edid);
    }
    handle_install(handle_new(), HII_DATABASE, hii);
    if (machine.rng)
        handle_install(handle_new(), RNG, rng);
    if (machine.fixup)
        handle_install(handle_new(), DT_FIXUP, &fixup);
    if (machine.initrd.given)
        add_initrd();
}
