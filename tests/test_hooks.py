"""The pre-commit hook and the GitHub Action: well formed, and their commands do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.samples import ROOT

HOOKS = ROOT / ".pre-commit-hooks.yaml"
ACTION, FLEET_ACTION = ROOT / "action.yml", ROOT / "fleet" / "action.yml"
SETS = ROOT / "fixtures" / "hwids"
BIN = Path(sys.executable).parent


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment}
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)


def test_the_manifest_is_valid(tmp_path: Path):
    done = run(sys.executable, "-m", "pre_commit", "validate-manifest", HOOKS, PRE_COMMIT_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize(("folder", "status"), [("example-zero-id", 1), ("huawei-c233-fixed", 0)])
def test_the_hooks_command(folder: str, status: int):
    (hook,) = yaml.safe_load(HOOKS.read_text())
    done = run(*hook["entry"].split(), SETS / folder)
    assert done.returncode == status, done.stderr


def test_the_hook_is_for_descriptions_only():
    (hook,) = yaml.safe_load(HOOKS.read_text())
    assert hook["pass_filenames"] is False
    for path, wanted in (
        ("boot/hwids/aa64/x.json", True),
        ("hwids/x.json", True),
        ("src/x.json", False),
        ("hwids/x.py", False),
        ("tests/machines/x.dmi", True),
        ("hosts/x.json", True),
    ):
        assert bool(re.search(hook["files"], path)) == wanted


@pytest.mark.oracle
def test_pre_commit_runs_the_hook(tmp_path: Path):
    """As a user of the hook: this tree as the hook's repository, another one with a set that is bad, then good."""
    if shutil.which("git") is None:
        pytest.skip("oracle not installed: git")
    hooks, project = tmp_path / "stubsim", tmp_path / "project"
    for name in ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml", "scripts", "stubsim"):
        source, target = ROOT / name, hooks / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    shutil.copytree(SETS / "example-zero-id", project / "boot" / "hwids")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for repository in (hooks, project):
        for command in (["init", "-q", "."], ["add", "-A"], ["commit", "-qm", "x"]):
            done = run(*git, *command, cwd=repository)
            assert done.returncode == 0, done.stderr
    revision = run("git", "rev-parse", "HEAD", cwd=hooks).stdout.strip()
    hook = {"id": "stubsim-hwids", "args": ["boot/hwids"]}
    config = {"repos": [{"repo": str(hooks), "rev": revision, "hooks": [hook]}]}
    (project / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    done = run(*command, cwd=project, PRE_COMMIT_HOME=str(tmp_path / "cache"))
    assert done.returncode == 1, done.stderr
    assert "HW203" in done.stdout
    shutil.rmtree(project / "boot" / "hwids")
    shutil.copytree(SETS / "huawei-c233-fixed", project / "boot" / "hwids")
    run(*git, "add", "-A", cwd=project)
    done = run(*command, cwd=project, PRE_COMMIT_HOME=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("action", [ACTION, FLEET_ACTION], ids=["lint", "fleet"])
def test_the_action_is_valid(action: Path):
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-actions", action)
    assert done.returncode == 0, done.stdout


def action_step(name: str, path: Path = ACTION) -> Any:
    action = yaml.safe_load(path.read_text())
    return next(step for step in action["runs"]["steps"] if step.get("name") == name)


@pytest.mark.parametrize("path", [ACTION, FLEET_ACTION], ids=["lint", "fleet"])
def test_every_input_is_used_and_none_gets_into_a_script(path: Path):
    action = yaml.safe_load(path.read_text())
    env = " ".join(str(step.get("env", "")) for step in action["runs"]["steps"])
    for name in action["inputs"]:
        assert f"inputs.{name} " in env
    assert not any("${{" in step.get("run", "") for step in action["runs"]["steps"])


@pytest.mark.parametrize(
    ("paths", "more", "status", "text"),
    [
        ("example-zero-id", {}, 1, "HW203"),
        ("example-zero-id\nhuawei c233\n", {"FAIL_ON": "never"}, 0, "HW203"),
        ("huawei c233", {}, 0, "nothing found"),
        ("huawei c233", {"HOSTS": str(ROOT / "fixtures" / "hosts")}, 1, "HW207"),
        ("missing", {}, 2, ""),
    ],
)
def test_the_actions_script(tmp_path: Path, paths: str, more: dict[str, str], status: int, text: str):
    shutil.copytree(SETS / "example-zero-id", tmp_path / "example-zero-id")
    shutil.copytree(SETS / "huawei-c233", tmp_path / "huawei c233")
    script = action_step("Lint")["run"]
    environment = {"PATHS": paths, "HOSTS": "", "FAIL_ON": "warning", "SARIF": "out.sarif", **more}
    # As GitHub runs `shell: bash`.
    done = run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script, cwd=tmp_path, **environment)
    assert done.returncode == status, done.stderr
    assert text in done.stdout
    assert (tmp_path / "out.sarif").exists() == (status != 2)
    done = run("bash", "-eo", "pipefail", "-c", script, cwd=tmp_path, **{**environment, "SARIF": ""})
    assert done.returncode == status


@pytest.mark.parametrize(
    ("after", "more", "status"), [("after", {}, 0), ("after", {"FAIL_ON_CHANGE": "true"}, 1), ("none", {}, 2)]
)
def test_the_fleet_actions_script_comments(tmp_path: Path, after: str, more: dict[str, str], status: int):
    pytest.importorskip("duckdb")
    shutil.copytree(SETS / "huawei-c233", tmp_path / "before")
    shutil.copytree(SETS / "huawei-c233-fixed", tmp_path / "after")
    # In place of GitHub's own program.
    program = tmp_path / "gh"
    program.write_text('#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done; cp "$1" comment\n')
    program.chmod(0o755)
    environment = {
        "BEFORE": "before", "AFTER": after, "HOSTS": str(ROOT / "fixtures" / "fleet" / "machines.csv"),
        "GIVEN": "edid=null\nsecure_boot=false\n", "MAP": "", "FAIL_ON_CHANGE": "false", "COMMENT": "true",
        "PULL_REQUEST": "https://example.invalid/1", "RUNNER_TEMP": str(tmp_path),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "PATH": os.pathsep.join((str(tmp_path), str(BIN), os.environ["PATH"])), **more,
    }  # fmt: skip
    script = action_step("Compare", FLEET_ACTION)["run"]
    done = run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script, cwd=tmp_path, **environment)
    assert done.returncode == status, done.stderr
    comment = tmp_path / "comment"
    if status < 2:
        assert "**5 of 36 machines change**" in comment.read_text()
        assert comment.read_text() == (tmp_path / "summary").read_text()
    else:
        assert not comment.exists()
