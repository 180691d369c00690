#include "efirun.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Node {
    struct Node *parent, *next, *first;
    CHAR16 name[256];
    uint8_t *data;
    size_t size;
    bool folder, changed;
} Node;

typedef struct {
    EFI_FILE protocol;
    Node *node, *entry; /* entry: the next one that reading a folder gives */
    size_t position;
    bool writable;
    int dots; /* "." and "..", which FAT gives first */
} Open;

EFI_HANDLE partition;

/* The file system of a partition. */
typedef struct {
    EFI_FILE_SYSTEM protocol;
    Node root;
} Volume;

static Volume esp, xbootldr;

static size_t to_utf16(const char *from, CHAR16 *to, size_t room) {
    size_t n = 0;
    for (const uint8_t *c = (const void *) from; *c && n + 2 < room;) {
        uint32_t value = *c++;
        int more = value >= 0xf0 ? 3 : value >= 0xe0 ? 2 : value >= 0xc0 ? 1 : 0;
        value &= more ? 0x3f >> more : 0x7f;
        for (; more && (*c & 0xc0) == 0x80; more--)
            value = value << 6 | (*c++ & 0x3f);
        if (value >= 0x10000) {
            to[n++] = 0xd7c0 + (value >> 10);
            value = 0xdc00 | (value & 0x3ff);
        }
        to[n++] = value;
    }
    to[n] = 0;
    return n;
}

static Node *add(Node *parent, bool folder) {
    Node *node = calloc(1, sizeof *node), **last = &parent->first;
    while (*last)
        last = &(*last)->next;
    node->parent = parent;
    node->folder = folder;
    return *last = node;
}

static int by_name(const struct dirent **one, const struct dirent **other) {
    return strcmp((*one)->d_name, (*other)->d_name);
}

/* In an order of its own, not in that of the host's file system. */
static void read_folder(Node *parent, const char *path) {
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, by_name);
    for (int i = 0; i < n; i++) {
        const struct dirent *entry = entries[i];
        char inner[4096];
        struct stat status;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (stat(inner, &status))
            continue;
        Node *node = add(parent, S_ISDIR(status.st_mode));
        to_utf16(entry->d_name, node->name, N_ELEMENTS(node->name));
        if (node->folder) {
            read_folder(node, inner);
            continue;
        }
        FILE *file = fopen(inner, "rb");
        node->data = malloc(status.st_size + 1);
        node->size = file ? fread(node->data, 1, status.st_size, file) : 0;
        if (file)
            fclose(file);
    }
}

static CHAR16 upper(CHAR16 c) {
    bool latin = c >= 0xe0 && c <= 0xfe && c != 0xf7;
    return (c >= 'a' && c <= 'z') || latin ? c - 0x20 : c;
}

static bool same_name(const CHAR16 *one, const CHAR16 *other, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (upper(one[i]) != upper(other[i]))
            return false;
    return !one[size];
}

/* The node at a path; where the last part is missing, *folder is where it would be, *name and *size what it is. */
static Node *find(Node *from, const CHAR16 *path, Node **folder, const CHAR16 **name, size_t *size) {
    Node *node = from;
    while (*path == '\\' && node->parent)
        node = node->parent;
    *folder = NULL;
    while (*path) {
        size_t n = 0;
        while (path[n] && path[n] != '\\')
            n++;
        if (n == 2 && path[0] == '.' && path[1] == '.')
            node = node->parent ? node->parent : node;
        else if (n && !(n == 1 && *path == '.')) {
            Node *child = node->first;
            while (child && !same_name(child->name, path, n))
                child = child->next;
            if (!child) {
                if (!path[n])
                    *folder = node;
                *name = path;
                *size = n;
                return NULL;
            }
            node = child;
        }
        path += n + (path[n] == '\\');
    }
    return node;
}

bool file_content(EFI_HANDLE device, const CHAR16 *path, Bytes *content) {
    Node *folder;
    const CHAR16 *name;
    size_t size;
    Volume *volume = handle_find(device, &FILE_SYSTEM);
    Node *node = volume ? find(&volume->root, path, &folder, &name, &size) : NULL;
    if (!node || node->folder)
        return false;
    *content = (Bytes) {node->data, node->size, true};
    return true;
}

static EFI_FILE protocol;

static EFI_STATUS open_node(Node *node, EFI_FILE **opened, bool writable) {
    Open *file = pool(sizeof *file);
    *file = (Open) {protocol, node, node->first, 0, writable, node->folder && node->parent ? 2 : 0};
    *opened = &file->protocol;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI file_open(EFI_FILE *this, EFI_FILE **opened, CHAR16 *path, uint64_t mode, uint64_t attributes) {
    Open *file = (Open *) this;
    Node *folder;
    const CHAR16 *name;
    size_t size;
    if (!path || !opened)
        return EFI_INVALID_PARAMETER;
    Node *node = find(file->node, path, &folder, &name, &size);
    if (node) {
        if (mode & FILE_CREATE && node->folder != !!(attributes & FILE_DIRECTORY))
            return EFI_INVALID_PARAMETER;
        return open_node(node, opened, mode & FILE_WRITE);
    }
    if (!folder || !folder->folder || !(mode & FILE_CREATE) || size >= N_ELEMENTS(node->name))
        return EFI_NOT_FOUND;
    node = add(folder, attributes & FILE_DIRECTORY);
    memcpy(node->name, name, 2 * size);
    node->changed = true;
    return open_node(node, opened, true);
}

static EFI_STATUS EFIAPI file_close(EFI_FILE *this) {
    (void) this;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI file_delete(EFI_FILE *this) {
    (void) this;
    return EFI_UNSUPPORTED;
}

static EFI_STATUS info(const Node *node, const CHAR16 *name, size_t *size, void *buffer) {
    size_t length = length16(name), needed = sizeof(EFI_FILE_INFO) + 2 * length + 2, room = *size;
    *size = needed;
    if (room < needed)
        return EFI_BUFFER_TOO_SMALL;
    EFI_FILE_INFO *row = buffer;
    memset(row, 0, needed);
    row->size = needed;
    row->file_size = row->physical_size = node->size;
    row->attributes = node->folder ? FILE_DIRECTORY : FILE_ARCHIVE;
    memcpy(row->name, name, 2 * length + 2);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI file_read(EFI_FILE *this, size_t *size, void *buffer) {
    Open *file = (Open *) this;
    if (!file->node->folder) {
        size_t left = file->position < file->node->size ? file->node->size - file->position : 0;
        *size = *size < left ? *size : left;
        if (*size)
            memcpy(buffer, file->node->data + file->position, *size);
        file->position += *size;
        return EFI_SUCCESS;
    }
    EFI_STATUS status;
    if (file->dots) {
        status = info(file->node, file->dots == 2 ? u"." : u"..", size, buffer);
        file->dots -= !status;
        return status;
    }
    if (!file->entry) {
        *size = 0;
        return EFI_SUCCESS;
    }
    status = info(file->entry, file->entry->name, size, buffer);
    if (!status)
        file->entry = file->entry->next;
    return status;
}

static EFI_STATUS EFIAPI file_write(EFI_FILE *this, size_t *size, void *buffer) {
    Open *file = (Open *) this;
    if (file->node->folder)
        return EFI_UNSUPPORTED;
    if (!file->writable)
        return EFI_ACCESS_DENIED;
    size_t end = file->position + *size;
    if (end > file->node->size) {
        file->node->data = realloc(file->node->data, end);
        file->node->size = end;
    }
    memcpy(file->node->data + file->position, buffer, *size);
    file->position = end;
    file->node->changed = true;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_position(EFI_FILE *this, uint64_t *position) {
    *position = ((Open *) this)->position;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set_position(EFI_FILE *this, uint64_t position) {
    Open *file = (Open *) this;
    if (file->node->folder) {
        if (position)
            return EFI_UNSUPPORTED;
        file->entry = file->node->first;
        file->dots = file->node->parent ? 2 : 0;
    }
    file->position = position == UINT64_MAX ? file->node->size : position;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_info(EFI_FILE *this, EFI_GUID *kind, size_t *size, void *buffer) {
    Open *file = (Open *) this;
    if (guid_equal(kind, &FILE_INFO_ID))
        return info(file->node, file->node->name, size, buffer);
    if (!guid_equal(kind, &FILE_SYSTEM_INFO_ID))
        return EFI_UNSUPPORTED;
    EFI_FILE_SYSTEM_INFO row = {sizeof row, 0, 24 << 20, 20 << 20, 512, u""};
    size_t room = *size;
    *size = sizeof row;
    if (room < sizeof row)
        return EFI_BUFFER_TOO_SMALL;
    memcpy(buffer, &row, sizeof row);
    return EFI_SUCCESS;
}

static EFI_STATUS rename_node(Node *node, const CHAR16 *name) {
    size_t size = length16(name);
    Node *other = node->parent ? node->parent->first : NULL;
    while (other && (other == node || !same_name(other->name, name, size)))
        other = other->next;
    if (!node->parent || other || size >= N_ELEMENTS(node->name))
        return EFI_ACCESS_DENIED;
    memcpy(node->name, name, 2 * size + 2);
    return EFI_SUCCESS;
}

/* The name and the size of a file are changed, and never both. */
static EFI_STATUS EFIAPI set_info(EFI_FILE *this, EFI_GUID *kind, size_t size, void *buffer) {
    Open *file = (Open *) this;
    EFI_FILE_INFO *row = buffer;
    if (!guid_equal(kind, &FILE_INFO_ID) || size < sizeof *row)
        return EFI_UNSUPPORTED;
    if (row->file_size != file->node->size) {
        file->node->data = realloc(file->node->data, row->file_size + 1);
        if (row->file_size > file->node->size)
            memset(file->node->data + file->node->size, 0, row->file_size - file->node->size);
        file->node->size = row->file_size;
        file->node->changed = true;
    }
    size_t length = length16(row->name);
    if (length && memcmp(row->name, file->node->name, 2 * length + 2))
        return rename_node(file->node, row->name);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI file_flush(EFI_FILE *this) {
    (void) this;
    return EFI_SUCCESS;
}

static EFI_FILE protocol = {
    0x10000, file_open, file_close, file_delete, file_read, file_write, get_position, set_position,
    get_info, set_info, file_flush,
};

static EFI_STATUS EFIAPI open_volume(EFI_FILE_SYSTEM *this, EFI_FILE **opened) {
    return open_node(&((Volume *) this)->root, opened, false);
}

static void add_volume(EFI_HANDLE handle, Volume *volume, const char *folder) {
    volume->protocol = (EFI_FILE_SYSTEM) {0x10000, open_volume};
    volume->root.folder = true;
    if (folder)
        read_folder(&volume->root, folder);
    handle_install(handle, FILE_SYSTEM, &volume->protocol);
}

static EFI_HANDLE add_partition(EFI_DEVICE_PATH *disk, uint32_t number, uint64_t start, uint64_t size, Bytes guid) {
    struct {
        uint32_t number;
        uint64_t start, size;
        uint8_t id[16], format, id_type;
    } __attribute__((packed)) drive = {number, start, size, {0}, 2, 2};
    memcpy(drive.id, guid.data, sizeof drive.id);
    EFI_HANDLE handle = handle_new();
    handle_install(handle, DEVICE_PATH, path_append(disk, PATH_MEDIA, 1, &drive, sizeof drive));
    return handle;
}

void files_init(void) {
    EFI_HANDLE disk = handle_new(), second = NULL;
    EFI_DEVICE_PATH *path = path_pci(1, 0);
    partition = disk;
    handle_install(disk, DEVICE_PATH, path);
    handle_install(disk, PCI_IO, pci_device(0x1af4, 0x1001));
    if (machine.partition.size == 16) {
        partition = add_partition(path, 1, PARTITION_START, PARTITION_SIZE, machine.partition);
        if (machine.xbootldr)
            second = add_partition(path, 2, XBOOTLDR_START, XBOOTLDR_SIZE, machine.xbootldr_partition);
        disk_init(disk, partition, second);
    }
    add_volume(partition, &esp, machine.esp);
    if (second)
        add_volume(second, &xbootldr, machine.xbootldr);
}

static void report(FILE *out, const Node *folder, const char *path, const char **comma) {
    for (const Node *node = folder->first; node; node = node->next) {
        char inner[4096];
        size_t n = snprintf(inner, sizeof inner, "%s%s", path, *path ? "/" : "");
        for (const CHAR16 *c = node->name; *c && n < sizeof inner - 1; c++)
            inner[n++] = *c < 0x80 && *c != '"' && *c != '\\' ? *c : '?';
        inner[n] = 0;
        if (node->folder)
            report(out, node, inner, comma);
        else if (node->changed) {
            fprintf(out, "%s\"%s\": {", *comma, inner);
            print_hex(out, "data", node->data, node->size, "}");
            *comma = ", ";
        }
    }
}

/* Files that are new or other than before, of the first partition; folders are not told. */
void files_report(FILE *out) {
    const char *comma = "";
    fputs("\"esp_changes\": {", out);
    report(out, &esp.root, "", &comma);
    fputs("}", out);
}
