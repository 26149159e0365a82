#!/bin/sh
# Removes the service and its program; keeps the configuration, the state and the group that may read them.
set -eu

opt=/opt/queuewarden
command=/usr/local/bin/queuewarden

say() { printf 'queuewarden: %s\n' "$*"; }

if [ "$(id -u)" -ne 0 ]; then
    say "uninstalling needs root; run it with sudo" >&2
    exit 1
fi

if [ -d /run/systemd/system ] && [ -e /etc/systemd/system/queuewarden.service ]; then
    systemctl disable --now --quiet queuewarden
fi
if [ -d /run/systemd/system ]; then
    systemctl stop 'queuewarden-upkeep@*'
fi
rm -f /etc/systemd/system/queuewarden.service /etc/systemd/system/queuewarden-upkeep@.service \
    /etc/systemd/system/queuewarden-upkeep@.timer /etc/systemd/system/timers.target.wants/queuewarden-upkeep@*.timer
[ "$(readlink "$command" || true)" != "$opt/current/bin/queuewarden" ] || rm "$command"
rm -rf "$opt"
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # A service that had failed would stay listed.
    systemctl reset-failed queuewarden 'queuewarden-upkeep@*' 2>/dev/null || true
fi

say "removed. Kept: the configuration (/etc/queuewarden, drop-ins of the unit, the group queuewarden-config)"
say "and the state (/var/lib/private/queuewarden). To remove these as well:"
say "  sudo rm -rf /etc/queuewarden /etc/systemd/system/queuewarden*.d /etc/sysusers.d/queuewarden.conf /var/lib/queuewarden /var/lib/private/queuewarden"
say "  sudo groupdel queuewarden-config"
[ ! -d /var/lib/queuewarden-upkeep ] || say "backups are kept, too: /var/lib/queuewarden-upkeep"
