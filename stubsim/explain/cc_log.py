"""The log of a TDX guest's own registers, as OVMF and all stages behind it measure by the CC protocol.

OvmfPkg/Tcg/TdTcg2Dxe (edk2-stable202502 to 202608) and DxeTpm2MeasureBootLib; UEFI 2.10, 38.4.1 maps PCRs to registers.
Real logs (test data of confidential-containers/trustee, deps/eventlog) have the same order; of the older builds among
them the separator is in RTMR 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stubsim.errors import StubsimError
from stubsim.explain.log_writer import Writer
from stubsim.explain.predicted_log import BASELINE, UNKNOWN, LogEvent
from stubsim.formats import eventlog
from stubsim.start import Start
from stubsim.uefi.baseline import described, is_exit
from stubsim.uefi.measured import actions
from stubsim.uefi.measured.row import Row, unknown

# The log's index of a register counts from 1: MRTD is 0.
_RTMR_0, _RTMR_1 = 1, 2
_CONFIG, _DRIVERS, _BOOT_MANAGER, _GPT = 1, 2, 4, 5
_SEPARATOR, _ACTION = "EV_SEPARATOR", "EV_EFI_ACTION"
# In RTMR 0 these are of shim and of the stub.
_OF_STAGES = ("EV_EFI_VARIABLE_AUTHORITY", "EV_IPL", "EV_EVENT_TAG", "EV_NO_ACTION")
_OWN = "what the firmware measures there is not computed: configuration, Secure Boot's variables, ACPI, boot entries"
_OTHER_STORE = "it holds a measurement of the variable store, and --vars may be another than that of the baseline"


class CcWriter(Writer):
    """Each event goes to the register that its PCR is mapped to."""

    def write(self, start: Start) -> None:
        build, trace = self.platform.build, list(self.boot.trace)
        if build is not None and not build.has_cc:
            raise StubsimError(
                f"{build.name} has no measurement protocol for TDX guests", expected="a build with TdTcg2Dxe"
            )
        self._firmware_config()
        self._given_or_logged(_DRIVERS, "EV_EFI_BOOT_SERVICES_DRIVER", self._option_roms)
        self._given_kernel(trace)
        self._row(actions.action(_BOOT_MANAGER, actions.BOOT_ATTEMPT))
        self._separator()
        self._chain(trace, start)
        if self.boot.outcome.status == "kernel-started":
            self._exit_boot_services()

    def _rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            logged = self._logged_events(_RTMR_1, row.type) if row.content is None and row.pcr == _GPT else []
            if logged:
                self._take(logged, row.pcr)
            else:
                self._row(row)

    def _firmware_config(self) -> None:
        """RTMR 0 up to what shim and stub do."""
        baseline = self.platform.baseline
        if baseline is None or self.platform.variables is not None:
            because = _OWN if baseline is None else _OTHER_STORE
            self.events.append(LogEvent("firmware", _CONFIG, None, "configuration", None, b"", UNKNOWN, because))
            return
        own = [
            event
            for event in baseline.log.events
            if event.pcr == _RTMR_0 and eventlog.type_name(event.type) not in _OF_STAGES
        ]
        self._take(own, _CONFIG)

    def _given_or_logged(self, pcr: int, kind: str, compute: Callable[[], None]) -> None:
        if self.platform.option_roms or self.platform.baseline is None:
            compute()
        else:
            self._take(self._logged_events(_RTMR_1, kind), pcr)

    def _separator(self) -> None:
        """One for RTMR 1, if it is there that the build has it."""
        if self.platform.baseline is not None:
            self._take(self._logged_events(_RTMR_1, _SEPARATOR), _BOOT_MANAGER)
        elif self.platform.build is None:
            why = f"older builds have it in RTMR 0, newer ones in RTMR 1, and {self.platform.no_build}"
            self._row(unknown(_BOOT_MANAGER, _SEPARATOR, "separator", why))
        else:
            self._row(actions.separator(_BOOT_MANAGER))

    def _exit_boot_services(self) -> None:
        build = self.platform.build
        if self.platform.baseline is not None:
            logged = self._logged_events(_RTMR_1, _ACTION)
            self._take((event for event in logged if is_exit(event.data)), _GPT)
        elif build is None or build.exit_fails_first:
            why = f"how often it is called: {self.platform.no_build}"
            if build is not None:
                why = f"whether its first call fails in a TDX guest, as it does elsewhere with {build.name}"
            self._row(unknown(_GPT, _ACTION, actions.EXIT, why))
        else:
            for row in actions.exit_at_once():
                self._row(row)

    def _logged_events(self, index: int, kind: str) -> list[eventlog.Event]:
        baseline = self.platform.baseline
        events = () if baseline is None else baseline.log.events
        return [event for event in events if event.pcr == index and eventlog.type_name(event.type) == kind]

    def _take(self, events: Iterable[eventlog.Event], pcr: int) -> None:
        for event in events:
            kind = eventlog.type_name(event.type)
            name = described(event) or kind
            self.events.append(LogEvent("firmware", pcr, kind, name, event.digests, event.data, BASELINE))
