#include "efirun.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool started;

void print_hex(FILE *out, const char *key, const void *data, size_t size, const char *behind) {
    static const char digits[] = "0123456789abcdef";
    fprintf(out, "\"%s\": \"", key);
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = ((const uint8_t *) data)[i];
        putc_unlocked(digits[byte >> 4], out);
        putc_unlocked(digits[byte & 15], out);
    }
    fprintf(out, "\"%s", behind);
}

_Noreturn void finish(const char *outcome, EFI_STATUS status) {
    if (!started)
        putchar('{');
    printf("\"outcome\": \"%s\", \"status\": %llu, ", outcome, (unsigned long long) status);
    variables_report(stdout);
    fputs(", ", stdout);
    measurements_report(stdout);
    fputs(", ", stdout);
    files_report(stdout);
    fputs(", ", stdout);
    console_report(stdout);
    puts("}");
    fflush(stdout);
    _exit(0);
}

/* As Linux asks for it: the size first, then the data. */
static void report_initrd(void) {
    EFI_GUID media = INITRD_MEDIA, load_file = LOAD_FILE2;
    EFI_DEVICE_PATH *path = path_append(NULL, PATH_MEDIA, 3, &media, sizeof media);
    EFI_HANDLE handle;
    size_t size = 0;
    if (boot_services.locate_device_path(&load_file, &path, &handle))
        return;
    EFI_LOAD_FILE2 *loader = handle_find(handle, &load_file);
    EFI_STATUS status = loader->load(loader, path, 0, &size, NULL);
    uint8_t *data = status == EFI_BUFFER_TOO_SMALL ? malloc(size + 1) : NULL;
    if (data)
        status = loader->load(loader, path, 0, &size, data);
    if (data && !status)
        print_hex(stdout, "initrd", data, size, ", ");
    else
        printf("\"initrd_status\": %llu, ", (unsigned long long) status);
}

/* By its own totalsize; of what has none, 256 bytes from its address. */
static void report_devicetree(void) {
    uint8_t *tree = table_find(DEVICETREE);
    if (!tree)
        return;
    uint32_t magic, total;
    memcpy(&magic, tree, 4);
    memcpy(&total, tree + 4, 4);
    total = __builtin_bswap32(total);
    if (magic == 0xedfe0dd0 && in_arena(tree + total))
        print_hex(stdout, "devicetree", tree, total, ", ");
    else
        print_hex(stdout, "devicetree_window", tree, 256, ", ");
}

static uint64_t setup_field(const uint8_t *setup, size_t low, size_t high) {
    uint32_t parts[2];
    memcpy(parts, setup + low, 4);
    memcpy(parts + 1, setup + high, 4);
    return parts[0] | (uint64_t) parts[1] << 32;
}

/* The boot protocol of Linux on x86 (Documentation/arch/x86/boot.rst). */
static void report_setup(const uint8_t *setup) {
    const char *line = (const char *) setup_field(setup, 0x228, 0xc8);
    const void *initrd = (const void *) setup_field(setup, 0x218, 0xc0);
    if (line)
        print_hex(stdout, "setup_cmdline", line, strlen(line), ", ");
    if (initrd)
        print_hex(stdout, "initrd", initrd, setup_field(setup, 0x21c, 0xc4), ", ");
}

_Noreturn void kernel_started(EFI_HANDLE image, const char *how, const void *setup) {
    EFI_LOADED_IMAGE *loaded = handle_find(image, &LOADED_IMAGE);
    printf("{\"kernel\": \"%s\", ", how);
    started = true;
    CHAR16 *file = loaded && loaded->path ? path_file(loaded->path) : NULL;
    if (file)
        print_hex(stdout, "started_path", file, 2 * length16(file), ", ");
    if (loaded && loaded->options_size && loaded->options)
        print_hex(stdout, "load_options", loaded->options, loaded->options_size, ", ");
    if (setup)
        report_setup(setup);
    else
        report_initrd();
    report_devicetree();
    finish("kernel-started", 0);
}
