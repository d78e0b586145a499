"""Write the software bill of materials: what an installed Estim consists of, as CycloneDX 1.6.

Rules:
1. Every package of the lock is there, transitive ones too, with the hashes of its files, its
   licence and who depends on it; and the firmware's core, with the hash of each of its files.
2. The same checkout gives the same bytes: no time and no chance; the serial number follows from
   the content.
3. What is written has been held against the schema of CycloneDX.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

import estim
from firmware_protocol.messages import PROTOCOL_VERSION
from firmware_protocol.schema import SCHEMA_HASH
from tests.supply import lock

FIRMWARE = lock.CHECKOUT / "firmware_protocol" / "c"
FIRMWARE_NAME = "estim-firmware-core"
_LICENCES = LicenseFactory()
_UNREAL = uuid.UUID(int=0)


def main() -> int:
    """Write the bill; return 1 where it is not one."""
    parser = argparse.ArgumentParser(prog="python -m tests.supply.sbom")
    parser.add_argument("--packages", type=Path, required=True, help="site-packages of the lock")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        text = written(bill(arguments.packages))
    except ValueError as error:
        print(f"sbom: {error}", file=sys.stderr)
        return 1
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text, encoding="utf-8")
    count = len(json.loads(text)["components"])
    digest = hashlib.sha256(text.encode()).hexdigest()
    print(f"{arguments.output}: {count} components, valid CycloneDX 1.6, sha256 {digest}")
    return 0


def bill(packages: Path) -> Bom:
    """Return the bill of this checkout, licences taken from the packages as they are installed.

    Raises:
        ValueError: the lock is none, or a package of it is not installed there.
    """
    pinned = lock.read_run()
    root = Component(
        name=lock.ROOT,
        version=estim.__version__,
        type=ComponentType.APPLICATION,
        bom_ref=f"{lock.ROOT}@{estim.__version__}",
        licenses=[_LICENCES.make_from_string("MIT")],
        purl=PackageURL("pypi", None, lock.ROOT, estim.__version__),
    )
    bom = Bom(serial_number=_UNREAL, version=1)
    bom.metadata.component = root
    bom.metadata.timestamp = None  # type: ignore[assignment]  # rule 2; the schema lets it be
    components = {lock.ROOT: root}
    installed = {_plain(each.name): each for each in distributions(path=[str(packages)])}
    for each in pinned:
        found = installed.get(_plain(each.name))
        if found is None or found.version != each.version:
            raise ValueError(f"{each.name} {each.version} is not installed under {packages}")
        components[each.name] = _package(each, found)
    core = _firmware()
    for component in (*(components[each.name] for each in pinned), core):
        bom.components.add(component)
    depends: dict[str, list[Component]] = {name: [] for name in components}
    for each in pinned:
        for name in each.wanted_by:
            depends[name].append(components[each.name])
    depends[lock.ROOT].append(core)
    for name, wanted in depends.items():
        bom.register_dependency(components[name], wanted)
    bom.register_dependency(core)
    return bom


def written(bom: Bom) -> str:
    """Return the bill as JSON, its serial number made from all the rest.

    Raises:
        ValueError: the schema does not take it.
    """
    bom.serial_number = _UNREAL
    draft = JsonV1Dot6(bom).output_as_string(indent=1)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, draft)
    text: str = JsonV1Dot6(bom).output_as_string(indent=1) + "\n"
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        raise ValueError(f"not valid CycloneDX: {fault}")
    return text


def _package(pinned: lock.Pinned, found: Distribution) -> Component:
    properties = [Property(name="estim:needed-where", value=pinned.marker or "everywhere")]
    return Component(
        name=pinned.name,
        version=pinned.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{pinned.name}@{pinned.version}",
        purl=PackageURL("pypi", None, _plain(pinned.name), pinned.version),
        licenses=list(_licences(found)),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in pinned.hashes],
        properties=properties,
    )


def _licences(found: Distribution) -> Iterator[License]:
    """Yield what the package says of its licence: an expression, else a short name."""
    said = found.metadata.json
    stated = str(said.get("license_expression") or said.get("license") or "")
    classified = [
        text.rpartition(" :: ")[2]
        for text in said.get("classifier", [])
        if text.startswith("License :: ")
    ]
    if not stated or "\n" in stated or len(stated) > 100:
        stated = " and ".join(classified)
    if stated:
        yield _LICENCES.make_from_string(stated)  # type: ignore[misc]  # or an expression


def _firmware() -> Component:
    """Return the core in C, as it lies in the checkout, each file of it with its hash."""
    version = f"{PROTOCOL_VERSION}+{SCHEMA_HASH:08x}"
    core = Component(
        name=FIRMWARE_NAME,
        version=version,
        type=ComponentType.FIRMWARE,
        bom_ref=f"{FIRMWARE_NAME}@{version}",
        licenses=[_LICENCES.make_from_string("MIT")],
        description="The reference device in C99; no code of others is linked into it.",
    )
    for path in sorted((*FIRMWARE.glob("*.[ch]"), *FIRMWARE.glob("avr/*.[ch]"))):
        name = path.relative_to(FIRMWARE).as_posix()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        core.components.add(
            Component(
                name=name,
                type=ComponentType.FILE,
                bom_ref=f"{FIRMWARE_NAME}/{name}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            )
        )
    return core


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
