"""Write an artifact, read one back, find the newest."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from moase_edge.artifact.files import sha256_of
from moase_edge.artifact.manifest import SCHEMA_VERSION, Manifest, seal
from moase_edge.artifact.plan_again import command_again
from moase_edge.artifact.swap import restore, restore_below
from moase_edge.config.base import describe_faults
from moase_edge.errors import ArtifactError, ConfigError

MANIFEST = "manifest.json"
DEFAULT_ROOT = Path("artifacts")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder whose manifest was read; `verify` says whether its files are the ones it names."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        """The place of a file that the manifest names.

        Raises:
            ArtifactError: it names no such file, so nothing vouches for one.
        """
        if name not in self.manifest.files:
            raise ArtifactError(f"{self.folder} holds no {name}: its manifest does not name it. {_AGAIN}")
        return self.folder / name

    def verify(self) -> None:
        """Check every file against its hash.

        Raises:
            ArtifactError: a file is missing, leaves the folder through a link, or has changed.
        """
        plans = {entry.file: entry for entry in self.manifest.engines}
        for name in self.manifest.files:
            if fault := self._fault(name):
                advice = command_again(self.folder, plans[name]) if name in plans else None
                raise ArtifactError(f"{fault}. {advice or _AGAIN}")

    def spoilt_plans(self) -> dict[str, str]:
        """What is wrong with which plan, after every other file was checked against its hash.

        Raises:
            ArtifactError: another file is missing, leaves the folder through a link, or has changed.
        """
        plans = {entry.file for entry in self.manifest.engines if entry.built_for is not None}
        faults = {name: fault for name in self.manifest.files if (fault := self._fault(name))}
        for name, fault in faults.items():
            if name not in plans:
                raise ArtifactError(f"{fault}. {_AGAIN}")
        return faults

    def _fault(self, name: str) -> str | None:
        """How a file is not as the manifest says."""
        path, expected = self.path(name), self.manifest.files[name]
        try:
            if self.folder.resolve() not in path.resolve().parents:
                return f"{path} is a link that leaves the artifact's folder"
            found = sha256_of(path) if path.is_file() else None
        except (OSError, RuntimeError) as exc:  # RuntimeError: a link to itself, before Python 3.13
            return f"{path} cannot be read: {exc}"
        if found is None:
            return f"{path} is missing, though the manifest names it"
        if found != expected:
            return f"{path} has changed: sha256 {found[:12]}..., the manifest says {expected[:12]}..."
        return None


_NAMES_SHOWN = 3
_AGAIN = "Copy the artifact again, or make it anew with `moase-edge export --force`."


def write_manifest(folder: Path, fields: dict[str, Any]) -> Manifest:
    """Complete the manifest with the hash of every file in `folder` and write it there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    fields = {
        **fields,
        "schema_version": SCHEMA_VERSION,
        "files": {path.relative_to(folder).as_posix(): sha256_of(path) for path in files},
        "manifest_sha256": "0" * 64,
    }
    plain = Manifest(**fields).model_dump(mode="json")
    plain["manifest_sha256"] = seal(plain)
    (folder / MANIFEST).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return Manifest(**plain)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artifact, checked against its own hash; no other file is read.

    Raises:
        ArtifactError: missing, damaged, of a newer schema, or changed by hand.
    """
    path = folder / MANIFEST
    try:
        aside = restore(folder)
        there, is_folder = folder.exists(), folder.is_dir()
    except OSError as exc:
        raise ArtifactError(
            f"cannot look for an artifact at {folder}: {exc.strerror}. Name another folder."
        ) from exc
    if there and not is_folder:
        meant = f"Did you mean {folder.parent}?" if (folder.parent / MANIFEST).is_file() else _AGAIN
        raise ArtifactError(f"{folder} is a file; an artifact is a folder. {meant}")
    if aside is not None:
        raise ArtifactError(
            f"no artifact at {folder}: a process that was replacing it was killed, and left it in {aside}. "
            f"Move it back: `mv {aside} {folder}`."
        )
    if not there:
        raise ArtifactError(f"no artifact at {folder}: no such folder. Make one with `moase-edge export`.")
    plain = _read_json(path)
    version = plain.get("schema_version")
    if type(version) is not int or version < 1:
        raise ArtifactError(f"{path} is not a valid manifest: its schema version is {version!r}. {_AGAIN}")
    if version > SCHEMA_VERSION:
        raise ArtifactError(
            f"{path} has schema version {version}; this moase-edge reads up to {SCHEMA_VERSION}. "
            "Update moase-edge on this machine, or export again with this version."
        )
    try:
        manifest = Manifest(**plain)
    except ValidationError as exc:
        raise ArtifactError(f"{path} is not a valid manifest:\n{describe_faults(exc)}\n{_AGAIN}") from exc
    if seal(plain) != manifest.manifest_sha256:
        raise ArtifactError(f"{path} has changed since it was written: its own hash differs. {_AGAIN}")
    return manifest


def _read_json(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        inside = sorted(str(found.parent) for found in path.parent.glob(f"[!.]*/{MANIFEST}"))
        meant = f"Did you mean {' or '.join(inside[:_NAMES_SHOWN])}?" if inside else _AGAIN
        raise ArtifactError(f"{path} is missing: {path.parent} is no artifact. {meant}") from exc
    except (OSError, ValueError, RecursionError) as exc:
        raise ArtifactError(f"{path} cannot be read as JSON: {exc}. {_AGAIN}") from exc
    if not isinstance(plain, dict):
        raise ArtifactError(f"{path} holds no JSON object. {_AGAIN}")
    return plain


def load_artifact(folder: Path, *, verify: bool = True) -> Artifact:
    """Read an artifact and, unless told otherwise, check every file's hash.

    Raises:
        ArtifactError: it cannot be trusted, and why.
    """
    artifact = Artifact(folder, read_manifest(folder))
    if verify:
        artifact.verify()
    return artifact


def newest_artifact(root: Path = DEFAULT_ROOT) -> Path:
    """The folder below `root` whose valid manifest was created last.

    Raises:
        ConfigError: there is none; names what was found invalid.
    """
    return usable_artifacts(root)[0]


def usable_artifacts(root: Path = DEFAULT_ROOT) -> list[Path]:
    """The folders below `root` with a valid manifest, the newest first; invalid ones are logged and passed over.

    Raises:
        ConfigError: there is none; names what was found invalid.
    """
    created, refused = {}, []
    restore_below(root)
    for path in sorted(root.glob(f"*/{MANIFEST}")) if root.is_dir() else []:
        if path.parent.name.startswith("."):
            continue
        try:
            created[path.parent] = read_manifest(path.parent).created_at
        except ArtifactError as exc:
            refused.append(f"  {exc}")
    if not created:
        found = "\nNot usable:\n" + "\n".join(refused) if refused else ""
        raise ConfigError(
            f"no artifact under {root}/. Make one with `moase-edge export --backbone vit_b16`, "
            f"or name one with --artifact.{found}"
        )
    for fault in refused:
        logger.warning("passed over an artifact that is not usable: %s", fault.strip())
    return sorted(created, key=lambda folder: created[folder], reverse=True)
