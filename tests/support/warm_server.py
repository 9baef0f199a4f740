# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: python warm_server.py DIRECTORY-OF-THE-COLLECTION DIRECTORY-FOR-BUILT-MODULES < jobs
"""Starts ``ansible-playbook`` again and again without importing Ansible and this collection each time.

Each line on standard input is a job (argv, env, cwd, captured); each line on standard output the process id of the
``ansible-playbook`` that was forked for it, in a session of its own. Its wait status goes to the file ``status``.

A run reads its settings again, from its own environment and configuration file. What Ansible takes from settings when it is
imported, such as where plugins lie, stays the server's: a server serves runs that agree in all settings but those of WarmServers.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import gc
import hashlib
import json
import logging
import marshal
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from functools import cache
from importlib import import_module
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from ansible import constants
from ansible._internal._datatag._tags import TrustedAsTemplate
from ansible.cli import playbook
from ansible.config import manager
from ansible.parsing import dataloader
from ansible.plugins import loader
from ansible.utils import display
from ansible.utils.path import cleanup_tmp_file
from warm_shortcuts import (
    compile_templates_once,
    find_once,
    leave_templates,
    link,
    use_huge_pages,
    wait_for_results,
)

PLUGINS = "ansible_collections.keyturn.runbooks.plugins"
# What ansible-playbook loads before its first task, and what the first task's worker loads.
LOADED = (
    "become",
    "cache",
    "callback",
    "connection",
    "filter",
    "inventory",
    "shell",
    "strategy",
    "test",
)
IMPORTED = (
    "ansible.executor.process.worker",
    "ansible.executor.task_executor",
    "ansible.playbook.handler_task_include",
    "ansible.playbook.role_include",
    "ansible.plugins.filter.core",
    "ansible.plugins.filter.mathstuff",
    "ansible.plugins.filter.urls",
    "ansible.plugins.filter.urlsplit",
    "ansible.plugins.test.core",
    "ansible.plugins.test.files",
    "ansible.plugins.test.mathstuff",
    "ansible.plugins.test.uri",
    "ansible.plugins.vars.host_group_vars",
    "multiprocessing.popen_fork",
    "multiprocessing.synchronize",
)


# What a run whose surroundings name such a server imports before it forks a worker, or the worker itself.
LIBRARIES = {"VAULT_": "hvac", "AWS_": "boto3", "KUBECONFIG": "kubernetes.client"}


class WithBytecode(zipfile.ZipFile):
    """What Ansible packs a module into, with every source compiled beside it.

    A module that is run as a program of its own would compile its hundred sources each time. An interpreter of another version
    takes no notice of it.

    :cvar kept: where compiled sources are kept for the next module.
    """

    kept: Path

    def writestr(
        self, zinfo_or_arcname: str | zipfile.ZipInfo, data: Any, *more: Any, **options: Any
    ) -> None:
        super().writestr(zinfo_or_arcname, data, *more, **options)
        name = getattr(zinfo_or_arcname, "filename", zinfo_or_arcname)
        if name.endswith(".py"):
            super().writestr(f"{name}c", self._compiled(name, data))

    def _compiled(self, name: str, data: str | bytes) -> bytes:
        source = data.encode() if isinstance(data, str) else data
        path = self.kept / hashlib.sha256(name.encode() + b"\0" + source).hexdigest()
        if not path.exists():
            # 1: it holds without a look at the source's time.
            unchecked = (1).to_bytes(4, "little") + bytes(8)
            code = marshal.dumps(compile(source, name, "exec", dont_inherit=True))
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(MAGIC_NUMBER + unchecked + code)
            part.rename(path)
        return path.read_bytes()


def compile_settings_once() -> None:
    """Ansible's settings name each other in templates; what they are compiled to depends on their text alone."""
    environment: Any = manager.NativeEnvironment()
    environment.from_string = cache(environment.from_string)
    manager.NativeEnvironment = lambda: environment


def remember_plain_plugins() -> None:
    """Of a plugin without options Ansible reads the documentation again and again, to find that it has none."""
    load = loader.PluginLoader._load_config_defs
    plain = set()

    def load_once(self: Any, name: str, module: Any, path: str) -> None:
        plugin = (self.class_name, name, path, getattr(module, "DOCUMENTATION", ""))
        if plugin not in plain:
            load(self, name, module, path)
            kind = loader.get_plugin_class(self.class_name or "")
            if not constants.config.has_configuration_definition(kind, name):
                plain.add(plugin)

    loader.PluginLoader._load_config_defs = load_once


def parse_once(collection: Path) -> None:
    """Parse the collection's playbooks and its role, for runs that read the same text there.

    Ansible works on a copy, of which the first one of each run is made here, too.
    """
    read, copied = dataloader.from_yaml, copy.deepcopy
    parsed, ready = {}, {}
    for path in [*collection.glob("playbooks/*.yml"), *collection.glob("roles/*/*/*.yml")]:
        text = path.read_text(encoding="utf-8")
        made = read(TrustedAsTemplate().tag(text), file_name=str(path))
        parsed[str(path), text], ready[id(made)] = made, copied(made)

    def take(data: str, file_name: str | None = None, **more: Any) -> Any:
        known = TrustedAsTemplate.is_tagged_on(data) and parsed.get((file_name, data))
        return known or read(data, file_name=file_name, **more)

    dataloader.from_yaml = take
    dataloader.copy = SimpleNamespace(
        deepcopy=lambda value: ready.pop(id(value), None) or copied(value)
    )


def preload(collection: Path, kept: Path) -> None:
    """Import what every run imports, and read what every run reads."""
    compile_settings_once()
    remember_plain_plugins()
    WithBytecode.kept = kept.with_name("bytecode")
    WithBytecode.kept.mkdir(mode=0o700, exist_ok=True)
    zipfile.ZipFile = WithBytecode
    loader.init_plugin_loader()
    warnings.filterwarnings("ignore", message="AnsibleCollectionFinder has already been configured")
    for kind in ("action", "filter"):
        for path in (collection / "plugins" / kind).glob("*.py"):
            import_module(f"{PLUGINS}.{kind}.{path.stem}")
    for kind in LOADED:
        list(getattr(loader, f"{kind}_loader").all(class_only=True))
    for name in IMPORTED:
        import_module(name)
    parse_once(collection)
    modules = [path.stem for path in (collection / "plugins" / "modules").glob("*.py")]
    find_once(collection / "plugins", [f"keyturn.runbooks.{name}" for name in modules])
    templates = kept.with_name("templates")
    templates.mkdir(mode=0o700, exist_ok=True)
    compile_templates_once(templates)
    wait_for_results()
    for name in constants.config.get_configuration_definitions():
        constants.config.get_config_value(name, variables=vars(constants))
    # What lives as long as the server need not be looked through in each worker of each run, nor all that a short run makes.
    gc.freeze()
    gc.set_threshold(50_000)
    use_huge_pages()


def preload_libraries(env: dict[str, str]) -> None:
    """Import what a run with this environment will import; what is not installed it will miss itself."""
    names = [LIBRARIES[begin] for begin in LIBRARIES if any(name.startswith(begin) for name in env)]
    missing = [name for name in names if name not in sys.modules]
    for name in missing:
        with contextlib.suppress(ImportError):
            import_module(name)
    if missing:
        gc.freeze()
        use_huge_pages()


def take_surroundings(job: dict[str, Any]) -> None:
    """Standard streams, directory and environment of a job, instead of the server's."""
    os.setsid()
    os.chdir(job["cwd"])
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (Path(job["captured"]) / name).open("wb") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(job["env"])
    time.tzset()
    tempfile.tempdir = None


def read_settings() -> None:
    """What Ansible does with settings when it is imported, where the result differs between runs."""
    # The server's own temporary directory is the server's to remove; reading the settings makes another one.
    atexit.unregister(cleanup_tmp_file)
    config = constants.config
    config._config_file = manager.find_ini_config_file(config.WARNINGS)
    config._parse_config_file()
    for name in config.get_configuration_definitions():
        value = config.get_config_value(name, variables=vars(constants))
        constants.set_constant(name, value)
    for handler in logging.root.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()
            handler.baseFilename = constants.DEFAULT_LOG_PATH
    # A fork takes away the lock that keeps threads from writing while a worker is forked.
    for stream in (sys.stdout, sys.stderr):
        display._synchronize_textiowrapper(stream, display.Display()._lock)


def share_modules(kept: Path) -> None:
    """Take the modules that earlier runs built from their sources, and leave the ones that this run builds.

    It is Ansible's own cache for the tasks of one run. What it holds depends on sources and settings alone, never on a task.
    """
    cache = Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache"
    cache.mkdir()
    link(kept, cache)
    atexit.register(link, cache, kept)


def run(job: dict[str, Any], kept: Path) -> NoReturn:
    """Be the ``ansible-playbook`` of a job."""
    take_surroundings(job)
    code = 1
    try:
        read_settings()
        share_modules(kept)
        leave_templates(kept.with_name("templates"))
        sys.argv = ["ansible-playbook", *job["argv"]]
        playbook.main(sys.argv)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        # Nobody else tells of it: this process never gets to its own end.
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def watch(job: dict[str, Any], kept: Path, told: int) -> NoReturn:
    """Fork the run, tell its process id, and write down how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(told)
        run(job, kept)
    os.write(told, str(pid).encode())
    os.close(told)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    part = Path(job["captured"]) / "status.part"
    part.write_text(str(code))
    part.rename(part.with_suffix(""))
    os._exit(0)


def serve(kept: Path) -> None:
    """Until the end of standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while line := sys.stdin.readline():
        job = json.loads(line)
        preload_libraries(job["env"])
        heard, told = os.pipe()
        if os.fork() == 0:
            os.close(heard)
            watch(job, kept, told)
        os.close(told)
        pid = os.read(heard, 32).decode()
        os.close(heard)
        print(pid, flush=True)


if __name__ == "__main__":
    preload(Path(sys.argv[1]), Path(sys.argv[2]))
    serve(Path(sys.argv[2]))
