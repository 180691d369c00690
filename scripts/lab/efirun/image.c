#include "efirun.h"

#include <stdlib.h>
#include <string.h>

enum { RELOCATIONS = 5, CERTIFICATES = 4 };

typedef struct {
    uint32_t entry, size, headers, alignment, directories, sections, n_sections;
    uint64_t base;
    uint16_t machine, flags, subsystem;
    bool wide;
} Headers;

typedef struct {
    char name[8];
    uint32_t virtual_size, address, raw_size, raw;
    uint8_t unused[12];
    uint32_t flags;
} __attribute__((packed)) Section;

EFI_HANDLE stub_handle;
static uint8_t *stub_entry;

static uint64_t number(const uint8_t *at, size_t size) {
    uint64_t value = 0;
    memcpy(&value, at, size);
    return value;
}

enum { IA32 = 0x14c, EBC = 0xebc, X64 = 0x8664, AA64 = 0xaa64 };

/* PeCoffLoaderImageFormatSupported() of each machine's library. */
static bool is_known(uint16_t machine) {
    return machine == PE_MACHINE || machine == EBC || (PE_MACHINE == X64 && (machine == IA32 || machine == AA64));
}

/* CoreLoadPeImage(): the firmware's own, and those that it can load without starting them. */
static bool is_loaded(const Headers *h) {
    bool own = h->machine == PE_MACHINE || (PE_MACHINE == X64 && h->machine == IA32);
    return own && h->subsystem >= 10 && h->subsystem <= 13;
}

/* What EDK II's PeCoffLoaderGetImageInfo() asks for (MdePkg, BasePeCoffLib). */
static EFI_STATUS read_headers(Bytes file, Headers *h) {
    const uint8_t *d = file.data;
    if (file.size < 64)
        return EFI_UNSUPPORTED;
    uint64_t pe = number(d, 2) == 0x5a4d ? number(d + 0x3c, 4) : 0;
    if (pe + 24 + 112 > file.size || number(d + pe, 4) != 0x4550)
        return EFI_UNSUPPORTED;
    const uint8_t *optional = d + pe + 24;
    uint16_t magic = number(optional, 2), optional_size = number(d + pe + 20, 2);
    if (magic != 0x10b && magic != 0x20b)
        return EFI_UNSUPPORTED;
    h->wide = magic == 0x20b;
    h->machine = number(d + pe + 4, 2);
    h->flags = number(d + pe + 22, 2);
    h->n_sections = number(d + pe + 6, 2);
    h->sections = pe + 24 + optional_size;
    h->entry = number(optional + 16, 4);
    h->base = h->wide ? number(optional + 24, 8) : number(optional + 28, 4);
    h->alignment = number(optional + 32, 4);
    h->size = number(optional + 56, 4);
    h->headers = number(optional + 60, 4);
    h->subsystem = number(optional + 68, 2);
    h->directories = pe + 24 + (h->wide ? 112 : 96);
    if (h->sections + 40ULL * h->n_sections > file.size || h->headers > file.size ||
        h->headers < h->sections + 40 * h->n_sections || h->size < h->headers)
        return EFI_UNSUPPORTED;
    for (uint32_t i = 0; i < h->n_sections; i++) {
        const Section *s = (const void *) (d + h->sections + 40 * i);
        if (s->raw_size && (s->raw < h->headers || s->address < h->headers || (uint64_t) s->raw + s->raw_size > file.size))
            return EFI_UNSUPPORTED;
    }
    return is_known(h->machine) ? EFI_SUCCESS : EFI_UNSUPPORTED;
}

static void directory(Bytes file, const Headers *h, unsigned index, uint32_t *address, uint32_t *size) {
    const uint8_t *at = file.data + h->directories;
    bool there = number(at - 4, 4) > index && h->directories + 8 * index + 8 <= h->sections;
    *address = there ? number(at + 8 * index, 4) : 0;
    *size = there ? number(at + 8 * index + 4, 4) : 0;
}

static bool is_signed(Bytes file) {
    Headers h;
    uint32_t address = 0, size = 0;
    if (!read_headers(file, &h))
        directory(file, &h, CERTIFICATES, &address, &size);
    return size;
}

static bool relocate(uint8_t *image, const Headers *h, uint32_t address, uint32_t size) {
    uint64_t delta = (uintptr_t) image - h->base;
    for (uint32_t at = address; at + 8 <= address + size;) {
        uint32_t page = number(image + at, 4), length = number(image + at + 4, 4);
        if (length < 8 || at + (uint64_t) length > address + (uint64_t) size)
            return false;
        for (uint32_t i = 8; i + 2 <= length; i += 2) {
            uint16_t entry = number(image + at + i, 2);
            uint64_t place = page + (uint64_t) (entry & 0xfff), value;
            if (place + 8 > h->size)
                return false;
            switch (entry >> 12) {
            case 0:
                break;
            case 3:
                value = number(image + place, 4) + delta;
                memcpy(image + place, &value, 4);
                break;
            case 10:
                value = number(image + place, 8) + delta;
                memcpy(image + place, &value, 8);
                break;
            default:
                return false;
            }
        }
        at += length;
    }
    return true;
}

/* Pages with the image in them, relocated; only the code of the stub itself may be executed. */
static EFI_STATUS place(Bytes file, const Headers *h, bool executable, uint8_t **image) {
    uint32_t address, size;
    *image = pages(h->size);
    if (!*image)
        return EFI_OUT_OF_RESOURCES;
    memcpy(*image, file.data, h->headers);
    for (uint32_t i = 0; i < h->n_sections; i++) {
        const Section *s = (const void *) (file.data + h->sections + 40 * i);
        uint32_t virtual = s->virtual_size ? s->virtual_size : s->raw_size;
        uint32_t raw = s->raw_size < virtual ? s->raw_size : virtual;
        if (virtual && (uint64_t) s->address + virtual > h->size)
            return EFI_LOAD_ERROR;
        if (!virtual)
            continue;
        memcpy(*image + s->address, file.data + s->raw, raw);
        memset(*image + s->address + raw, 0, virtual - raw);
    }
    directory(file, h, RELOCATIONS, &address, &size);
    if (size && ((uint64_t) address + size > h->size || !relocate(*image, h, address, size)))
        return EFI_LOAD_ERROR;
    if (!size && h->flags & 1)
        return EFI_NOT_FOUND;
    for (uint32_t i = 0; executable && i < h->n_sections; i++) {
        const Section *s = (const void *) (file.data + h->sections + 40 * i);
        if (s->flags & 0x20000000) {
            processor_hide_cpuid(*image + s->address, s->virtual_size);
            allow_execution(*image + s->address, s->virtual_size);
        }
    }
    return EFI_SUCCESS;
}

EFI_STATUS image_load(Bytes file, EFI_DEVICE_PATH *path, EFI_HANDLE device, EFI_HANDLE parent, EFI_HANDLE *handle) {
    Headers h;
    uint8_t *image;
    EFI_STATUS status = read_headers(file, &h);
    if (!status && !is_loaded(&h))
        status = EFI_UNSUPPORTED;
    if (!status)
        status = place(file, &h, !parent, &image);
    if (status)
        return status;
    EFI_LOADED_IMAGE *loaded = pool(sizeof *loaded);
    /* A copy: what the caller has may lie on its stack. */
    path = path ? pool_copy(path, path_size(path)) : NULL;
    *loaded = (EFI_LOADED_IMAGE) {
        0x1000, parent, &system_table, device, path, NULL, 0, NULL, image, h.size, 1, 2, NULL,
    };
    *handle = handle_new();
    handle_install(*handle, LOADED_IMAGE, loaded);
    if (!parent)
        stub_entry = image + h.entry;
    return EFI_SUCCESS;
}

/* An image is allowed that has a certificate table at all: nothing here knows keys. */
static EFI_STATUS EFIAPI authentication(void *this, EFI_DEVICE_PATH *path, void *file, size_t size, uint8_t policy) {
    (void) this, (void) path, (void) policy;
    return !machine.secure_boot || is_signed((Bytes) {file, size, true}) ? EFI_SUCCESS : EFI_ACCESS_DENIED;
}

static EFI_STATUS EFIAPI authentication_state(void *this, uint32_t state, EFI_DEVICE_PATH *path) {
    (void) this, (void) state, (void) path;
    return EFI_SUCCESS;
}

static struct {
    EFI_STATUS (EFIAPI *check)(void *, EFI_DEVICE_PATH *, void *, size_t, uint8_t);
} security_2 = {authentication};

static struct {
    EFI_STATUS (EFIAPI *check)(void *, uint32_t, EFI_DEVICE_PATH *);
} security = {authentication_state};

static EFI_STATUS EFIAPI load_image(uint8_t policy, EFI_HANDLE parent, EFI_DEVICE_PATH *path, void *source, size_t size,
                                    EFI_HANDLE *handle) {
    Bytes file = {source, size, true};
    EFI_HANDLE device = NULL;
    EFI_DEVICE_PATH *left = path;
    if (!parent || !handle || (!source && !path))
        return EFI_INVALID_PARAMETER;
    /* As EDK II does, before anything else is looked at. */
    if (source && !size)
        return EFI_LOAD_ERROR;
    if (path && !boot_services.locate_device_path(&FILE_SYSTEM, &left, &device)) {
        CHAR16 *name = path_file(left);
        if (!source && (!name || !file_content(device, name, &file)))
            return EFI_NOT_FOUND;
    } else {
        device = NULL;
        left = path;
        if (!source)
            return EFI_NOT_FOUND;
    }
    EFI_STATUS status = security_2.check(&security_2, path, file.data, file.size, policy);
    if (status)
        return status;
    return image_load(file, left, device, parent, handle);
}

static EFI_STATUS EFIAPI start_image(EFI_HANDLE image, size_t *size, CHAR16 **data) {
    (void) size, (void) data;
    kernel_started(image, "StartImage", NULL);
}

static EFI_STATUS EFIAPI unload_image(EFI_HANDLE image) {
    return handle_find(image, &LOADED_IMAGE) ? EFI_SUCCESS : EFI_INVALID_PARAMETER;
}

static EFI_STATUS EFIAPI exit_image(EFI_HANDLE image, EFI_STATUS status, size_t size, CHAR16 *data) {
    (void) image, (void) size, (void) data;
    finish("returned", status);
}

static EFI_STATUS EFIAPI exit_boot_services(EFI_HANDLE image, size_t key) {
    (void) image, (void) key;
    finish("exit-boot-services", 0);
}

void images_init(void) {
    boot_services.load_image = load_image;
    boot_services.start_image = start_image;
    boot_services.unload_image = unload_image;
    boot_services.exit = exit_image;
    boot_services.exit_boot_services = exit_boot_services;
    handle_install(handle_new(), SECURITY_2, &security_2);
    handle_install(handle_new(), SECURITY, &security);
}

static Bytes read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        finish("no-file", 0);
    Bytes content = {NULL, ftell(file), true};
    content.data = malloc(content.size + 1);
    rewind(file);
    if (!content.data || fread(content.data, 1, content.size, file) != content.size)
        finish("no-file", 0);
    fclose(file);
    return content;
}

static void describe_start(EFI_LOADED_IMAGE *loaded) {
    if (machine.load_options.given) {
        loaded->options = pool_copy(machine.load_options.data, machine.load_options.size);
        loaded->options_size = machine.load_options.size;
    }
    if (machine.shell) {
        static struct {
            CHAR16 **arguments;
            size_t n;
            void *in, *out, *error;
        } parameters;
        parameters.arguments = machine.arguments;
        parameters.n = machine.n_arguments;
        handle_install(stub_handle, SHELL_PARAMETERS, &parameters);
    }
    if (loaded->path) {
        EFI_DEVICE_PATH *device = handle_find(loaded->device, &DEVICE_PATH);
        handle_install(stub_handle, LOADED_IMAGE_PATH,
                       path_append(device, PATH_MEDIA, 4, loaded->path + 1, loaded->path->length - 4));
    }
}

void load_stub(void) {
    EFI_DEVICE_PATH *path = NULL;
    Bytes file = read_file(machine.uki);
    if (machine.path.given)
        path = path_append(NULL, PATH_MEDIA, 4, machine.path.data, machine.path.size);
    EFI_STATUS status = authentication(NULL, path, file.data, file.size, 1);
    if (!status)
        status = image_load(file, path, path ? partition : NULL, NULL, &stub_handle);
    if (status)
        finish("not-loaded", status);
    describe_start(handle_find(stub_handle, &LOADED_IMAGE));
}

void run_stub(void) {
    EFI_STATUS (EFIAPI *entry)(EFI_HANDLE, EFI_SYSTEM_TABLE *) = (void *) stub_entry;
    finish("returned", entry(stub_handle, &system_table));
}
