#!/bin/sh
# Installs this checkout as /opt/queuewarden/VERSION, with its unit. Safe to repeat; upgrades and downgrades alike.
# The running version is not touched before the new one has accepted the configuration.
# PYTHON names another interpreter than /usr/bin/python3; pip takes its own settings from PIP_*.
set -eu
umask 022

checkout=$(cd -- "$(dirname -- "$0")/.." && pwd)
python=${PYTHON:-/usr/bin/python3}
opt=/opt/queuewarden
etc=/etc/queuewarden
env_file=$etc/queuewarden.env
command=/usr/local/bin/queuewarden

say() { printf 'queuewarden: %s\n' "$*"; }
fail() {
    say "$*" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || fail "installing needs root; run it with sudo"
command -v systemd-sysusers >/dev/null || fail "systemd is not on this machine; it needs version 250 or newer"
command -v "$python" >/dev/null || fail "there is no $python; name a Python 3.11 or newer: PYTHON=/usr/bin/python3.11"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is older than 3.11; name a newer one: PYTHON=/usr/bin/python3.11"
"$python" -c 'import ensurepip' 2>/dev/null || fail "$python lacks its module venv; on Debian: apt install python3-venv"
root_home=$(getent passwd 0 | cut -d: -f6)
case $(readlink -f "$(command -v "$python")") in
/home/* | "$root_home"/* | /run/user/*) fail "$python is in a home directory, where the service cannot see it; name another: PYTHON=/usr/bin/python3" ;;
esac

mkdir -p "$opt"
exec 9>"$opt/.lock"
flock --nonblock 9 || fail "another installation is under way"

# Built aside, so that a failure at any point leaves no half of a version behind.
new=$opt/.new
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
rm -rf "$new"
say "installing from $checkout"
"$python" -m venv "$new"
"$new/bin/python3" -I -m pip install --quiet --no-warn-script-location "$checkout[http,notify]"
version=$("$new/bin/python3" -I -c 'from importlib.metadata import version; print(version("queuewarden"))')
target=$opt/$version
# A virtual environment knows its place by name: give it the one where it will stand.
grep -rlIF "$new" "$new/bin" "$new/pyvenv.cfg" | xargs sed -i "s|$new|$target|g"

# With an empty environment, as under systemd: what is set in this shell does not count.
queuewarden() { env -i PATH="$PATH" LANG=C.UTF-8 "$new/bin/python3" -I -m queuewarden "$@"; }
current=$(readlink "$opt/current" || true)
if [ -z "$current" ]; then
    queuewarden --version >/dev/null || fail "version $version does not start; nothing was installed"
elif ! queuewarden config validate --config "$env_file"; then
    fail "the new version $version refuses $env_file (see above); version $current stays in place, untouched"
fi

install -D -m 0644 "$checkout/systemd/queuewarden.sysusers.conf" /etc/sysusers.d/queuewarden.conf
systemd-sysusers /etc/sysusers.d/queuewarden.conf
install -d -m 0755 "$etc"
install -d -m 0700 "$etc/credentials"
[ -e "$env_file" ] || install -m 0640 -g queuewarden-config "$checkout/config/queuewarden.env.example" "$env_file"
for unit in queuewarden.service queuewarden-upkeep@.service queuewarden-upkeep@.timer; do
    install -m 0644 "$checkout/systemd/$unit" "/etc/systemd/system/$unit"
done

# A version is replaced by two renames; the program that runs has loaded what it needs.
rm -rf "$opt/.old"
[ ! -e "$target" ] || mv "$target" "$opt/.old"
mv "$new" "$target"
# A link is replaced by a rename, never removed: at no moment is there none.
point() {
    ln -sfn "$2" "$opt/.link"
    mv -fT "$opt/.link" "$opt/$1"
}
[ -z "$current" ] || [ "$current" = "$version" ] || point previous "$current"
point current "$version"
[ -e "$command" ] || ln -sfn "$opt/current/bin/queuewarden" "$command"

previous=$(readlink "$opt/previous" || true)
rm -rf "$opt/.old"
for directory in "$opt"/*/; do
    directory=${directory%/}
    case ${directory##*/} in
    current | previous | "$version" | "$previous") ;;
    *) [ ! -e "$directory/pyvenv.cfg" ] || rm -rf "$directory" ;;
    esac
done
[ ! -d /run/systemd/system ] || systemctl daemon-reload

if [ -z "$current" ]; then
    say "version $version is installed. Next:"
    say "  sudoedit $env_file"
    say "  sudo systemctl enable --now queuewarden"
else
    say "version $version is installed${previous:+; version $previous is kept}. Next:"
    say "  sudo systemctl restart queuewarden"
    say "  journalctl -u queuewarden -f"
fi
