"""Which signed policies hold: for ukify's own signatures, for ours, and for what was done to them."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given, settings

from stubsim import hosts, uki
from stubsim.explain.measure import PHASES, measure_any, measure_hosts, values_at
from stubsim.explain.pcr_signatures import Verification, verify
from stubsim.explain.signing_keys import read
from stubsim.formats import hwids, pcrsig, pe
from stubsim.formats.pcrsig import Bank, Entry
from stubsim.formats.pe import SectionSpec
from stubsim.hosts import Host
from stubsim.simulation import boot
from stubsim.start import Start
from stubsim.trace import Measured
from tests import samples
from tests.strategies import mutated
from tests.swtpm import software_tpm

RSA = rsa.generate_private_key(65537, 2048)
ECC = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(65537, 2048)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PHASE = "enter-initrd"
ENTER = f"--phases={PHASE}"
MATCHING = hosts.from_json({"smbios": samples.MACHINE})
FIRMWARE = (samples.table((hwids.UEFI_FW, "fw")), samples.firmware())


def public(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_section(key: PrivateKey = RSA) -> SectionSpec:
    return SectionSpec(".pcrpkey", public(key))


def signed(pol: bytes, key: PrivateKey = RSA, hashed: Any = None, **changes: Any) -> Entry:
    hashed = hashed or hashes.SHA256()
    entry = Entry((11,), read(public(key)).fingerprints[0], pol, None)._replace(**changes)
    if isinstance(key, rsa.RSAPrivateKey):
        return entry._replace(sig=key.sign(entry.signed, padding.PKCS1v15(), hashed))
    return entry._replace(sig=key.sign(entry.signed, ec.ECDSA(hashed)))


def section(*entries: Entry, bank: str = "sha256") -> SectionSpec:
    return SectionSpec(".pcrsig", pcrsig.build([Bank(bank, entries)]))


def image(*sections: SectionSpec, **options: Any) -> uki.Uki:
    return uki.Uki(pe.open_bytes(samples.uki(*sections, **options), "made.efi"))


def policies(
    *sections: SectionSpec, phase: str = PHASE, bank: str = "sha256", host: Host | None = None, **start: Any
) -> list[bytes]:
    """Of each PCR 11 that a UKI with these sections has."""
    own, how = image(*sections), Start(**start)
    result = measure_hosts(own, [("h", host)], how, [bank]) if host else measure_any(own, how, [bank])
    return [pcrsig.policy_pcr(bank, {11: row.value}) for row in values_at(result, 11, (phase,))]


def verified(*sections: SectionSpec, phases: Sequence[str] = (PHASE,), **options: Any) -> Verification:
    names = [(f"host{number}", host) for number, host in enumerate(options.pop("hosts", ()))]
    return verify(image(*sections), names, Start(), phases=phases, **options)


def statuses(result: Verification) -> list[str]:
    return [one.status for one in result.verdicts]


@pytest.mark.parametrize("key", [RSA, ECC], ids=["RSA", "ECC"])
@pytest.mark.parametrize("bank", ["sha1", "sha256", "sha384", "sha512"])
def test_it_holds(key: PrivateKey, bank: str):
    (policy,) = policies(key_section(key), bank=bank)
    result = verified(key_section(key), section(signed(policy, key), bank=bank))
    assert (statuses(result), result.missing) == (["holds"], ())
    (held,) = result.verdicts[0].held
    assert (held.value.phase, held.value.bank) == (PHASE, bank)


def test_each_phase_has_to_have_one():
    entries = [signed(policy) for phase in PHASES[:2] for policy in policies(key_section(), phase=phase)]
    result = verified(key_section(), section(*entries), phases=PHASES)
    assert statuses(result) == ["holds"] * 2
    assert [one.phase for one in result.missing] == list(PHASES[2:])


def test_one_right_after_the_stub_is_known():
    (policy,) = policies(key_section(), phase="")
    result = verified(key_section(), section(signed(policy)))
    assert statuses(result) == ["holds"]
    assert [(one.phase, one.because) for one in result.missing] == [(PHASE, "no signature holds for this value")]


def test_machines_that_the_signer_did_not_think_of():
    """ukify 262.1 signs one value of a UKI with .hwids."""
    own = policies(key_section(), *FIRMWARE, host=MATCHING)
    every = policies(key_section(), *FIRMWARE)
    assert len(every) == 2
    result = verified(key_section(), *FIRMWARE, section(signed(own[0])))
    assert statuses(result) == ["only"]
    assert result.verdicts[0].held[0].value.conditions[0].startswith("the machine has CHID ")
    (missing,) = result.missing
    assert missing.conditions == ("no uefi-fw entry matches",)
    assert not verified(key_section(), *FIRMWARE, section(*map(signed, every))).missing

    on = verified(key_section(), *FIRMWARE, section(signed(own[0])), hosts=[MATCHING])
    assert (statuses(on), on.missing) == (["holds"], ())
    on = verified(key_section(), *FIRMWARE, section(signed(own[0])), hosts=[MATCHING, Host()])
    assert statuses(on) == ["only"]
    assert [one.hosts for one in on.missing] == [("host1",)]
    on = verified(key_section(), *FIRMWARE, section(signed(own[0])), hosts=[Host()])
    assert statuses(on) == ["never"]


PROFILES = (
    SectionSpec(".profile", b"ID=main\n"),
    SectionSpec(".profile", b"ID=rescue\n"),
    SectionSpec(".cmdline", b"rescue"),
)


def test_a_profile_hands_on_its_own():
    base = policies(key_section(), *PROFILES)
    rescue = policies(key_section(), *PROFILES, profile=1)
    # The base's is every profile's that has none.
    result = verified(key_section(), section(signed(base[0])), *PROFILES)
    assert (statuses(result), [one.handed.profile for one in result.missing]) == (["only"], [1])
    result = verified(key_section(), section(signed(base[0]), signed(rescue[0])), *PROFILES)
    assert (statuses(result), result.missing) == (["only", "only"], ())
    result = verified(key_section(), section(signed(base[0])), *PROFILES, section(signed(rescue[0])))
    assert (statuses(result), result.missing) == (["holds", "holds"], ())
    # One that is for the other profile does not reach it.
    result = verified(key_section(), section(signed(rescue[0])), *PROFILES, section(signed(base[0])))
    assert statuses(result) == ["never", "never"]
    assert str(result.verdicts[0].because).startswith("it is for profile 1, ")
    assert {one.handed.profile for one in result.missing} == {0, 1}


def test_a_section_that_nobody_hands_on():
    result = verified(key_section(), section(signed(bytes(32))), section(signed(bytes(32))))
    assert str(result.verdicts[1].because).startswith("no boot")


def test_signed_with_the_hash_of_the_bank():
    """As systemd-measure 255 and 257 do; recorded in a .pcrsig of a UKI with stub 257.13."""
    (policy,) = policies(key_section(), bank="sha1")
    result = verified(key_section(), section(signed(policy, hashed=hashes.SHA1()), bank="sha1"))
    assert statuses(result) == ["never"]
    assert "signed with sha1" in str(result.verdicts[0].because)


def test_the_bank_that_is_enrolled_in():
    (policy,) = policies(key_section(), bank="sha1")
    both = MATCHING._replace(tpm=("sha1", "sha256"))
    result = verified(key_section(), section(signed(policy), bank="sha1"), hosts=[both])
    assert (statuses(result), [one.bank for one in result.missing]) == (["holds"], ["sha256"])
    only = MATCHING._replace(tpm=("sha1",))
    assert not verified(key_section(), section(signed(policy), bank="sha1"), hosts=[only]).missing
    assert not verified(key_section(), section(signed(policy), bank="sha1"), hosts=[both], banks=["sha1"]).missing


def test_no_tpm():
    (policy,) = policies(key_section())
    result = verified(key_section(), section(signed(policy)), hosts=[MATCHING._replace(tpm=None)])
    (missing,) = result.missing
    assert (missing.bank, missing.phase) == (None, None)
    assert "no TPM" in missing.because


def test_another_key():
    (policy,) = policies(key_section())
    result = verified(key_section(), section(signed(policy, OTHER)))
    assert (statuses(result), len(result.missing)) == (["unknown"], 1)
    assert not verified(key_section(), section(signed(policy, OTHER)), keys=[read(public(OTHER))]).missing
    forged = signed(policy)._replace(sig=signed(policy, OTHER).sig)
    result = verified(key_section(), section(forged))
    assert (statuses(result), len(result.missing)) == (["never"], 1)
    (without,) = policies()
    assert statuses(verified(section(signed(without)))) == ["unknown"]


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN PUBLIC KEY-----\n", bytes(1 << 17)], ids=repr)
def test_no_key(pem: bytes):
    own = SectionSpec(".pcrpkey", pem)
    (policy,) = policies(own)
    result = verified(own, section(signed(policy)))
    assert statuses(result) == ["unknown"]
    assert len(result.faults) == (1 if pem else 0)


def test_a_reference_is_for_what_was_enrolled_with_it():
    (policy,) = policies(key_section())
    result = verified(key_section(), section(signed(policy, ref="initrd")))
    assert (statuses(result), len(result.missing)) == (["holds"], 1)
    assert not verified(key_section(), section(signed(policy, ref="initrd"), signed(policy))).missing


def test_what_systemd_does_not_come_to():
    (policy,) = policies(key_section())
    good = signed(policy)
    result = verified(key_section(), section(good._replace(sig=bytes(256)), good))
    assert statuses(result) == ["never", "never"]
    assert "stands before" in str(result.verdicts[1].because)
    lacking = [good._replace(**{key: None}) for key in ("pcrs", "pkfp", "pol", "sig")]
    assert statuses(verified(key_section(), section(*lacking, good))) == ["never"] * 4 + ["holds"]

    def rows(*changes: dict[str, Any]) -> SectionSpec:
        ((row,),) = json.loads(pcrsig.build([Bank("sha256", (good,))])).values()
        return SectionSpec(".pcrsig", json.dumps({"sha256": [row | change for change in changes]}).encode())

    assert statuses(verified(key_section(), rows({"pol": "x"}, {}))) == ["never", "never"]
    # Of other registers or keys only what they are is looked at.
    assert statuses(verified(key_section(), rows({"pol": "x", "pcrs": [7]}, {}))) == ["never", "holds"]
    assert statuses(verified(key_section(), rows({"pol": "x", "pkfp": "00"}, {}))) == ["never", "holds"]
    result = verified(key_section(), rows({}, {"pcrs": 11}))
    assert (statuses(result), len(result.faults)) == (["holds"], 1)


def test_other_registers_and_banks_are_not_calculated():
    (policy,) = policies(key_section())
    assert statuses(verified(key_section(), section(signed(policy, pcrs=(7, 11))))) == ["unknown"]
    assert statuses(verified(key_section(), section(signed(policy), bank="sm3_256"))) == ["unknown"]


@pytest.mark.parametrize("sections", [(), (SectionSpec(".pcrsig", b"{"),), (SectionSpec(".pcrsig", b"{}"),)], ids=len)
def test_nothing_is_signed(sections: tuple[SectionSpec, ...]):
    result = verified(key_section(), *sections)
    assert (result.verdicts, len(result.missing)) == ((), 1)


WHOLE = pcrsig.build([Bank("sha256", (signed(policies(key_section())[0]),))])


@settings(max_examples=60)
@given(mutated(WHOLE) | mutated(public(RSA)).map(lambda pem: (pem,)))
def test_whatever_the_sections_hold(data: bytes | tuple[bytes]):
    sections = (key_section(), SectionSpec(".pcrsig", data))
    if isinstance(data, tuple):
        sections = (SectionSpec(".pcrpkey", data[0]), SectionSpec(".pcrsig", WHOLE))
    result = verified(*sections)
    assert all(one.held for one in result.verdicts if one.status in ("holds", "only"))


# --- ukify -----------------------------------------------------------------------------------------------------------

UKIFY = """
import base64, json, pathlib, subprocess, sys, tempfile, zipfile
folder = pathlib.Path(tempfile.mkdtemp())
archive = zipfile.ZipFile(sys.argv[0])
archive.extractall(folder)
for path in folder.iterdir():
    path.chmod(0o700)
ukify = ["ukify", "build", "--stub=stub.efi", "--linux=linux", "--cmdline=quiet", "--os-release=ID=x", "--uname=6.1"]
made = []
for options in json.loads(archive.read("options.json")):
    subprocess.run([*ukify, *options, "--output=out.efi"], cwd=folder, check=True, stdout=2)
    made.append(base64.b64encode((folder / "out.efi").read_bytes()).decode())
print(json.dumps(made))
"""


def ukified(run: Callable[..., str], files: dict[str, bytes], builds: Sequence[Sequence[str]]) -> list[bytes]:
    """What ukify of Debian testing builds with each of these options."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("__main__.py", UKIFY)
        archive.writestr("options.json", json.dumps([list(options) for options in builds]))
        for name, content in files.items():
            archive.writestr(name, content)
    return [base64.b64decode(each) for each in json.loads(run("python3", file.getvalue(), "{}"))]


def pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_what_systemd_measure_257_signs_of_an_hwids():
    """Its content by the name of .dtbauto; that this is what it does: test_what_ukify_signs."""
    table = samples.table((hwids.DEVICETREE, samples.COMPATIBLE))
    own = image(table, key_section(), stub="systemd-stub 257.13")
    by_other_name = [
        row._replace(description=".dtbauto", digests={"sha256": sha256(b".dtbauto\0").digest()})
        if row.description == ".hwids" and row.digests["sha256"] == sha256(b".hwids\0").digest()
        else row
        for row in boot(own, Host(), Start()).events(Measured)
        if row.pcr == 11
    ]
    value = bytes(32)
    for row in [*by_other_name, None]:
        digest = sha256(PHASE.encode()).digest() if row is None else row.digests["sha256"]
        value = sha256(value + digest).digest()
    entry = signed(pcrsig.policy_pcr("sha256", {11: value}))
    made = image(table, section(entry), key_section(), stub="systemd-stub 257.13")
    (verdict,) = verify(made, [], Start(), phases=(PHASE,)).verdicts
    assert verdict.status == "never"
    assert "measures .dtbauto and .hwids by each other's name" in (verdict.because or "")


STUB_SBAT = b"sbat,1,SBAT Version,sbat,1,https://example.org\nstub,1,x,stub,1,https://example.org\n"
BANKS = ("sha1", "sha256", "sha384")
OF_THE_BANK = "it is signed with {}, as systemd-measure 255 and 257 do, and the TPM checks sha256"
# Debian and the stub that goes with its ukify.
UKIFIES = {"trixie": "257.13-1", "testing": "262.1-1"}


def ingredients(stub: str) -> dict[str, bytes]:
    """What ukify is given: a stub of this version and files by their names."""
    sections = [
        SectionSpec(".text", b"\xf4" * 512, characteristics=0x6000_0020),
        SectionSpec(".sdmagic", f"#### LoaderInfo: systemd-stub {stub} ####\0".encode()),
        SectionSpec(".sbat", STUB_SBAT),
    ]
    device = {"type": "devicetree", "name": "x", "compatible": samples.COMPATIBLE, "hwids": [str(samples.CHID)]}
    return {
        "stub.efi": pe.build(sections, entry_point=4096, file_alignment=4096),
        "linux": samples.KERNEL,
        "key": pem(RSA),
        "public": public(RSA),
        "ecc": pem(ECC),
        "ecc-public": public(ECC),
        "rescue.efi": pe.build(PROFILES[1:]),
        "hwids/a.json": json.dumps(device).encode(),
        "tree": samples.devicetree().data,
    }


SIGN = ("--pcr-private-key=key", "--pcr-public-key=public", "--pcrpkey=public", "--pcr-banks=sha1,sha256,sha384")
SIGN_ECC = ("--pcr-private-key=ecc", "--pcr-public-key=ecc-public", "--pcrpkey=ecc-public", "--pcr-banks=sha256")
TWO_PROFILES = (*SIGN, "--profile=ID=main", "--join-profile=rescue.efi")


def of(data: bytes, phases: Sequence[str] = PHASES) -> Verification:
    return verify(uki.Uki(pe.open_bytes(data, "u.efi")), [], Start(), phases=phases, banks=None)


@pytest.mark.oracle
@pytest.mark.parametrize("suite", UKIFIES)
def test_what_ukify_signs(newer_oracle: Callable[..., str], suite: str):
    plain, profile, machines = ukified(
        partial(newer_oracle, suite=suite),
        ingredients(UKIFIES[suite]),
        [SIGN, [*TWO_PROFILES, ENTER], [*SIGN, "--hwids=hwids", "--devicetree-auto=tree", ENTER]],
    )
    # 257 still signs by the hash of the bank, as 255 does, which no TPM is asked for.
    banks = ["sha1", "sha256", "sha384"] if suite == "testing" else ["sha256"]
    result = of(plain)
    assert (statuses(result), result.missing) == (
        ["holds" if b in banks else "never" for b in BANKS for _ in PHASES],
        (),
    )
    others = {one.because for one in result.verdicts if one.bank not in banks}
    assert others == {OF_THE_BANK.format(bank) for bank in BANKS if bank not in banks}
    result = of(profile, [PHASE])
    assert (statuses(result), result.missing) == (["holds" if b in banks else "never" for b in BANKS] * 2, ())
    assert {one.held[0].handed.profile for one in result.verdicts if one.held} == {0, 1}
    result = of(machines, [PHASE])
    held = {text for one in result.verdicts for row in one.held for text in row.value.conditions}
    missing = {text for one in result.missing for text in one.conditions}
    assert any("no devicetree entry matches" in text for text in missing)
    assert not held & missing
    if suite == "trixie":
        # Its systemd-measure has the names of .dtbauto and .hwids in each other's place, so it signs what no stub has.
        assert statuses(result) == ["never"] * 3
        assert all("by each other's name" in (one.because or "") for one in result.verdicts)
        assert mixed_up(newer_oracle, suite)
        return
    # It signs for a machine whose devicetree is chosen, and for no other.
    assert statuses(result) == ["only"] * 3
    assert any(f"the machine has CHID {samples.CHID}" in text for text in held)
    assert not mixed_up(newer_oracle, suite)


def mixed_up(newer_oracle: Callable[..., str], suite: str) -> bool:
    """Whether systemd-measure measures an .hwids by the name of .dtbauto; a stub's recorded events have it right."""
    values = []
    for option in ("hwids", "dtbauto"):
        command = ["/usr/lib/systemd/systemd-measure", "calculate", "--linux={}", f"--{option}={{}}"]
        told = newer_oracle("env", b"x", *command, "--bank=sha256", "--phase=:", "--json=short", suite=suite)
        values.append(json.loads(told)["sha256"][0]["hash"])
    value = bytes(32)
    for content in (b".linux\0", b"x", b".hwids\0", b"x"):
        value = sha256(value + sha256(content).digest()).digest()
    assert value.hex() in values
    return value.hex() != values[0]


@pytest.mark.oracle
def test_what_only_a_newer_ukify_signs(newer_oracle: Callable[..., str]):
    """ECC keys, and policies of the initrd's own, by a reference."""
    ecc, initrd = ukified(newer_oracle, ingredients("262.1-1"), [SIGN_ECC, [*SIGN, "--sign-initrd-pcrs"]])
    result = of(ecc)
    assert (statuses(result), result.missing) == (["holds"] * 4, ())
    result = of(initrd)
    assert (set(statuses(result)), result.missing) == ({"holds"}, ())
    assert {one.entry.ref for one in result.verdicts} == {None, "initrd"}


@pytest.mark.oracle
@pytest.mark.parametrize("suite", UKIFIES)
def test_a_tpm_takes_the_signatures_that_hold(
    tmp_path: Path, oracle: Callable[[str], str], newer_oracle: Callable[..., str], suite: str
):
    """As systemd does it: PCR 11 is extended, read back, made a policy, and that authorized by key and signature."""
    (data,) = ukified(partial(newer_oracle, suite=suite), ingredients(UKIFIES[suite]), [TWO_PROFILES])
    result = of(data)
    assert result.missing == ()
    for profile in (0, 1):
        done = boot(uki.Uki(pe.open_bytes(data, "u.efi")), Host(), Start(profile=profile))
        folder = tmp_path / f"tpm{profile}"
        folder.mkdir()
        (folder / "public").write_bytes(public(RSA))
        with software_tpm(folder, oracle) as environment:
            tpm = Tools(folder, environment, oracle)
            tpm.extend(*(event.digests["sha256"] for event in done.events(Measured) if event.pcr == 11))
            for phase in ("", *PHASES):
                if phase:
                    tpm.extend(sha256(phase.rpartition(":")[2].encode()).digest())
                value, policy = tpm.policy()
                held = [
                    (one.entry, row)
                    for one in result.verdicts
                    for row in one.held
                    if one.bank == "sha256" and row.handed.profile == profile and row.value.phase == phase
                ]
                assert len(held) == bool(phase)
                for entry, row in held:
                    assert (row.value.value, entry.pol) == (value, policy)
                    assert tpm.authorizes(policy, entry.sig or b"")
                    assert not tpm.authorizes(policy, (entry.sig or b"")[::-1])


class Tools:
    """tpm2-tools in a folder, on one TPM."""

    def __init__(self, folder: Path, environment: dict[str, str], oracle: Callable[[str], str]) -> None:
        self.folder, self.environment, self.oracle = folder, environment, oracle

    def run(self, name: str, *arguments: str, check: bool = True) -> bool:
        command = [self.oracle(name), *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, check=check, capture_output=True)
        return done.returncode == 0

    def extend(self, *digests: bytes) -> None:
        self.run("tpm2_pcrextend", *[f"11:sha256={digest.hex()}" for digest in digests])

    def policy(self) -> tuple[bytes, bytes]:
        """The register, and the policy of it as the TPM makes it."""
        self.run("tpm2_pcrread", "sha256:11", "-o", "pcr")
        self.run("tpm2_startauthsession", "-S", "session")
        self.run("tpm2_policypcr", "-S", "session", "-l", "sha256:11", "-L", "policy")
        self.run("tpm2_flushcontext", "session")
        return (self.folder / "pcr").read_bytes(), (self.folder / "policy").read_bytes()

    def authorizes(self, policy: bytes, signature: bytes) -> bool:
        """TPM2_PolicyAuthorize() for the state of the register, by the key and its signature of the policy."""
        (self.folder / "signature").write_bytes(signature)
        self.run("tpm2_loadexternal", "-C", "o", "-G", "rsa", "-u", "public", "-c", "key", "-n", "name")
        check = ("-c", "key", "-g", "sha256", "-m", "policy", "-s", "signature", "-f", "rsassa", "-t", "ticket")
        signed = self.run("tpm2_verifysignature", *check, check=False)
        self.run("tpm2_flushcontext", "-t")
        if not signed:
            return False
        self.run("tpm2_startauthsession", "--policy-session", "-S", "session")
        self.run("tpm2_policypcr", "-S", "session", "-l", "sha256:11")
        taken = self.run(
            "tpm2_policyauthorize", "-S", "session", "-i", "policy", "-n", "name", "-t", "ticket", check=False
        )
        self.run("tpm2_flushcontext", "session")
        return taken
