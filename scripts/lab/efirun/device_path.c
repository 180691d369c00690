#include "efirun.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const EFI_DEVICE_PATH *next(const EFI_DEVICE_PATH *node) {
    return (const void *) ((const uint8_t *) node + (node->length < 4 ? 4 : node->length));
}

/* With its end node, in bytes. */
size_t path_size(const EFI_DEVICE_PATH *path) {
    const EFI_DEVICE_PATH *node = path;
    while (node->type != PATH_END)
        node = next(node);
    return (const uint8_t *) node - (const uint8_t *) path + sizeof *node;
}

/* A copy of the path (NULL: an empty one) with one more node. */
EFI_DEVICE_PATH *path_append(EFI_DEVICE_PATH *path, uint8_t type, uint8_t subtype, const void *data, size_t size) {
    size_t before = path ? path_size(path) - sizeof *path : 0;
    uint8_t *new = pool(before + size + 2 * sizeof *path);
    if (path)
        memcpy(new, path, before);
    EFI_DEVICE_PATH node = {type, subtype, sizeof node + size}, end = {PATH_END, 0xff, sizeof end};
    memcpy(new + before, &node, sizeof node);
    memcpy(new + before + sizeof node, data, size);
    memcpy(new + before + node.length, &end, sizeof end);
    return (void *) new;
}

EFI_DEVICE_PATH *path_pci(uint8_t device, uint8_t function) {
    uint32_t root[2] = {0x0a0341d0, 0};
    return path_append(path_append(NULL, PATH_ACPI, 1, root, 8), PATH_HARDWARE, 1, (uint8_t[]) {function, device}, 2);
}

/* The names of the file path nodes, joined as FAT's driver takes them; NULL without any. */
CHAR16 *path_file(const EFI_DEVICE_PATH *path) {
    CHAR16 *text = pool(path_size(path) + 2);
    size_t n = 0;
    bool any = false;
    for (; path->type != PATH_END; path = next(path)) {
        if (path->type != PATH_MEDIA || path->subtype != 4)
            continue;
        any = true;
        const CHAR16 *name = (const void *) (path + 1);
        if (n && text[n - 1] != '\\' && *name != '\\')
            text[n++] = '\\';
        for (size_t i = 0; i < (path->length - sizeof *path) / 2 && name[i]; i++)
            text[n++] = name[i];
    }
    text[n] = 0;
    return any ? text : NULL;
}

static size_t add(CHAR16 *to, size_t n, const char *form, ...) {
    char text[128];
    va_list arguments;
    va_start(arguments, form);
    vsnprintf(text, sizeof text, form, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++)
        to[n++] = *c;
    return n;
}

/* Nodes as EDK II writes them, for those that there are here. */
static CHAR16 *EFIAPI path_to_text(const EFI_DEVICE_PATH *path, uint8_t display, uint8_t shortcuts) {
    (void) display, (void) shortcuts;
    if (!path)
        return NULL;
    CHAR16 *text = pool(2 * path_size(path) + 512);
    size_t n = 0;
    for (; path->type != PATH_END; path = next(path)) {
        const uint8_t *data = (const void *) (path + 1);
        if (n)
            text[n++] = '/';
        if (path->type == PATH_MEDIA && path->subtype == 4) {
            const CHAR16 *name = (const void *) data;
            for (size_t i = 0; i < (path->length - sizeof *path) / 2 && name[i]; i++)
                text[n++] = name[i];
        } else if (path->type == PATH_HARDWARE && path->subtype == 1)
            n = add(text, n, "Pci(0x%X,0x%X)", data[1], data[0]);
        else if (path->type == PATH_ACPI && path->subtype == 1) {
            uint32_t id[2];
            memcpy(id, data, sizeof id);
            n = add(text, n, "%s(0x%X)", id[0] == 0x050141d0 ? "Serial" : "PciRoot", id[1]);
        } else if (path->type == PATH_ACPI && path->subtype == 3)
            n = add(text, n, "AcpiAdr(0x%X)", *(uint32_t *) data);
        else if (path->type == PATH_MESSAGING && path->subtype == 14)
            n = add(text, n, "Uart(115200,8,N,1)");
        else if (path->type == PATH_MESSAGING && path->subtype == 10) {
            EFI_GUID g;
            memcpy(&g, data, sizeof g);
            n = add(text, n, "VenMsg(%08X-%04X-%04X-%02X%02X-%02X%02X%02X%02X%02X%02X)", g.a, g.b, g.c, g.d[0], g.d[1],
                    g.d[2], g.d[3], g.d[4], g.d[5], g.d[6], g.d[7]);
        } else
            n = add(text, n, "Path(%u,%u)", path->type, path->subtype);
    }
    text[n] = 0;
    return text;
}

static CHAR16 *EFIAPI node_to_text(const EFI_DEVICE_PATH *node, uint8_t display, uint8_t shortcuts) {
    return path_to_text(path_append(NULL, node->type, node->subtype, node + 1, node->length - sizeof *node), display,
                        shortcuts);
}

void device_path_init(void) {
    static void *protocol[] = {node_to_text, path_to_text};
    handle_install(handle_new(), PATH_TO_TEXT, protocol);
}
