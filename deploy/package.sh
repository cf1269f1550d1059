#!/bin/sh
# Builds Debian packages and tarballs: `exhibit` with all programs, and `exhibit-agent` for hosts.
#   sh deploy/package.sh            builds the programs first, and writes to target/package
#   sh deploy/package.sh FOLDER     takes the programs in FOLDER
# One command installs the agent on a host:
#   sudo apt install ./exhibit-agent_VERSION_ARCHITECTURE.deb
#   sudo tar -C / -xzf exhibit-agent-VERSION-ARCHITECTURE.tar.gz && sudo systemd-sysusers exhibit-agent.conf
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
deploy=$root/deploy
target=${CARGO_TARGET_DIR:-$root/target}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
architecture=$(dpkg --print-architecture 2>/dev/null || uname -m)
if [ $# -ge 1 ]; then
    programs=$1
else
    cargo build --manifest-path "$root/Cargo.toml" --profile dist --locked \
        -p collector -p agent -p exhibit-audit
    programs=$target/dist
fi
out=$target/package
tree=$out/tree

# Begins the tree of package $1 with the programs $2...
begin() {
    package=$1
    shift
    rm -rf "$tree"
    install -d "$tree/usr/bin" "$tree/lib/systemd/system" "$tree/usr/lib/sysusers.d" \
        "$tree/usr/share/doc/$package/examples"
    for program in "$@"; do
        install -m 755 "$programs/$program" "$tree/usr/bin/$program"
    done
    install -m 644 "$root/LICENSE" "$tree/usr/share/doc/$package/copyright"
    install -m 644 "$root/CHANGELOG.md" "$tree/usr/share/doc/$package/"
}

# Man pages and completions of the program $1.
describe() {
    install -d "$tree/usr/share/man/man1" "$tree/usr/share/bash-completion/completions"
    "$tree/usr/bin/$1" man --out "$tree/usr/share/man/man1"
    "$tree/usr/bin/$1" completions bash >"$tree/usr/share/bash-completion/completions/$1"
}

# Writes tarball and Debian package: $1 relations to others, $2 its units, $3 its description.
finish() {
    tarball=$out/$package-$version-$architecture.tar.gz
    # The same content gives the same bytes.
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime='UTC 2026-01-01' \
        -C "$tree" -czf "$tarball" .
    echo "$tarball"
    command -v dpkg-deb >/dev/null || return 0
    install -d "$tree/DEBIAN"
    cat >"$tree/DEBIAN/control" <<CONTROL
Package: $package
Version: $version
Architecture: $architecture
Maintainer: Exhibit <exhibit@localhost>
$1
Section: admin
Priority: optional
Description: $3
CONTROL
    cat >"$tree/DEBIAN/postinst" <<POSTINST
#!/bin/sh
set -e
if [ "\$1" = configure ]; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers $package.conf
    elif ! getent passwd $package >/dev/null; then
        useradd --system --home-dir /var/lib/$package --shell /usr/sbin/nologin $package
    fi
    # Not started: it needs a configuration first.
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
fi
POSTINST
    cat >"$tree/DEBIAN/prerm" <<PRERM
#!/bin/sh
set -e
if [ "\$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl stop $2 || true
fi
PRERM
    chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm"
    debian=$out/${package}_${version}_$architecture.deb
    dpkg-deb --root-owner-group -Zgzip --build "$tree" "$debian" >/dev/null
    rm -r "$tree/DEBIAN"
    echo "$debian"
}

if [ -x "$programs/exhibit" ]; then
    begin exhibit exhibit exhibit-audit
    describe exhibit
    install -m 644 "$deploy/systemd/exhibit.service" "$tree/lib/systemd/system/"
    install -m 644 "$deploy/systemd/sysusers.conf" "$tree/usr/lib/sysusers.d/exhibit.conf"
    install -m 644 "$root/README.md" "$deploy/AUDIT.md" "$tree/usr/share/doc/exhibit/"
    cp -r "$deploy/exhibit.toml" "$deploy/client.toml" "$deploy/aws" "$deploy/github" \
        "$deploy/kubernetes" "$deploy/postgresql" "$deploy/prometheus" "$deploy/grafana" \
        "$tree/usr/share/doc/exhibit/examples/"
    finish "Depends: libc6, ca-certificates
Suggests: exhibit-agent" exhibit.service \
        "captures volatile evidence of security incidents
 Captures what dies first when an incident is declared, seals it, and keeps its
 timeline, so that a stranger can check it years later."
fi

begin exhibit-agent exhibit-agent
describe exhibit-agent
install -m 644 "$deploy/systemd/exhibit-agent.service" "$deploy/systemd/exhibit-agent.slice" \
    "$tree/lib/systemd/system/"
install -m 644 "$deploy/systemd/sysusers-agent.conf" "$tree/usr/lib/sysusers.d/exhibit-agent.conf"
cp "$deploy/agent.toml" "$deploy/kubernetes/agent-daemonset.yaml" \
    "$deploy/container/Dockerfile.agent" "$tree/usr/share/doc/exhibit-agent/examples/"
# a program that was linked statically needs no library
relations="Enhances: exhibit"
if ldd "$programs/exhibit-agent" 2>/dev/null | grep -q '=>'; then relations="Depends: libc6"; fi
finish "$relations" exhibit-agent.service \
    "captures the volatile state of a host
 Captures the host that it runs on when an incident is declared, seals it with its
 own key, and delivers it to a collector."
