# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/bash
.DEFAULT_GOAL := help
ATTACKS := tests/badinput tests/dryrun tests/faults tests/leaks tests/stores
.PHONY: help setup demo demo-ssm demo-stores demo-streams test molecule lint sanity docs-lint unit integration soak pages benchmarks benchmarks-stores servers tarball changelog clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## install what the others need: Debian packages (as root), a virtual environment, build/
	@scripts/setup

demo: setup  ## a rotation on an embedded estate under load
	@. scripts/env.sh && demo/run

demo-ssm: setup  ## an application's secrets in AWS: first values, rotations, images, audit, a theft
	@. scripts/env.sh && demo/ssm

demo-stores: setup  ## one that publishes to AWS, Vault, Kubernetes and a file at once, on real servers
	@. scripts/env.sh && demo/stores

demo-streams: setup  ## one of a stream key on hosts with systemd, with a picture of the test stream (as root)
	@. scripts/env.sh && demo/streams

test: setup  ## everything below, in about 25 minutes on two cores once the caches are filled
	@scripts/test

lint: setup  ## ruff, mypy, shellcheck, antsibull-changelog, ansible-lint
	@scripts/lint

sanity: setup  ## ansible-test sanity, no ignores
	@scripts/sanity

docs-lint: setup  ## antsibull-docs on every module and role
	@scripts/docs-lint

unit: setup  ## the pure parts; ARGS='-k name' is passed to pytest, also below
	@scripts/pytest unit tests/unit $(ARGS)

integration: setup  ## the modules, roles and playbooks on real servers
	@scripts/vault-binary >/dev/null || true
	@scripts/kubernetes-binary >/dev/null || true
	@scripts/dotenv-binary >/dev/null || true
	@scripts/systemd-image >/dev/null || true
	@scripts/pytest integration tests/integration $(ATTACKS) $(ARGS)

molecule: setup  ## stream keys on hosts with systemd; ARGS='test -s NAME' for one scenario
	@scripts/molecule $(ARGS)

soak: setup  ## the attacks at every single point, which takes long
	@KEYTURN_SOAK=1 scripts/pytest soak $(ATTACKS) -o faulthandler_timeout=3600 $(ARGS)

pages: setup  ## the attacks, and the pages about them in docs/; KEYTURN_SOAK=1 for every point
	@scripts/pages $(ARGS)

benchmarks: setup  ## rotations beside those of a playbook of existing modules; writes docs/benchmarks.md
	@benchmarks/run --page docs/benchmarks.md $(ARGS)

benchmarks-stores: setup  ## many values in AWS and Vault beside loops; writes docs/benchmarks-stores.md
	@benchmarks/stores --page docs/benchmarks-stores.md $(ARGS)

servers:  ## build what no package has: servers, docker compose's reader of env files, the machines' image
	@for part in vault-binary kubernetes-binary dotenv-binary systemd-image stream-image; do \
		echo "waiting for: scripts/$$part" && started=$$SECONDS && found=$$(scripts/$$part) || exit; \
		echo "scripts/$$part: $$found, after $$((SECONDS - started)) s"; \
	done

tarball: setup  ## build and install the tarball, and test the installed copy
	@scripts/tarball $(ARGS)

changelog: setup  ## write CHANGELOG.md from the fragments, for the version in galaxy.yml
	@. scripts/env.sh && antsibull-changelog release

clean:  ## remove what was made in this folder; caches shared by clones stay
	rm -rf build tests/output .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
