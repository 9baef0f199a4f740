# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Sourced by the other scripts, and by a developer's shell after `make setup`: where things are, and
# the environment in which Ansible and Python find this collection and its tools.
# shellcheck shell=bash disable=SC2034 # the variables are for who sources this

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/keyturn
build=$root/build
reports=$build/reports

export ANSIBLE_COLLECTIONS_PATH=$build
export PYTHONPATH=$build
if [ -e "$build/venv" ]; then
    PATH=$(readlink "$build/venv")/bin:$PATH
fi

# The folders of tests that attack the whole.
# shellcheck disable=SC2034 # for those who read this file
attacks=(tests/badinput tests/dryrun tests/faults tests/leaks tests/stores)

# step NAME COMMAND...: run it and say how long it took and how it ended.
step() {
    local name=$1 started=$EPOCHREALTIME status=0
    shift
    echo "== $name ..."
    "$@" || status=$?
    echo "== $name: $([ "$status" = 0 ] && echo ok || echo "FAILED with status $status") after $(since "$started") s"
    return "$status"
}

# since EPOCHREALTIME: the seconds passed, with one decimal.
since() {
    awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'
}
