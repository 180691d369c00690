#include "efirun.h"

#include <string.h>

typedef struct Interface {
    struct Interface *next;
    EFI_GUID guid;
    void *interface;
} Interface;

typedef struct Handle {
    struct Handle *next;
    Interface *first;
} Handle;

static Handle *handles, **last = &handles;

bool guid_equal(const EFI_GUID *one, const EFI_GUID *other) {
    return !memcmp(one, other, sizeof *one);
}

size_t length16(const CHAR16 *text) {
    size_t n = 0;
    while (text[n])
        n++;
    return n;
}

EFI_HANDLE handle_new(void) {
    Handle *handle = pool(sizeof *handle);
    *handle = (Handle) {0};
    *last = handle;
    last = &handle->next;
    return handle;
}

static bool known(EFI_HANDLE handle) {
    for (Handle *h = handles; h; h = h->next)
        if (h == handle)
            return true;
    return false;
}

static Interface **find(EFI_HANDLE handle, const EFI_GUID *guid) {
    if (!known(handle))
        return NULL;
    for (Interface **i = &((Handle *) handle)->first; *i; i = &(*i)->next)
        if (guid_equal(&(*i)->guid, guid))
            return i;
    return NULL;
}

void handle_install(EFI_HANDLE handle, EFI_GUID guid, void *interface) {
    Interface *i = pool(sizeof *i);
    *i = (Interface) {((Handle *) handle)->first, guid, interface};
    ((Handle *) handle)->first = i;
}

void *handle_find(EFI_HANDLE handle, const EFI_GUID *guid) {
    Interface **found = find(handle, guid);
    return found ? (*found)->interface : NULL;
}

/* A device path stands on one handle only; so the second initrd of a boot is refused (EDK II, DxeCore). */
static bool path_is_taken(const EFI_GUID *guid, const void *path) {
    if (!guid_equal(guid, &DEVICE_PATH))
        return false;
    for (Handle *h = handles; h; h = h->next) {
        void *other = handle_find(h, &DEVICE_PATH);
        if (other && path_size(other) == path_size(path) && !memcmp(other, path, path_size(path)))
            return true;
    }
    return false;
}

static EFI_STATUS EFIAPI install_protocol(EFI_HANDLE *handle, EFI_GUID *guid, int type, void *interface) {
    if (!handle || !guid || type)
        return EFI_INVALID_PARAMETER;
    if (*handle && (!known(*handle) || find(*handle, guid)))
        return EFI_INVALID_PARAMETER;
    if (!*handle)
        *handle = handle_new();
    handle_install(*handle, *guid, interface);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI uninstall_protocol(EFI_HANDLE handle, EFI_GUID *guid, void *interface) {
    Interface **found = find(handle, guid);
    if (!found || (*found)->interface != interface)
        return EFI_NOT_FOUND;
    *found = (*found)->next;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI reinstall_protocol(EFI_HANDLE handle, EFI_GUID *guid, void *old, void *new) {
    Interface **found = find(handle, guid);
    if (!found || (*found)->interface != old)
        return EFI_NOT_FOUND;
    (*found)->interface = new;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI install_protocols(EFI_HANDLE *handle, ...) {
    efi_va_list arguments;
    EFI_STATUS status = EFI_SUCCESS;
    efi_va_start(arguments, handle);
    for (EFI_GUID *guid; (guid = efi_va_arg(arguments, EFI_GUID *));) {
        void *interface = efi_va_arg(arguments, void *);
        status = path_is_taken(guid, interface) ? EFI_ALREADY_STARTED : install_protocol(handle, guid, 0, interface);
        if (status)
            break;
    }
    efi_va_end(arguments);
    return status;
}

static EFI_STATUS EFIAPI uninstall_protocols(EFI_HANDLE handle, ...) {
    efi_va_list arguments;
    EFI_STATUS status = EFI_SUCCESS;
    efi_va_start(arguments, handle);
    for (EFI_GUID *guid; !status && (guid = efi_va_arg(arguments, EFI_GUID *));)
        status = uninstall_protocol(handle, guid, efi_va_arg(arguments, void *));
    efi_va_end(arguments);
    return status ? EFI_INVALID_PARAMETER : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **interface) {
    if (!known(handle) || !guid || !interface)
        return EFI_INVALID_PARAMETER;
    Interface **found = find(handle, guid);
    *interface = found ? (*found)->interface : NULL;
    return found ? EFI_SUCCESS : EFI_UNSUPPORTED;
}

static EFI_STATUS EFIAPI open_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **interface, EFI_HANDLE agent,
                                       EFI_HANDLE controller, uint32_t attributes) {
    (void) agent, (void) controller, (void) attributes;
    void *unused;
    return handle_protocol(handle, guid, interface ? interface : &unused);
}

static EFI_STATUS EFIAPI close_protocol(EFI_HANDLE handle, EFI_GUID *guid, EFI_HANDLE agent, EFI_HANDLE controller) {
    (void) handle, (void) guid, (void) agent, (void) controller;
    return EFI_SUCCESS;
}

static size_t collect(int type, EFI_GUID *guid, EFI_HANDLE *found) {
    size_t n = 0;
    for (Handle *h = handles; h; h = h->next)
        if (h->first && (type == 0 || (type == 2 && find(h, guid)))) {
            if (found)
                found[n] = h;
            n++;
        }
    return n;
}

static EFI_STATUS EFIAPI locate_handle(int type, EFI_GUID *guid, void *key, size_t *size, EFI_HANDLE *found) {
    (void) key;
    size_t needed = collect(type, guid, NULL) * sizeof *found, had = *size;
    if (!needed)
        return EFI_NOT_FOUND;
    *size = needed;
    if (had < needed)
        return EFI_BUFFER_TOO_SMALL;
    collect(type, guid, found);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI locate_handle_buffer(int type, EFI_GUID *guid, void *key, size_t *n, EFI_HANDLE **found) {
    (void) key;
    *n = collect(type, guid, NULL);
    *found = *n ? pool(*n * sizeof **found) : NULL;
    return collect(type, guid, *found) ? EFI_SUCCESS : EFI_NOT_FOUND;
}

static EFI_STATUS EFIAPI locate_protocol(EFI_GUID *guid, void *registration, void **interface) {
    (void) registration;
    for (Handle *h = handles; h; h = h->next) {
        Interface **found = find(h, guid);
        if (found) {
            *interface = (*found)->interface;
            return EFI_SUCCESS;
        }
    }
    *interface = NULL;
    return EFI_NOT_FOUND;
}

/* The handle with the protocol whose path is the longest beginning of the one given; that moves to what is left. */
static EFI_STATUS EFIAPI locate_device_path(EFI_GUID *guid, EFI_DEVICE_PATH **path, EFI_HANDLE *found) {
    size_t longest = 0;
    bool any = false;
    for (Handle *h = handles; h; h = h->next) {
        EFI_DEVICE_PATH *own = handle_find(h, &DEVICE_PATH);
        if (!own || !find(h, guid))
            continue;
        size_t size = path_size(own) - sizeof *own;
        if (size <= path_size(*path) - sizeof *own && !memcmp(own, *path, size) && (!any || size > longest)) {
            any = true;
            longest = size;
            *found = h;
        }
    }
    if (!any)
        return EFI_NOT_FOUND;
    *path = (void *) ((uint8_t *) *path + longest);
    return EFI_SUCCESS;
}

void handles_init(void) {
    boot_services.install_protocol = install_protocol;
    boot_services.reinstall_protocol = reinstall_protocol;
    boot_services.uninstall_protocol = uninstall_protocol;
    boot_services.handle_protocol = handle_protocol;
    boot_services.open_protocol = open_protocol;
    boot_services.close_protocol = close_protocol;
    boot_services.locate_handle = locate_handle;
    boot_services.locate_handle_buffer = locate_handle_buffer;
    boot_services.locate_protocol = locate_protocol;
    boot_services.locate_device_path = locate_device_path;
    boot_services.install_protocols = install_protocols;
    boot_services.uninstall_protocols = uninstall_protocols;
}
