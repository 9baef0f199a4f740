# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of secrets in images beside the rules of the scanner's package: formats that it lacks, and names of files. Pure."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Mapping, Optional, Pattern, Tuple

Format = Tuple[str, Tuple[str, ...], Pattern[str]]
"""What it is, texts of which one is always in it, and the expression; its group, where there is one, is the value."""

FORMATS: Tuple[Format, ...] = (
    (
        "private key",
        ("PRIVATE KEY",),
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:\s|\\[nr])*(?:[A-Za-z-]{1,40}: [^\n\\]{0,200}(?:\s|\\[nr])+){0,4}([A-Za-z0-9+/=\s\\]{64,})"
        ),
    ),
    (
        "PuTTY private key",
        ("PuTTY-User-Key-File-",),
        re.compile(r"PuTTY-User-Key-File-[23]: [^\n]{1,40}"),
    ),
    (
        "age private key",
        ("AGE-SECRET-KEY-1",),
        re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}"),
    ),
    (
        "GitHub token, fine-grained",
        ("github_pat_",),
        re.compile(r"\bgithub_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}\b"),
    ),
    ("GitLab token", ("glpat-",), re.compile(r"\bglpat-[0-9A-Za-z_-]{20,64}")),
    ("PyPI token", ("pypi-AgE",), re.compile(r"\bpypi-AgE[0-9A-Za-z_-]{50,}")),
    ("Google API key", ("AIza",), re.compile(r"\bAIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])")),
    (
        "Vault token",
        ("hvs.", "hvb.", "hvr."),
        re.compile(r"(?<![\w.])hv[sbr]\.[0-9A-Za-z_-]{24,}"),
    ),
    (
        "OpenAI or Anthropic key",
        ("sk-",),
        re.compile(
            r"(?<![\w-])sk-(?:proj-|svcacct-|ant-[a-z0-9]+-)?(?=[\w-]*[0-9])(?=[\w-]*[A-Z])[\w-]{40,}"
        ),
    ),
    (
        "Telegram bot token",
        (":AA",),
        re.compile(r"(?<![\w:])[0-9]{8,10}:AA[0-9A-Za-z_-]{33}(?![0-9A-Za-z_-])"),
    ),
    (
        "Azure account key",
        ("AccountKey=",),
        re.compile(r"AccountKey=([0-9A-Za-z+/]{86}==)"),
    ),
    (
        "registry login",
        ('"auth"',),
        re.compile(r'"auth"\s*:\s*"([0-9A-Za-z+/]{12,}={0,2})"'),
    ),
)

_NAMES: Mapping[str, Pattern[str]] = MappingProxyType(
    {
        "env file": re.compile(
            r"(?:^|/)\.env(?:\.(?!example$|sample$|template$|tmpl$|dist$|defaults?$)[^/]+)?$"
        ),
        "SSH private key": re.compile(r"(?:^|/)id_(?:rsa|dsa|ecdsa|ed25519)$"),
        "key store": re.compile(r"\.(?:p12|pfx|jks|keystore|kdbx)$"),
        "credentials file": re.compile(
            r"(?:^|/)(?:\.aws/credentials|\.docker/config\.json|\.dockercfg|\.git-credentials|\.netrc|_netrc|\.pgpass|\.pypirc"
            r"|\.my\.cnf|\.vault-token|\.vault-keys|\.kube/config|\.htpasswd|credentials\.json|service[-_]account[^/]*\.json"
            r"|\.config/gcloud/[^/]*credentials[^/]*|terraform\.tfstate(?:\.backup)?)$"
        ),
        "history of a shell": re.compile(
            r"(?:^|/)\.(?:bash|zsh|sh|ash|psql|mysql|python|node_repl)_history$"
        ),
    }
)

OF_OTHERS = re.compile(
    r"(?:^|/)(?:site-packages|dist-packages|node_modules)/"
    r"|^usr/(?:lib|lib32|lib64|libexec|share|include|src)/|^usr/local/(?:lib|include|share)/|^lib(?:32|64)?/"
    r"|^var/(?:lib|cache)/(?:dpkg|apt|rpm|apk|pacman|dnf|yum|debconf|pam|systemd|ucf)/|^etc/(?:ssl|ca-certificates|pki)/"
)
"""Where packages of a distribution or a language are kept: there, names of variables and randomness tell nothing."""

LIBRARY = re.compile(r"\.(?:so(?:\.[0-9.]+)?|a|o)$")
"""A library of such a package: cryptographic ones hold the keys that they test themselves with."""

PLACEHOLDER = re.compile(
    r"example|sample|placeholder|dummy|change.?(?:me|it|this)|replace.?(?:me|with|this)|your[-_ ]|my[-_](?:secret|password|token)"
    r"|xxxx|\.\.\.|\*\*\*|redacted|fixme|todo|insert[-_ ]|not[-_ ]?(?:a[-_ ]|set)|lorem|0123456789|abcdef(?:gh|01)|12345678|deadbeef",
    re.IGNORECASE,
)
_WORDS = frozenset(
    (
        "", "password", "passwd", "pass", "secret", "token", "key", "pw", "pwd", "none", "null", "nil", "true", "false", "yes",
        "no", "test", "default", "required", "optional", "unset", "empty", "foo", "bar", "baz", "user", "undefined", "file",
    )
)  # fmt: skip


def is_placeholder(value: str) -> bool:
    """Whether this stands for a value that somebody is to fill in."""
    bare = value.strip().strip("\"'`<>[](){}$%").lower()
    return (
        bare in _WORDS
        or bool(PLACEHOLDER.search(value))
        or len(set(bare)) < 3
        or (value[:1] in "<{[" and value[-1:] in ">}]")
        or value.startswith(("$", "%", "{{", "ref+", "ENC[", "vault:"))
    )


TELLING = re.compile(
    r"password|passwd|passphrase|secret|token|credential|private|(?:^|[_.-])(?:pass|pwd|auth)(?:$|[_.-])|(?<!public)[_.-]?key(?:$|[_.-])"
    r"|apikey|dsn$|database_url",
    re.IGNORECASE,
)
"""In the name of a variable: it holds a secret."""

ABOUT = re.compile(
    r"(?:^|[_.-]|(?<=[a-z])(?=[A-Z]))(?:name|names|file|path|dir|id|ids|url|uri|ttl|type|length|size|len|header|prefix|suffix|field|param"
    r"|policy|arn|expir\w*|regex|pattern|label|version|algorithm|alg|count|env|hash|selector|mode|rounds|class)$",
    re.IGNORECASE,
)
"""In the name of a variable: it holds something about a secret."""


def name_of_file(path: str) -> Optional[str]:
    """What a file of that name is; none for one that tells nothing."""
    return next((kind for kind, found in _NAMES.items() if found.search(path)), None)
