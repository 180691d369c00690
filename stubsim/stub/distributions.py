"""Which stub a distribution ships, as found when the table of releases was made; each row with its source."""

from __future__ import annotations

from stubsim.rows import NamedTuple


class Shipped(NamedTuple):
    """A package's version, and where and when it was seen; a major number alone: the point release was not found."""

    distribution: str
    version: str
    source: str
    seen: str


SHIPPED = (
    Shipped("Debian 12", "252.39-1~deb12u2", "apt, bookworm", "2026-11"),
    Shipped("Debian 12 backports", "254.26-1~bpo12+1", ".sdmagic of the recorded stub", "2026-11"),
    Shipped("Debian 13", "257.13-1~deb13u1", ".sdmagic of the recorded stub", "2026-11"),
    Shipped("Debian testing", "262.1-1", ".sdmagic of the recorded stub", "2026-11"),
    Shipped("Ubuntu 22.04", "249", "announcement of its systemd, kledgeb.blogspot.com", "2021-11"),
    Shipped("Ubuntu 24.04", "255", "launchpad.net, systemd 255-1ubuntu1 in noble", "2026-11"),
    Shipped("Ubuntu 26.04", "259", "fab21cat.org, Ubuntu 26.04 against 24.04", "2026-05"),
    Shipped("Fedora 43", "258.7-1.fc43", "packages.fedoraproject.org, systemd-libs", "2026-06"),
    Shipped("Fedora 44", "259.6-1.fc44", "packages.fedoraproject.org, systemd-libs", "2026-06"),
    Shipped("Fedora 45", "261.2-1.fc45", "packages.fedoraproject.org, systemd-ukify", "2026-07"),
    Shipped("RHEL 9", "252", "redhat-plumbers/systemd-rhel9, meson.build", "2026-11"),
    Shipped("openSUSE Factory", "260.2", "openSUSE/systemd, branch openSUSE-Factory", "2026-05"),
    Shipped("SLE 15 SP6", "254.27", "openSUSE/systemd, branch SLE15-SP6", "2026-03"),
    Shipped("Arch Linux, core-staging", "262.1-2", "archlinux.org/packages", "2026-10"),
)
