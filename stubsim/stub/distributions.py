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
    Shipped("Debian 12 backports", "254.26-1~bpo12+1", "apt, bookworm-backports", "2026-11"),
    Shipped("Debian 13", "257.13-1~deb13u1", "apt, trixie", "2026-11"),
    Shipped("Debian testing", "262-1", "apt, forky", "2026-11"),
    Shipped("Debian unstable", "262.1-1", "apt, sid", "2026-11"),
    Shipped("Ubuntu 22.04", "249", "announcement of its systemd, kledgeb.blogspot.com", "2021-11"),
    Shipped("Ubuntu 24.04", "255.4-1ubuntu8.17", "packages.ubuntu.com, noble-updates, systemd-ukify", "2026-11"),
    Shipped("Ubuntu 26.04", "259.5-0ubuntu3.4", "packages.ubuntu.com, resolute, systemd-boot-efi", "2026-11"),
    Shipped("Ubuntu, next (stonking)", "259.5-0ubuntu3", "packages.ubuntu.com, stonking, systemd-boot", "2026-11"),
    Shipped("Fedora 43", "258.7-1.fc43", "packages.fedoraproject.org, systemd-libs", "2026-06"),
    Shipped("Fedora 44", "259.6-1.fc44", "packages.fedoraproject.org, systemd-libs", "2026-06"),
    Shipped("Fedora 45", "262.1-1.fc45", "packages.fedoraproject.org, systemd-udev, fedora-45-updates", "2026-10"),
    Shipped("RHEL 9.2", "252-14.11.el9_2", "redhat-plumbers/systemd-rhel9, branch rhel-9.2.0", "2026-05"),
    Shipped("RHEL 9.4", "252-32.11.el9_4", "redhat-plumbers/systemd-rhel9, branch rhel-9.4.0", "2026-05"),
    Shipped("RHEL 9.6", "252-51.6.el9_6", "redhat-plumbers/systemd-rhel9, branch rhel-9.6.0", "2026-05"),
    Shipped("RHEL 9.8", "252-67.5.el9_8", "redhat-plumbers/systemd-rhel9, branch rhel-9.8.0", "2026-08"),
    Shipped("CentOS Stream 9", "252-76.el9", "redhat-plumbers/systemd-rhel9, newest tag", "2026-08"),
    Shipped("RHEL 10.0", "257-9.2.el10_0", "redhat-plumbers/systemd-rhel10, branch rhel-10.0", "2026-05"),
    Shipped("RHEL 10.2", "257-23.2.el10_2", "redhat-plumbers/systemd-rhel10, branch rhel-10.2", "2026-04"),
    Shipped("CentOS Stream 10", "257-28.el10", "redhat-plumbers/systemd-rhel10, newest tag", "2026-07"),
    Shipped("openSUSE Factory", "260.2", "openSUSE/systemd, branch openSUSE-Factory", "2026-05"),
    Shipped("SLE 15 SP6", "254.27", "openSUSE/systemd, branch SLE15-SP6", "2026-03"),
    Shipped("Alpine 3.24", "260.2-r0", "pkgs.alpinelinux.org, systemd-efistub", "2026-05"),
    Shipped("Arch Linux, core-staging", "262.1-2", "archlinux.org/packages", "2026-10"),
)
