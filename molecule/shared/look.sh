#!/bin/sh
# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Every file that a rotation could touch on this host: its content's digest, its owner and mode, and when it was written; and
# since when each service runs, and when it was last reloaded.
find /etc/ingest /etc/stream /run/relay /var/log/stream-key-rotation.log -type f 2>/dev/null | sort | while read -r file; do
    echo "$(sha256sum "$file") $(stat -c '%U %G %a %i %Y' "$file")"
done
systemctl show -p Id,ActiveState,MainPID,ActiveEnterTimestamp,ExecReload allow relay ingest encoder
