/* Starts a UKI from what QEMU cannot provide: reads \lab.bin, a row of (type, size, data), installs what it says, and
 * loads and starts the UKI. Types: see scripts/lab/virtual.py. */
#include "guest.h"

enum { UKI = 1, OPTIONS, VARIABLE, EDID, TREE, INITRD, FROM_MEMORY };

static EFI_SYSTEM_TABLE *st;

static void *allocate(int type, size_t size) {
    void *at = 0;
    st->boot->allocate_pool(type, size + 16, &at);
    return at;
}

static void *read_file(EFI_FILE *root, CHAR16 *name, size_t *size) {
    EFI_FILE *file = 0;
    EFI_GUID guid = FILE_INFO_ID;
    EFI_FILE_INFO *info = allocate(2, 1024);
    size_t room = 1024;
    if (root->open(root, &file, name, 1, 0) || file->get_info(file, &guid, &room, info))
        return 0;
    *size = info->file_size;
    void *data = allocate(2, *size);
    return file->read(file, size, data) ? 0 : data;
}

static struct {
    EFI_LOAD_FILE2 protocol;
    uint8_t *data;
    size_t size;
} previous;

static EFI_STATUS EFIAPI load_previous(EFI_LOAD_FILE2 *this, EFI_DEVICE_PATH *path, uint8_t policy, size_t *size,
                                       void *buffer) {
    size_t room = *size;
    (void) this, (void) path;
    if (policy)
        return EFI_UNSUPPORTED;
    *size = previous.size;
    if (!buffer || room < previous.size)
        return EFI_BUFFER_TOO_SMALL;
    copy(buffer, previous.data, previous.size);
    return EFI_SUCCESS;
}

static void install(EFI_GUID guid, void *interface) {
    EFI_HANDLE handle = 0;
    st->boot->install_protocol(&handle, &guid, 0, interface);
}

static void install_initrd(uint8_t *data, size_t size) {
    static struct {
        EFI_DEVICE_PATH vendor;
        EFI_GUID guid;
        EFI_DEVICE_PATH end;
    } __attribute__((packed)) media;
    EFI_HANDLE handle = 0;
    EFI_GUID path_guid = DEVICE_PATH, load_guid = LOAD_FILE2;
    media.vendor = (EFI_DEVICE_PATH) {PATH_MEDIA, 3, 20};
    media.guid = INITRD_MEDIA;
    media.end = (EFI_DEVICE_PATH) {PATH_END, 0xff, 4};
    previous.protocol.load = load_previous;
    previous.data = data;
    previous.size = size;
    st->boot->install_protocol(&handle, &path_guid, 0, &media);
    st->boot->install_protocol(&handle, &load_guid, 0, &previous.protocol);
}

static void install_edid(uint8_t *data, uint32_t size) {
    static struct {
        uint32_t size;
        uint8_t *data;
    } edid;
    edid.size = size;
    edid.data = data;
    install(EDID_DISCOVERED, &edid);
}

static void install_tree(uint8_t *data, size_t size) {
    EFI_GUID guid = DEVICETREE;
    st->boot->install_table(&guid, copy(allocate(9, size), data, size));
}

static void set_variable(uint8_t *data, size_t size) {
    uint32_t attributes;
    EFI_GUID guid;
    copy(&attributes, data, 4);
    copy(&guid, data + 4, 16);
    CHAR16 *name = copy(allocate(2, size), data + 20, size - 20);
    size_t start = 2 * length16(name) + 2;
    st->runtime->set_variable(name, &guid, attributes, size - 20 - start, (uint8_t *) name + start);
}

/* The device's path with a node for the file. */
static EFI_DEVICE_PATH *file_path(EFI_HANDLE device, const CHAR16 *name) {
    EFI_GUID guid = DEVICE_PATH;
    EFI_DEVICE_PATH *path = 0;
    st->boot->handle_protocol(device, &guid, (void **) &path);
    size_t before = 0, length = 2 * length16(name) + 2;
    uint8_t *from = (void *) path;
    while (from[before] != PATH_END)
        before += from[before + 2] | from[before + 3] << 8;
    uint8_t *whole = allocate(2, before + length + 8);
    EFI_DEVICE_PATH node = {PATH_MEDIA, 4, length + 4}, end = {PATH_END, 0xff, 4};
    copy(whole, from, before);
    copy(whole + before, &node, 4);
    copy(whole + before + 4, name, length);
    copy(whole + before + 4 + length, &end, 4);
    return (void *) whole;
}

EFI_STATUS EFIAPI entry(EFI_HANDLE image, EFI_SYSTEM_TABLE *system) {
    EFI_GUID image_guid = LOADED_IMAGE, volume_guid = FILE_SYSTEM;
    EFI_LOADED_IMAGE *own = 0, *loaded = 0;
    EFI_FILE_SYSTEM *volume = 0;
    EFI_FILE *root = 0;
    EFI_HANDLE child = 0;
    CHAR16 *uki = 0;
    uint8_t *options = 0, from_memory = 0;
    size_t size = 0, options_size = 0;
    CHAR16 settings[] = {'\\', 'l', 'a', 'b', '.', 'b', 'i', 'n', 0};

    st = system;
    st->boot->handle_protocol(image, &image_guid, (void **) &own);
    if (st->boot->handle_protocol(own->device, &volume_guid, (void **) &volume) || volume->open_volume(volume, &root))
        return EFI_NOT_FOUND;
    uint8_t *at = read_file(root, settings, &size), *end = at + size;
    while (at && at + 5 <= end) {
        uint32_t n;
        uint8_t type = *at;
        copy(&n, at + 1, 4);
        at += 5;
        if (type == UKI)
            uki = copy(allocate(2, n), at, n);
        else if (type == OPTIONS)
            options = copy(allocate(2, n), at, options_size = n);
        else if (type == VARIABLE)
            set_variable(at, n);
        else if (type == EDID)
            install_edid(at, n);
        else if (type == TREE)
            install_tree(at, n);
        else if (type == INITRD)
            install_initrd(at, n);
        else if (type == FROM_MEMORY)
            from_memory = 1;
        at += n;
    }
    if (!uki)
        return EFI_NOT_FOUND;
    void *data = from_memory ? read_file(root, uki, &size) : 0;
    EFI_DEVICE_PATH *path = data ? 0 : file_path(own->device, uki);
    EFI_STATUS status = st->boot->load_image(0, image, path, data, data ? size : 0, &child);
    if (!status) {
        st->boot->handle_protocol(child, &image_guid, (void **) &loaded);
        if (options) {
            loaded->options = options;
            loaded->options_size = options_size;
        }
        status = st->boot->start_image(child, 0, 0);
    }
    /* What was installed lies in this image: a firmware that goes on without it crashes. */
    st->runtime->reset_system(2, 0, 0, 0);
    return status;
}
