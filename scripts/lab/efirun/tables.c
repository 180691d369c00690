#include "efirun.h"

#include <string.h>

static EFI_CONFIGURATION_TABLE rows[32];

static EFI_STATUS EFIAPI install_table(EFI_GUID *guid, void *table) {
    for (size_t i = 0; i < system_table.n_tables; i++) {
        if (!guid_equal(&rows[i].guid, guid))
            continue;
        if (table)
            rows[i].table = table;
        else
            rows[i] = rows[--system_table.n_tables];
        return EFI_SUCCESS;
    }
    if (!table)
        return EFI_NOT_FOUND;
    if (system_table.n_tables == N_ELEMENTS(rows))
        return EFI_OUT_OF_RESOURCES;
    rows[system_table.n_tables++] = (EFI_CONFIGURATION_TABLE) {*guid, table};
    return EFI_SUCCESS;
}

void table_install(EFI_GUID guid, void *table) {
    install_table(&guid, table);
}

void *table_find(EFI_GUID guid) {
    for (size_t i = 0; i < system_table.n_tables; i++)
        if (guid_equal(&rows[i].guid, &guid))
            return rows[i].table;
    return NULL;
}

static uint8_t sum(const uint8_t *data, size_t size) {
    uint8_t total = 0;
    while (size--)
        total += *data++;
    return total;
}

/* An entry point of our own, or the given one with the address of the table as it is here. */
static void install_smbios(void) {
    uint8_t *table = pool_copy(machine.smbios.data, machine.smbios.size);
    uint64_t address = (uintptr_t) table;
    uint8_t made[24] = {'_', 'S', 'M', '3', '_', 0, 24, 3, 0, 0, 1};
    uint32_t size = machine.smbios.size;
    memcpy(made + 12, &size, 4);
    bool given = machine.smbios_entry.given;
    uint8_t *entry = given ? pool_copy(machine.smbios_entry.data, machine.smbios_entry.size) : pool_copy(made, 24);
    if (memcmp(entry, "_SM3_", 5)) {
        memcpy(entry + 24, &address, 4);
        entry[21] = 0;
        entry[21] = -sum(entry + 16, 15);
        entry[4] = 0;
        entry[4] = -sum(entry, entry[5]);
        table_install(SMBIOS2, entry);
        return;
    }
    memcpy(entry + 16, &address, 8);
    entry[5] = 0;
    entry[5] = -sum(entry, entry[6]);
    table_install(SMBIOS3, entry);
}

void tables_init(void) {
    system_table.tables = rows;
    boot_services.install_table = install_table;
    if (machine.smbios.given)
        install_smbios();
    if (machine.devicetree.given)
        table_install(DEVICETREE, pool_copy(machine.devicetree.data, machine.devicetree.size));
}
