#include "efirun.h"

#include <string.h>

static Variable *variables;

static Variable **find(const CHAR16 *name, const EFI_GUID *guid) {
    Variable **v = &variables;
    for (; *v; v = &(*v)->next)
        if (guid_equal(&(*v)->guid, guid) && length16((*v)->name) == length16(name) &&
            !memcmp((*v)->name, name, 2 * length16(name)))
            break;
    return v;
}

void variable_add(CHAR16 *name, EFI_GUID guid, uint32_t attributes, Bytes data, bool set) {
    Variable *new = pool(sizeof *new), **old = find(name, &guid);
    *new = (Variable) {*old ? (*old)->next : NULL, pool_copy(name, 2 * length16(name) + 2), guid, attributes,
                       {pool_copy(data.data, data.size), data.size, true}, set};
    *old = new;
}

static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *guid, uint32_t *attributes, size_t *size, void *data) {
    Variable *v = *find(name, guid);
    if (!v)
        return EFI_NOT_FOUND;
    size_t room = *size;
    *size = v->data.size;
    if (attributes)
        *attributes = v->attributes;
    if (room < v->data.size)
        return EFI_BUFFER_TOO_SMALL;
    if (!data)
        return EFI_INVALID_PARAMETER;
    memcpy(data, v->data.data, v->data.size);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_next_variable(size_t *size, CHAR16 *name, EFI_GUID *guid) {
    Variable *v = *name ? *find(name, guid) : NULL;
    if (*name && !v)
        return EFI_INVALID_PARAMETER;
    v = v ? v->next : variables;
    if (!v)
        return EFI_NOT_FOUND;
    size_t room = *size;
    *size = 2 * length16(v->name) + 2;
    if (room < *size)
        return EFI_BUFFER_TOO_SMALL;
    memcpy(name, v->name, *size);
    *guid = v->guid;
    return EFI_SUCCESS;
}

/* UEFI 2.10, 8.2.3, as EDK II does it: other attributes than the variable has are refused. */
static EFI_STATUS EFIAPI set_variable(CHAR16 *name, EFI_GUID *guid, uint32_t attributes, size_t size, void *data) {
    if (!name || !*name || !guid || (size && !data))
        return EFI_INVALID_PARAMETER;
    if ((attributes & 6) == 4)
        return EFI_INVALID_PARAMETER;
    Variable **old = find(name, guid);
    if (!size || !(attributes & 6)) {
        if (!*old)
            return EFI_NOT_FOUND;
        if (attributes && attributes != (*old)->attributes)
            return EFI_INVALID_PARAMETER;
        *old = (*old)->next;
        return EFI_SUCCESS;
    }
    if (*old && (*old)->attributes != attributes)
        return EFI_INVALID_PARAMETER;
    variable_add(name, *guid, attributes, (Bytes) {data, size, true}, true);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI query_variable_info(uint32_t attributes, uint64_t *maximum, uint64_t *left, uint64_t *one) {
    (void) attributes;
    *maximum = *left = *one = 0x10000;
    return EFI_SUCCESS;
}

/* Always the same moment: what comes of it is to be the same as well. */
static EFI_STATUS EFIAPI get_time(void *time, void *capabilities) {
    static const uint8_t moment[16] = {0xea, 7, 1, 1, 12};
    (void) capabilities;
    memcpy(time, moment, sizeof moment);
    return EFI_SUCCESS;
}

static void EFIAPI reset_system(int type, EFI_STATUS status, size_t size, void *data) {
    (void) type, (void) size, (void) data;
    finish("reset", status);
}

EFI_RUNTIME_SERVICES runtime_services = {
    .header = {0x56524553544e5552, 0x20046, sizeof(EFI_RUNTIME_SERVICES), 0, 0},
    .get_time = get_time,
    .get_variable = get_variable,
    .get_next_variable = get_next_variable,
    .set_variable = set_variable,
    .reset_system = reset_system,
    .query_variable_info = query_variable_info,
};

void variables_init(void) {
    static CHAR16 secure[] = u"SecureBoot", setup[] = u"SetupMode";
    uint8_t on = machine.secure_boot, off = !machine.secure_boot;
    variable_add(secure, GLOBAL_VARIABLE, 6, (Bytes) {&on, 1, true}, false);
    variable_add(setup, GLOBAL_VARIABLE, 6, (Bytes) {&off, 1, true}, false);
}

void variables_report(FILE *out) {
    fputs("\"variables\": [", out);
    for (Variable *v = variables; v; v = v->next) {
        fprintf(out, "{\"attributes\": %u, \"set\": %s, ", v->attributes, v->set ? "true" : "false");
        print_hex(out, "guid", &v->guid, sizeof v->guid, ", ");
        print_hex(out, "name", v->name, 2 * length16(v->name), ", ");
        print_hex(out, "data", v->data.data, v->data.size, v->next ? "}, " : "}");
    }
    fputs("]", out);
}
